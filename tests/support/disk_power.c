/* disk_power.c: a disk whose power can be cut; see disk_power.h.
 *
 * A file is what is durable of it and a list of changes since; names are a durable list and a list of changes since.
 * An image is the durable part and a drawn part of the changes. */
#include "tests/support/disk_power.h"

#include "tests/support/disk_power_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC    __attribute__((visibility("default")))
#define FILES_MAX 1024
#define NAMES_MAX 4096
#define DEPTH_MAX 4 /* of names below the folder */

/* One change of names: file appears as `path`, or (from) moved there, or (file NULL) path is gone. */
struct name {
    char path[256]; /* below the folder, without a leading slash */
    char from[256];
    struct file *file;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static bool recording;
static char root[PATH_MAX];
static struct file *files[FILES_MAX];
static struct name names[NAMES_MAX], changes[NAMES_MAX];
static unsigned file_count, name_count, change_count;
static uint64_t calls;
static void (*call_fn)(void *ctx, const struct disk_power_call *call);
static struct disk_power_losses losses;
static void *call_ctx;

/* ---- files ---- */

static struct file *file_add(const struct stat *stat)
{
    REQUIRE(file_count < FILES_MAX);
    struct file *file = calloc(1, sizeof(*file));
    REQUIRE(file);
    file->device = stat->st_dev;
    file->inode = stat->st_ino;
    file->directory = S_ISDIR(stat->st_mode);
    file->last = &file->first;
    return files[file_count++] = file;
}

/* The newest file with this number: numbers are used again. */
static struct file *file_of(const struct stat *stat)
{
    for (unsigned i = file_count; i-- > 0;)
        if (files[i]->device == stat->st_dev && files[i]->inode == stat->st_ino)
            return files[i];
    return NULL;
}

static struct file *file_of_fd(int fd)
{
    struct stat stat;
    return recording && fstat(fd, &stat) == 0 ? file_of(&stat) : NULL;
}

/* ---- names ---- */

/* The path below the folder, or NULL. */
static const char *below(const char *path)
{
    size_t length = strlen(root);
    return recording && strncmp(path, root, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

static void apply_name(struct name *list, unsigned *count, const struct name *change)
{
    for (unsigned i = 0; i < *count; i++)
        if (strcmp(list[i].path, change->path) == 0 ||
            (change->from[0] && strcmp(list[i].path, change->from) == 0)) {
            memmove(&list[i], &list[i + 1], (*count - i - 1) * sizeof(*list));
            --*count;
            i--;
        }
    if (change->file) {
        REQUIRE(*count < NAMES_MAX);
        list[*count] = *change;
        list[(*count)++].from[0] = '\0';
    }
}

static void note_name(const char *path, const char *from, struct file *file)
{
    REQUIRE(change_count < NAMES_MAX);
    struct name *change = &changes[change_count++];
    *change = (struct name){.file = file};
    (void)snprintf(change->path, sizeof(change->path), "%s", path);
    (void)snprintf(change->from, sizeof(change->from), "%s", from ? from : "");
}

static bool in_directory(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    const char *slash = strrchr(path, '/');
    size_t parent = slash ? (size_t)(slash - path) : 0;
    return parent == length && strncmp(path, directory, length) == 0;
}

static void directory_sync(int fd)
{
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    REQUIRE(length > 0);
    path[length] = '\0';
    const char *directory = strcmp(path, root) == 0 ? "" : below(path);
    if (!directory)
        return;
    unsigned kept = 0;
    for (unsigned i = 0; i < change_count; i++)
        if (in_directory(changes[i].path, directory))
            apply_name(names, &name_count, &changes[i]);
        else
            changes[kept++] = changes[i];
    change_count = kept;
}

/* ---- images; by system call, so that nothing of them is noted ---- */

static unsigned depth_of(const char *path)
{
    unsigned depth = 0;
    while ((path = strchr(path, '/')) && path++)
        depth++;
    return depth;
}

/* A name may be on the disk, and that of the folder it is in not: then nobody finds it. */
static bool in_reach(const char *image, const char *name)
{
    char path[PATH_MAX];
    REQUIRE(snprintf(path, sizeof(path), "%s/%s", image, name) < (int)sizeof(path));
    *strrchr(path, '/') = '\0';
    return access(path, F_OK) == 0;
}

/* random NULL: all of it, and the files are those in there from now on. */
static void make_one(const char *image, const struct name *name, struct random *random)
{
    struct file *file = name->file;
    char path[PATH_MAX];
    REQUIRE(snprintf(path, sizeof(path), "%s/%s", image, name->path) < (int)sizeof(path));
    if (file->directory)
        REQUIRE(syscall(SYS_mkdirat, AT_FDCWD, path, 0700) == 0);
    else if (random)
        file_write_image(path, file, random, &losses);
    else
        file_write_cached(path, file);
    struct stat stat_of;
    if (random)
        return;
    REQUIRE(stat(path, &stat_of) == 0);
    file->device = stat_of.st_dev;
    file->inode = stat_of.st_ino;
}

static void make_folder(const char *image, const struct name *list, unsigned count, struct random *random)
{
    REQUIRE(syscall(SYS_mkdirat, AT_FDCWD, image, 0700) == 0);
    for (unsigned depth = 0; depth <= DEPTH_MAX; depth++)
        for (unsigned i = 0; i < count; i++)
            if (depth_of(list[i].path) == depth && in_reach(image, list[i].path))
                make_one(image, &list[i], random);
}

void disk_power_image(const char *image, struct random *random)
{
    static struct name survivors[NAMES_MAX];
    unsigned count = name_count;
    memcpy(survivors, names, sizeof(names[0]) * name_count);
    unsigned up_to = (unsigned)random_below(random, change_count + 1);
    losses.names += change_count - up_to;
    for (unsigned i = 0; i < up_to; i++)
        apply_name(survivors, &count, &changes[i]);
    make_folder(image, survivors, count, random);
}

/* ---- what a killed process leaves ---- */

struct killed {
    struct killed *next;
    char root[PATH_MAX];
    struct file **files;
    struct name *names, *changes;
    unsigned file_count, name_count, change_count;
};

static struct killed *killed_first;

static unsigned place_of(const struct file *file)
{
    unsigned i = 0;
    while (files[i] != file)
        i++;
    return i;
}

/* The same names, of the files that stand for ours. */
static struct name *clone_names(const struct name *list, unsigned count, struct file **clones)
{
    struct name *copy = malloc((count + 1) * sizeof(*copy));
    REQUIRE(copy);
    for (unsigned i = 0; i < count; i++) {
        copy[i] = list[i];
        copy[i].file = list[i].file ? clones[place_of(list[i].file)] : NULL;
    }
    return copy;
}

void disk_power_killed(const char *image)
{
    struct killed *killed = calloc(1, sizeof(*killed));
    REQUIRE(killed && (killed->files = calloc(FILES_MAX, sizeof(struct file *))));
    for (unsigned i = 0; i < file_count; i++)
        killed->files[i] = file_clone(files[i]);
    killed->file_count = file_count;
    killed->names = clone_names(names, killed->name_count = name_count, killed->files);
    killed->changes = clone_names(changes, killed->change_count = change_count, killed->files);
    static struct name cached[NAMES_MAX];
    unsigned count = name_count;
    memcpy(cached, killed->names, sizeof(cached[0]) * count);
    for (unsigned i = 0; i < change_count; i++)
        apply_name(cached, &count, &killed->changes[i]);
    make_folder(image, cached, count, NULL);
    REQUIRE(realpath(image, killed->root));
    killed->next = killed_first;
    killed_first = killed;
}

/* Goes on where the process was killed. False: nobody was killed there. */
static bool take_killed(void)
{
    struct killed **at = &killed_first, *killed;
    while ((killed = *at) && strcmp(killed->root, root) != 0)
        at = &killed->next;
    if (!killed)
        return false;
    *at = killed->next;
    memcpy(files, killed->files, sizeof(files[0]) * (file_count = killed->file_count));
    memcpy(names, killed->names, sizeof(names[0]) * (name_count = killed->name_count));
    memcpy(changes, killed->changes, sizeof(changes[0]) * (change_count = killed->change_count));
    free(killed->files);
    free(killed->names);
    free(killed->changes);
    free(killed);
    return true;
}

/* ---- beginning and end ---- */

static void load(const char *folder, const char *prefix)
{
    DIR *dir = opendir(folder);
    REQUIRE(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char path[PATH_MAX], name[256];
        REQUIRE(snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < (int)sizeof(path));
        REQUIRE(snprintf(name, sizeof(name), "%s%s", prefix, entry->d_name) < (int)sizeof(name));
        struct stat stat_of;
        REQUIRE(stat(path, &stat_of) == 0);
        struct file *file = file_add(&stat_of);
        struct name *row = &names[name_count++];
        *row = (struct name){.file = file};
        memcpy(row->path, name, sizeof(name));
        if (file->directory) {
            REQUIRE(snprintf(name, sizeof(name), "%s%s/", prefix, entry->d_name) < (int)sizeof(name));
            load(path, name);
            continue;
        }
        file_resize(file, (size_t)stat_of.st_size);
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        REQUIRE(fd >= 0);
        REQUIRE(syscall(SYS_pread64, fd, file->data, file->size, 0) == (long)file->size);
        close(fd);
    }
    closedir(dir);
}

struct disk_power_losses disk_power_losses(void)
{
    return losses;
}

void disk_power_begin(const char *folder, void (*on_call)(void *ctx, const struct disk_power_call *call),
                      void *ctx)
{
    pthread_mutex_lock(&lock);
    REQUIRE(realpath(folder, root));
    if (!take_killed())
        load(root, "");
    calls = 0;
    call_fn = on_call;
    call_ctx = ctx;
    recording = true;
    pthread_mutex_unlock(&lock);
}

uint64_t disk_power_end(void)
{
    pthread_mutex_lock(&lock);
    recording = false;
    for (unsigned i = 0; i < file_count; i++)
        file_free(files[i]);
    file_count = name_count = change_count = 0;
    uint64_t count = calls;
    pthread_mutex_unlock(&lock);
    return count;
}

/* The name a file has now. */
static const char *name_of(const struct file *file)
{
    for (unsigned i = change_count; i-- > 0;)
        if (changes[i].file == file)
            return changes[i].path;
    for (unsigned i = 0; i < name_count; i++)
        if (names[i].file == file)
            return names[i].path;
    return "";
}

/* Before a call that changes something below the folder; with the lock. */
static void announce(const char *path, const char *name)
{
    calls++;
    call_fn(call_ctx, &(struct disk_power_call){calls, path, name});
}

/* ---- the calls ---- */

PUBLIC int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    pthread_mutex_lock(&lock);
    const char *name = flags & O_CREAT ? below(path) : NULL;
    bool creates = name && access(path, F_OK) != 0;
    if (creates)
        announce(name, "create");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    struct stat stat;
    if (fd >= 0 && creates && fstat(fd, &stat) == 0)
        note_name(name, NULL, file_add(&stat));
    pthread_mutex_unlock(&lock);
    return fd;
}

PUBLIC int mkdir(const char *path, mode_t mode)
{
    pthread_mutex_lock(&lock);
    const char *name = below(path);
    if (name)
        announce(name, "create");
    int rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    struct stat stat_of;
    if (rc == 0 && name && stat(path, &stat_of) == 0)
        note_name(name, NULL, file_add(&stat_of));
    pthread_mutex_unlock(&lock);
    return rc;
}

PUBLIC int rename(const char *from, const char *to)
{
    pthread_mutex_lock(&lock);
    const char *name = below(to);
    struct stat stat_of;
    struct file *file = name && stat(from, &stat_of) == 0 ? file_of(&stat_of) : NULL;
    if (file)
        announce(name, "rename");
    int rc = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (rc == 0 && file)
        note_name(name, below(from), file);
    pthread_mutex_unlock(&lock);
    return rc;
}

PUBLIC int unlink(const char *path)
{
    pthread_mutex_lock(&lock);
    const char *name = below(path);
    bool there = name && access(path, F_OK) == 0;
    if (there)
        announce(name, "remove");
    int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (rc == 0 && there)
        note_name(name, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return rc;
}

PUBLIC int ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of_fd(fd);
    if (file)
        announce(name_of(file), "truncate");
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0 && file)
        file_note(file, 0, NULL, (size_t)size);
    pthread_mutex_unlock(&lock);
    return rc;
}

PUBLIC int truncate(const char *path, off_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int rc = ftruncate(fd, size);
    close(fd);
    return rc;
}

PUBLIC int fallocate(int fd, int mode, off_t offset, off_t length)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of_fd(fd);
    if (file)
        announce(name_of(file), "allocate");
    int rc = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    if (rc == 0 && file)
        file_note(file, 0, NULL, (size_t)(offset + length)); /* ours only ever grow a file */
    pthread_mutex_unlock(&lock);
    return rc;
}

