/* line_reader.c: lines from a file descriptor, read in large pieces. See line_reader.h.
 *
 * Thread:      one.
 * Happy path:  fill (one read) -> next, next, ... -> false -> fill.
 * Failures:    a line longer than the limit ends the reading: the caller names it. */
#include "tools/line_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (256u * 1024) /* four times a pipe's default capacity: more saves nothing */

int line_reader_init(struct line_reader *reader, int fd, size_t size_max)
{
    size_t capacity = size_max < READ_SIZE ? size_max : READ_SIZE;
    char *data = malloc(capacity);

    if (data == NULL)
        return -ENOMEM;
    *reader = (struct line_reader){.fd = fd, .data = data, .capacity = capacity, .size_max = size_max};
    return 0;
}

void line_reader_finish(struct line_reader *reader)
{
    free(reader->data);
    reader->data = NULL;
}

/* Makes room behind `end`: by moving the unfinished line to the front, then by growing. */
static int make_room(struct line_reader *reader)
{
    if (reader->start > 0) {
        memmove(reader->data, reader->data + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->searched -= reader->start;
        reader->start = 0;
    }
    if (reader->end < reader->capacity)
        return 0;
    if (reader->capacity == reader->size_max)
        return -EMSGSIZE;

    size_t capacity = reader->capacity * 2 < reader->size_max ? reader->capacity * 2 : reader->size_max;
    char *data = realloc(reader->data, capacity);
    if (data == NULL)
        return -ENOMEM;
    reader->data = data;
    reader->capacity = capacity;
    return 0;
}

ssize_t line_reader_fill(struct line_reader *reader)
{
    int rc = make_room(reader);
    if (rc < 0)
        return rc;
    ssize_t size = read(reader->fd, reader->data + reader->end, reader->capacity - reader->end);
    if (size < 0)
        return -errno;
    if (size == 0)
        reader->ended = true;
    reader->end += (size_t)size;
    return size;
}

bool line_reader_next(struct line_reader *reader, const char **ret_line, size_t *ret_size)
{
    const char *line = reader->data + reader->start;
    const char *newline = NULL;

    if (reader->searched < reader->end)
        newline = memchr(reader->data + reader->searched, '\n', reader->end - reader->searched);
    if (newline == NULL) {
        reader->searched = reader->end;
        if (!reader->ended || reader->start == reader->end)
            return false;
        newline = reader->data + reader->end;
    }
    *ret_line = line;
    *ret_size = (size_t)(newline - line);
    reader->start += *ret_size + 1;
    if (reader->start > reader->end)
        reader->start = reader->end;
    reader->searched = reader->start;
    reader->lines++;
    return true;
}
