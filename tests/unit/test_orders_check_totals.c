/* test_orders_check_totals.c: the recomputed totals of the order example, against numbers worked out by hand. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a program, its standard output into `path`. */
static void run(const char *path, const char *const argv[])
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0)
            execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "%s", argv[0]);
}

static json_t *totals_of(const char *csv)
{
    char path[] = "/tmp/crier-test-totals-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    run(path, (const char *const[]){CHECK_TOTALS, csv, NULL});
    json_t *totals = json_load_file(path, 0, NULL);
    cr_assert_not_null(totals);
    unlink(path);
    return totals;
}

static int64_t number(json_t *totals, const char *name)
{
    return json_integer_value(json_object_get(totals, name));
}

static int64_t cell(json_t *totals, const char *table, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(totals, table), name));
}

Test(check_totals, a_file_with_every_kind_of_dirt)
{
    json_t *totals = totals_of(DIRTY_ORDERS);
    json_t *rejected = json_object_get(totals, "rejected");
    const char *reason;
    json_t *lines;
    int64_t refused = 0;

    json_object_foreach(rejected, reason, lines) refused += json_integer_value(lines);
    cr_expect_eq(number(totals, "lines"), 27);
    cr_expect_eq(refused, 14);
    cr_expect_eq(number(totals, "accepted"), 13);
    cr_expect_eq(number(totals, "placed"), 7);
    cr_expect_eq(number(totals, "cancelled"), 2);
    cr_expect_eq(json_object_size(rejected), 13);
    cr_expect_eq(cell(totals, "rejected", "no customer"), 2);
    cr_expect_eq(cell(totals, "sold", "LAMP"), 440 + 10 + 1);
    cr_expect_eq(cell(totals, "sold", "CUP"), 6 + 6 + 3 + 1);
    cr_expect_eq(cell(totals, "returned", "CUP"), 2);
    cr_expect_eq(cell(totals, "low", "LAMP"), 1);
    cr_expect_eq(json_object_size(json_object_get(totals, "low")), 1);
    cr_expect_eq(cell(totals, "revenue", "2010-12-01/United Kingdom"), 6 * 255 + 6 * 255 + 2 * 110 - 2 * 255);
    cr_expect_eq(cell(totals, "revenue", "2010-12-02/France"), 440 * 100 + 3 * 255 + 10 * 100);
    json_decref(totals);
}

Test(check_totals, a_generated_file_is_always_the_same_and_has_all_kinds_of_dirt)
{
    char path[] = "/tmp/crier-test-orders-XXXXXX", again[] = "/tmp/crier-test-orders-XXXXXX";
    int fd = mkstemp(path), fd_again = mkstemp(again);
    cr_assert(fd >= 0 && fd_again >= 0);
    run(path, (const char *const[]){MAKE_ORDERS, "--lines", "20000", "--seed", "7", NULL});
    run(again, (const char *const[]){MAKE_ORDERS, "--lines", "20000", "--seed", "7", NULL});
    json_t *totals = totals_of(path), *totals_again = totals_of(again);
    cr_expect(json_equal(totals, totals_again));
    cr_expect_eq(number(totals, "lines"), 20000);
    cr_expect_gt(number(totals, "cancelled"), 10);
    cr_expect_geq(json_object_size(json_object_get(totals, "rejected")), 8);
    cr_expect_gt(json_object_size(json_object_get(totals, "low")), 5);
    json_decref(totals);
    json_decref(totals_again);
    close(fd);
    close(fd_again);
    unlink(path);
    unlink(again);
}