static void note_write(struct file *file, int fd, off_t at, const void *bytes, ssize_t size)
{
    if (!file || size <= 0)
        return;
    int flags = fcntl(fd, F_GETFL);
    file_note(file, (size_t)at, bytes, (size_t)size);
    if (flags & O_DSYNC) { /* this write, and only this one */
        struct change **last = &file->first;
        while ((*last)->next)
            last = &(*last)->next;
        struct change *change = *last;
        *last = NULL;
        file->last = last;
        file_apply(file, change);
        free(change->data);
        free(change);
    }
}

PUBLIC ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of_fd(fd);
    if (file)
        announce(name_of(file), "write");
    ssize_t put = syscall(SYS_pwrite64, fd, bytes, size, offset);
    note_write(file, fd, offset, bytes, put);
    pthread_mutex_unlock(&lock);
    return put;
}

PUBLIC ssize_t write(int fd, const void *bytes, size_t size)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of_fd(fd);
    off_t at = file ? lseek(fd, 0, SEEK_CUR) : 0;
    if (file)
        announce(name_of(file), "write");
    ssize_t put = syscall(SYS_write, fd, bytes, size);
    note_write(file, fd, at, bytes, put);
    pthread_mutex_unlock(&lock);
    return put;
}

PUBLIC ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of_fd(fd);
    off_t at = file ? lseek(fd, 0, SEEK_CUR) : 0;
    if (file)
        announce(name_of(file), "write");
    ssize_t put = syscall(SYS_writev, fd, pieces, count);
    ssize_t left = put;
    for (int i = 0; file && i < count && left > 0; i++) {
        ssize_t size = (ssize_t)pieces[i].iov_len < left ? (ssize_t)pieces[i].iov_len : left;
        note_write(file, fd, at, pieces[i].iov_base, size);
        at += size;
        left -= size;
    }
    pthread_mutex_unlock(&lock);
    return put;
}

/* The system is not asked to sync: it is the noted disk that counts, and the test is the faster for it. */
static int sync_fd(int fd, long number)
{
    pthread_mutex_lock(&lock);
    struct stat stat;
    bool directory = recording && fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode);
    struct file *file = file_of_fd(fd);
    if (file || directory)
        announce(file ? name_of(file) : "", "sync");
    if (directory)
        directory_sync(fd);
    else if (file)
        file_sync(file);
    pthread_mutex_unlock(&lock);
    return file || directory ? 0 : (int)syscall(number, fd);
}

PUBLIC int fdatasync(int fd)
{
    return sync_fd(fd, SYS_fdatasync);
}

PUBLIC int fsync(int fd)
{
    return sync_fd(fd, SYS_fsync);
}
