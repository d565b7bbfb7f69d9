/* line_reader.h: lines from a file descriptor, read in large pieces.
 *
 * One read(2) brings as many lines as fit; a line is handed out where it lies. The buffer grows only for a line longer
 * than it, up to a limit, so memory is constant whatever the input. Bytes are bytes: only '\n' means something; the
 * last line may lack it.
 *
 * Thread: one. Ownership: a line is borrowed until the next call of line_reader_fill(). */
#ifndef CRIER_TOOLS_LINE_READER_H
#define CRIER_TOOLS_LINE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct line_reader {
    int fd;
    char *data;
    size_t capacity;
    size_t size_max; /* the capacity never grows beyond it */
    size_t start;    /* of what was not handed out yet */
    size_t searched; /* no newline in start .. searched - 1 */
    size_t end;
    uint64_t lines; /* handed out so far */
    bool ended;     /* the end of the input was seen */
};

/* fd: borrowed. size_max: the longest line, with its newline. 0 or -ENOMEM. */
int line_reader_init(struct line_reader *reader, int fd, size_t size_max);
void line_reader_finish(struct line_reader *reader);

/* One read(2). Returns the bytes, 0 at the end of the input, -EMSGSIZE when the line at hand is longer than size_max,
 * -ENOMEM, or what read said (-EINTR, -EAGAIN: nothing happened). */
ssize_t line_reader_fill(struct line_reader *reader);
/* The next whole line, without its newline; after the end also the rest. False: line_reader_fill() first, or, after
 * the end, there are no more. */
bool line_reader_next(struct line_reader *reader, const char **ret_line, size_t *ret_size);

#endif
