/* disk_power_file.c: see disk_power_file.h. */
#include "tests/support/disk_power_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512
#define BLOCK  4096 /* of an image's file */

void file_resize(struct file *file, size_t size)
{
    if (size > file->capacity) {
        file->capacity = size * 2;
        REQUIRE((file->data = realloc(file->data, file->capacity)));
    }
    if (size > file->size)
        memset(file->data + file->size, 0, size - file->size);
    file->size = size;
}

static void file_put(struct file *file, size_t at, const uint8_t *data, size_t size)
{
    if (at + size > file->size)
        file_resize(file, at + size);
    memcpy(file->data + at, data, size);
}

void file_apply(struct file *file, const struct change *change)
{
    if (change->data)
        file_put(file, change->at, change->data, change->size);
    else
        file_resize(file, change->size);
}

static struct change *file_pop(struct file *file)
{
    struct change *change = file->first;
    if (change && !(file->first = change->next))
        file->last = &file->first;
    return change;
}

void file_sync(struct file *file)
{
    struct change *change;
    while ((change = file_pop(file))) {
        file_apply(file, change);
        free(change->data);
        free(change);
    }
}

void file_note(struct file *file, size_t at, const void *data, size_t size)
{
    struct change *change = calloc(1, sizeof(*change));
    REQUIRE(change);
    change->at = at;
    change->size = size;
    if (data) {
        REQUIRE((change->data = malloc(size)));
        memcpy(change->data, data, size);
    }
    *file->last = change;
    file->last = &change->next;
}

struct file *file_clone(const struct file *file)
{
    struct file *copy = calloc(1, sizeof(*copy));
    REQUIRE(copy);
    copy->directory = file->directory;
    copy->last = &copy->first;
    if (file->size)
        file_put(copy, 0, file->data, file->size);
    for (const struct change *change = file->first; change; change = change->next)
        file_note(copy, change->at, change->data, change->size);
    return copy;
}

void file_free(struct file *file)
{
    file_sync(file);
    free(file->data);
    free(file);
}

/* ---- images ---- */

static bool all_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* With holes where there is nothing: most of a segment is reserved and not written yet. */
static void write_file(const char *path, const uint8_t *data, size_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(syscall(SYS_ftruncate, fd, size) == 0);
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t block = size - at < BLOCK ? size - at : BLOCK;
        if (!all_zero(data + at, block))
            REQUIRE(syscall(SYS_pwrite64, fd, data + at, block, at) == (long)block);
    }
    close(fd);
}

/* Some sectors of a change. */
static void apply_torn(struct file *copy, const struct change *change, struct random *random,
                       struct disk_power_losses *losses)
{
    size_t at = 0;
    unsigned kept = 0, dropped = 0;
    while (at < change->size) {
        size_t size = SECTOR - (change->at + at) % SECTOR;
        if (size > change->size - at)
            size = change->size - at;
        if (random_below(random, 2)) {
            file_put(copy, change->at + at, change->data + at, size);
            kept++;
        } else {
            dropped++;
        }
        at += size;
    }
    losses->torn += kept > 0 && dropped > 0;
}

/* Each write survives whole, torn or not at all; lengths survive up to some moment. */
void file_write_image(const char *path, const struct file *file, struct random *random,
                      struct disk_power_losses *losses)
{
    struct file copy = {0};
    if (file->size)
        file_put(&copy, 0, file->data, file->size);
    bool lengths = true;
    for (const struct change *change = file->first; change; change = change->next) {
        lengths = lengths && random_below(random, 8) > 0;
        if (!change->data) {
            if (lengths)
                file_apply(&copy, change);
            losses->lengths += !lengths;
            continue;
        }
        switch (random_below(random, 3)) {
        case 0:
            file_apply(&copy, change);
            break;
        case 1:
            apply_torn(&copy, change, random, losses);
            break;
        default:
            losses->lost++;
            break;
        }
    }
    write_file(path, copy.data, copy.size);
    free(copy.data);
}

void file_write_cached(const char *path, const struct file *file)
{
    struct file *copy = file_clone(file);
    file_sync(copy);
    write_file(path, copy->data, copy->size);
    file_free(copy);
}
