/* remains.c: see remains.h. What cannot be opened or cut is left to unlink and close: they free it all the same. */
#include "storage/lmdb/remains.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void remains_unlink(struct remains *remains, const char *path)
{
    struct stat stat;
    int fd = remains->count < REMAINS_MAX ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    (void)unlink(path);
    if (fd < 0)
        return;
    if (fstat(fd, &stat) < 0 || stat.st_nlink > 0 || (uint64_t)stat.st_size <= REMAINS_STEP_BYTES) {
        close(fd);
        return;
    }
    remains->files[remains->count].fd = fd;
    remains->files[remains->count++].size = (uint64_t)stat.st_size;
}

bool remains_step(struct remains *remains)
{
    if (remains->count == 0)
        return false;
    int fd = remains->files[remains->count - 1].fd;
    uint64_t *size = &remains->files[remains->count - 1].size;
    *size = *size > REMAINS_STEP_BYTES ? *size - REMAINS_STEP_BYTES : 0;
    if (ftruncate(fd, (off_t)*size) < 0)
        *size = 0;
    if (*size == 0) {
        close(fd);
        remains->count--;
    }
    return remains->count > 0;
}

void remains_finish(struct remains *remains)
{
    while (remains->count > 0)
        close(remains->files[--remains->count].fd);
}
