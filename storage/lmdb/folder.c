/* folder.c: the data folder: its lock, its paths, and what to do with files nobody can explain; see folder.h.
 *
 * The lock is an OFD lock on DATA/LOCK: it belongs to the open file, so two stores in one process exclude each other
 * like two processes do, and it ends with the process however that ends. The pid in the file is for people. */
#include "storage/lmdb/folder.h"

#include "base/log.h"
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUARANTINE_TRIES_MAX 1000

int folder_sync(int directory_fd)
{
    return fsync(directory_fd) == 0 ? 0 : errno;
}

bool path_exists(const struct path *path)
{
    return access(path->text, F_OK) == 0;
}

/* Data, and what it takes to find them again: their times may stay behind, which would cost a commit of the file system's log
 * at each start. */
int path_sync(const struct path *path)
{
    int fd = open(path->text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int rc = fdatasync(fd) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

int path_write_all(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t put = write(fd, at, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? errno : ENOSPC;
        at += put;
        size -= (size_t)put;
    }
    return 0;
}

/* ---- paths ---- */

static struct path path_join(const char *folder, const char *name)
{
    struct path path;
    (void)snprintf(path.text, sizeof(path.text), "%s/%s", folder, name);
    return path;
}

struct path folder_file(const struct folder *folder, const char *name)
{
    return path_join(folder->path, name);
}

struct path folder_shard_file(const struct folder *folder, const char *name)
{
    return path_join(folder->shard, name);
}

static struct path numbered(const struct folder *folder, uint64_t number, uint32_t generation,
                            const char *suffix)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%010" PRIu64 "-%" PRIu32 "%s", number, generation, suffix);
    return path_join(folder->shard, name);
}

struct path folder_segment(const struct folder *folder, uint64_t number, uint32_t generation)
{
    return numbered(folder, number, generation, ".mdb");
}

struct path folder_index(const struct folder *folder, uint64_t number, uint32_t generation)
{
    return numbered(folder, number, generation, ".idx");
}

bool folder_parse_segment(const char *name, uint64_t *ret_number, uint32_t *ret_generation)
{
    uint64_t number;
    uint32_t generation;
    int end = 0;
    if (sscanf(name, "%" SCNu64 "-%" SCNu32 ".mdb%n", &number, &generation, &end) != 2 || end == 0 ||
        name[end])
        return false;
    char back[64]; /* only the one spelling we write: no signs, no spaces, no other padding */
    (void)snprintf(back, sizeof(back), "%010" PRIu64 "-%" PRIu32 ".mdb", number, generation);
    if (strcmp(back, name) != 0)
        return false;
    *ret_number = number;
    *ret_generation = generation;
    return true;
}

int folder_quarantine(const struct folder *folder, const char *name, const char *why)
{
    struct path from = folder_shard_file(folder, name);
    for (unsigned n = 1; n <= QUARANTINE_TRIES_MAX; n++) {
        char to_name[NAME_MAX + 1];
        if (snprintf(to_name, sizeof(to_name), "quarantine-%u-%s", n, name) >= (int)sizeof(to_name))
            return ENAMETOOLONG;
        struct path to = folder_shard_file(folder, to_name);
        if (path_exists(&to))
            continue;
        if (rename(from.text, to.text) < 0)
            return errno;
        LOG_WARN(folder->log, "STORE-QUARANTINE", "%s: %s; renamed to %s and not used", from.text, why,
                 to_name);
        return 0;
    }
    return EEXIST;
}

/* ---- opening ---- */

/* The name of a new directory is durable once its parent is synced. */
static int sync_parent(const char *path)
{
    struct path parent = path_join(path, "..");
    int fd = open(parent.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int rc = folder_sync(fd);
    close(fd);
    return rc;
}

/* What stands above may not be ours to open, or not on a disk; only its disk's error counts. */
int folder_sync_names(const struct folder *folder)
{
    int rc = sync_parent(folder->path);
    if (rc != EIO)
        rc = folder_sync(folder->fd);
    return rc == 0 ? folder_sync(folder->shard_fd) : rc;
}

/* 0 or an errno; there already is fine (recover_open syncs what a killed process did not). */
static int make_directory(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return sync_parent(path);
    return errno == EEXIST ? 0 : errno;
}

int store_lmdb_make_folder(const char *path, char *error, size_t error_size)
{
    int rc = make_directory(path);
    if (rc != 0)
        (void)snprintf(error, error_size, "cannot make the data folder %s: %s", path, strerror(rc));
    return rc == 0 ? 0 : STORE_EIO;
}

static void read_holder(int fd, char *to, size_t size)
{
    ssize_t got = pread(fd, to, size - 1, 0);
    to[got > 0 ? got : 0] = '\0';
    to[strcspn(to, "\n")] = '\0';
}

static int take_lock(struct folder *folder, char *error, size_t error_size)
{
    struct path path = folder_file(folder, "LOCK");
    folder->lock_fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (folder->lock_fd < 0) {
        (void)snprintf(error, error_size, "cannot open %s: %s", path.text, strerror(errno));
        return STORE_EIO;
    }
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(folder->lock_fd, F_OFD_SETLK, &whole) < 0) {
        char holder[32];
        read_holder(folder->lock_fd, holder, sizeof(holder));
        (void)snprintf(error, error_size, "%s is in use by process %s", folder->path,
                       holder[0] ? holder : "?");
        close(folder->lock_fd);
        return STORE_EBUSY;
    }
    char pid[32];
    int length = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(folder->lock_fd, 0) < 0 || pwrite(folder->lock_fd, pid, (size_t)length, 0) < 0)
        LOG_WARN(folder->log, "STORE-LOCK", "cannot write the pid into %s: %s", path.text, strerror(errno));
    return 0;
}

int folder_open(struct folder *folder, const char *path, bool create, struct log *log, char *error,
                size_t error_size)
{
    *folder = (struct folder){.fd = -1, .shard_fd = -1, .lock_fd = -1, .log = log};
    int rc = create ? make_directory(path) : 0;
    if (rc != 0 || !realpath(path, folder->path)) {
        (void)snprintf(error, error_size, "cannot open the data folder %s: %s", path,
                       strerror(rc ? rc : errno));
        return STORE_EIO;
    }
    (void)snprintf(folder->shard, sizeof(folder->shard), "%s/shard-0", folder->path);
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) {
        (void)snprintf(error, error_size, "cannot open the data folder %s: %s", path, strerror(errno));
        return STORE_EIO;
    }
    if ((rc = take_lock(folder, error, error_size)) < 0)
        goto close_fd;
    rc = create ? make_directory(folder->shard) : 0;
    if (rc == 0)
        folder->shard_fd = open(folder->shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && folder->shard_fd < 0)
        rc = errno;
    if (rc != 0) {
        (void)snprintf(error, error_size, "cannot open %s: %s", folder->shard, strerror(rc));
        folder_close(folder);
        return STORE_EIO;
    }
    return 0;

close_fd:
    close(folder->fd);
    folder->fd = -1;
    return rc;
}

void folder_close(struct folder *folder)
{
    if (folder->shard_fd >= 0)
        close(folder->shard_fd);
    if (folder->fd >= 0)
        close(folder->fd);
    if (folder->lock_fd >= 0)
        close(folder->lock_fd);
    folder->shard_fd = folder->fd = folder->lock_fd = -1;
}
