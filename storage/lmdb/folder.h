/* folder.h: the data folder: its lock, its paths, and what to do with files nobody can explain.
 *
 * Thread: the owner while opening; afterwards paths are read by any thread. */
#ifndef CRIER_STORAGE_LMDB_FOLDER_H
#define CRIER_STORAGE_LMDB_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;

struct folder {
    char path[PATH_MAX];      /* absolute: the program may change its directory later */
    char shard[PATH_MAX + 8]; /* path/shard-0 */
    int fd, shard_fd;         /* the directories, for fsync */
    int lock_fd;
    struct log *log;
};

/* The end of a sentence about damage: what brings the folder back. A format and its arguments. */
#define FOLDER_REPAIR                                                                                        \
    ". All damage: crier verify %s; from a backup: crier restore BACKUP %s; without: crier verify --repair " \
    "%s"
#define FOLDER_REPAIR_OF(folder) (folder)->path, (folder)->path, (folder)->path

/* A path inside the folder, by value. */
struct path {
    char text[PATH_MAX + 512]; /* any name fits behind any folder; the system refuses what is too long */
};

/* Takes the exclusive lock before anything is read. Makes the folder if asked. 0, or a store code with a sentence in
 * error; then nothing is held. */
int folder_open(struct folder *folder, const char *path, bool create, struct log *log, char *error,
                size_t error_size);
void folder_close(struct folder *folder); /* releases the lock */

struct path folder_file(const struct folder *folder, const char *name);       /* DATA/name */
struct path folder_shard_file(const struct folder *folder, const char *name); /* DATA/shard-0/name */
struct path folder_segment(const struct folder *folder, uint64_t number, uint32_t generation);
struct path folder_index(const struct folder *folder, uint64_t number, uint32_t generation);
/* Is name that of a segment file? */
bool folder_parse_segment(const char *name, uint64_t *ret_number, uint32_t *ret_generation);

int folder_sync(int directory_fd); /* fsync of a directory: 0 or an errno */
/* The names that were found in the folder, its own too: whoever made them may have been killed before they were on the disk. 0 or an
 * errno. */
int folder_sync_names(const struct folder *folder);
bool path_exists(const struct path *path);
/* fsync of a file by path; 0 or an errno. */
int path_sync(const struct path *path);
/* write(2) of all of it; 0 or an errno. A disk that takes only a part is full. */
int path_write_all(int fd, const void *data, size_t size);
/* Renames shard-0/name to quarantine-<n>-name, with a loud log line. 0 or an errno. */
int folder_quarantine(const struct folder *folder, const char *name, const char *why);

#endif
