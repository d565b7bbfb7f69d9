/* test_remains.c: a file that is unlinked in steps has no name from the first on, and no descriptor after the last. */
#include "storage/lmdb/remains.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/crier-remains-XXXXXX";

static void make(char path[64], unsigned number, off_t size)
{
    (void)snprintf(path, 64, "%s/%u", folder, number);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, size), 0);
    close(fd);
}

/* The lowest free descriptor: the same before and after if none was kept. */
static int next_fd(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

Test(remains, a_large_file_goes_in_steps_and_a_small_one_at_once)
{
    cr_assert_not_null(mkdtemp(folder));
    int free_fd = next_fd();
    struct remains remains = {0};
    struct stat stat_of;
    char large[64], small[64];
    make(large, 1, 3 * (off_t)REMAINS_STEP_BYTES + 1);
    make(small, 2, REMAINS_STEP_BYTES);
    remains_unlink(&remains, small);
    cr_assert_eq(remains.count, 0);
    remains_unlink(&remains, large);
    cr_assert_neq(access(large, F_OK), 0);
    cr_assert_neq(access(small, F_OK), 0);
    off_t before = 3 * (off_t)REMAINS_STEP_BYTES + 1;
    int fd = dup(remains.files[0].fd);
    for (unsigned step = 1; step <= 3; step++) {
        cr_assert(remains_step(&remains), "step %u", step);
        cr_assert_eq(fstat(fd, &stat_of), 0);
        cr_assert_eq(before - stat_of.st_size, REMAINS_STEP_BYTES);
        before = stat_of.st_size;
    }
    cr_assert_not(remains_step(&remains));
    cr_assert_not(remains_step(&remains));
    close(fd);
    cr_assert_eq(next_fd(), free_fd);
    cr_assert_eq(rmdir(folder), 0);
}

Test(remains, what_is_too_much_goes_at_once_and_the_end_closes_all)
{
    cr_assert_not_null(mkdtemp(folder));
    int free_fd = next_fd();
    struct remains remains = {0};
    char path[64];
    for (unsigned i = 0; i < REMAINS_MAX + 2; i++) {
        make(path, i, 2 * (off_t)REMAINS_STEP_BYTES);
        remains_unlink(&remains, path);
        cr_assert_neq(access(path, F_OK), 0);
    }
    cr_assert_eq(remains.count, REMAINS_MAX);
    remains_unlink(&remains, path); /* is gone */
    remains_finish(&remains);
    cr_assert_eq(remains.count, 0);
    cr_assert_eq(next_fd(), free_fd);
    cr_assert_eq(rmdir(folder), 0);
}

/* Another name keeps what it names. */
Test(remains, a_file_with_another_name_stays_as_it_is)
{
    cr_assert_not_null(mkdtemp(folder));
    struct remains remains = {0};
    struct stat stat_of;
    char path[64], other[80];
    make(path, 1, 2 * (off_t)REMAINS_STEP_BYTES);
    (void)snprintf(other, sizeof(other), "%s/other", folder);
    cr_assert_eq(link(path, other), 0);
    remains_unlink(&remains, path);
    while (remains_step(&remains))
        ;
    cr_assert_eq(stat(other, &stat_of), 0);
    cr_assert_eq(stat_of.st_size, 2 * (off_t)REMAINS_STEP_BYTES);
    cr_assert_eq(unlink(other), 0);
    cr_assert_eq(rmdir(folder), 0);
}
