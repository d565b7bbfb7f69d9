/* disk_power_file.h: a file of a disk whose power can be cut: what is durable of it, and the changes since its last sync.
 *
 * Thread: disk_power.c's lock is held. */
#ifndef CRIER_TESTS_DISK_POWER_FILE_H
#define CRIER_TESTS_DISK_POWER_FILE_H

#include "tests/support/disk_power.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* One change of a file since its last sync: bytes, or (data NULL) a new length. */
struct change {
    struct change *next;
    uint8_t *data;
    size_t at, size;
};

struct file {
    dev_t device;
    ino_t inode;
    bool directory;
    uint8_t *data; /* durable */
    size_t size, capacity;
    struct change *first, **last;
};

void file_note(struct file *file, size_t at, const void *data, size_t size); /* data NULL: a new length */
void file_sync(struct file *file);
void file_apply(struct file *file, const struct change *change); /* to the durable part */
void file_resize(struct file *file, size_t size);                /* the durable part */
struct file *file_clone(const struct file *file);                /* without device and inode */
void file_free(struct file *file);

/* By system call, so that nothing of it is noted. As the disk might have it; as the kernel's cache has it. */
void file_write_image(const char *path, const struct file *file, struct random *random,
                      struct disk_power_losses *losses);
void file_write_cached(const char *path, const struct file *file);

#endif
