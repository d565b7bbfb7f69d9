/* Lines from a descriptor: every byte of the input comes out again, in lines, whatever the pieces it arrives in. */
#include "tools/line_reader.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIMIT (4u * 1024 * 1024)

static int file_with(const char *data, size_t size)
{
    int fd = memfd_create("lines", 0);
    cr_assert(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t written = write(fd, data + done, size - done);
        cr_assert(written > 0);
        done += (size_t)written;
    }
    cr_assert(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* The next line, reading as often as needed; false at the end. */
static bool next(struct line_reader *reader, const char **ret_line, size_t *ret_size)
{
    while (!line_reader_next(reader, ret_line, ret_size)) {
        if (reader->ended)
            return false;
        cr_assert(line_reader_fill(reader) >= 0);
    }
    return true;
}

static void expect(struct line_reader *reader, const char *wanted)
{
    const char *line;
    size_t size;
    cr_assert(next(reader, &line, &size), "no more lines where '%s' should be", wanted);
    cr_assert(size == strlen(wanted) && memcmp(line, wanted, size) == 0, "'%.*s' where '%s' should be",
              (int)size, line, wanted);
}

static void expect_end(struct line_reader *reader)
{
    const char *line;
    size_t size;
    cr_assert(not(next(reader, &line, &size)), "'%.*s' where the end should be", (int)size, line);
}

static void open_text(struct line_reader *reader, const char *text)
{
    cr_assert(line_reader_init(reader, file_with(text, strlen(text)), LIMIT) == 0);
}

static void finish(struct line_reader *reader)
{
    close(reader->fd);
    line_reader_finish(reader);
}

Test(line_reader, lines_come_in_order_without_their_newlines)
{
    struct line_reader reader;
    open_text(&reader, "one\n\nthree\r\n");
    expect(&reader, "one");
    expect(&reader, "");
    expect(&reader, "three\r");
    expect_end(&reader);
    cr_assert(eq(u64, reader.lines, 3));
    finish(&reader);
}

Test(line_reader, the_last_line_may_lack_its_newline)
{
    struct line_reader reader;
    open_text(&reader, "one\ntwo");
    expect(&reader, "one");
    expect(&reader, "two");
    expect_end(&reader);
    finish(&reader);
}

Test(line_reader, an_empty_input_has_no_lines)
{
    struct line_reader reader;
    open_text(&reader, "");
    expect_end(&reader);
    cr_assert(eq(u64, reader.lines, 0));
    finish(&reader);
}

Test(line_reader, a_line_that_arrives_in_pieces_is_handed_out_whole)
{
    struct line_reader reader;
    const char *line;
    size_t size;
    int fds[2];

    cr_assert(pipe(fds) == 0);
    cr_assert(line_reader_init(&reader, fds[0], LIMIT) == 0);
    for (const char *at = "slowly"; *at != '\0'; at++) {
        cr_assert(write(fds[1], at, 1) == 1);
        cr_assert(line_reader_fill(&reader) == 1);
        cr_assert(not(line_reader_next(&reader, &line, &size)));
    }
    cr_assert(write(fds[1], "\nnext", 5) == 5);
    cr_assert(line_reader_fill(&reader) == 5);
    expect(&reader, "slowly");
    cr_assert(not(line_reader_next(&reader, &line, &size)));
    close(fds[1]);
    expect(&reader, "next");
    expect_end(&reader);
    finish(&reader);
}

Test(line_reader, nothing_to_read_yet_is_told_and_loses_nothing)
{
    struct line_reader reader;
    int fds[2];

    cr_assert(pipe2(fds, O_NONBLOCK) == 0);
    cr_assert(line_reader_init(&reader, fds[0], LIMIT) == 0);
    cr_assert(write(fds[1], "ha", 2) == 2);
    cr_assert(line_reader_fill(&reader) == 2);
    cr_assert(line_reader_fill(&reader) == -EAGAIN);
    cr_assert(write(fds[1], "lf\n", 3) == 3);
    expect(&reader, "half");
    close(fds[1]);
    finish(&reader);
}

Test(line_reader, a_line_may_be_as_long_as_the_limit_and_no_longer)
{
    char *text = malloc(LIMIT + 2);
    struct line_reader reader;
    const char *line;
    size_t size;

    cr_assert(text != NULL);
    memset(text, 'x', LIMIT + 2);
    text[LIMIT - 1] = '\n';
    cr_assert(line_reader_init(&reader, file_with(text, LIMIT), LIMIT) == 0);
    cr_assert(next(&reader, &line, &size));
    cr_assert(eq(sz, size, LIMIT - 1));
    finish(&reader);

    text[LIMIT - 1] = 'x';
    text[LIMIT] = '\n';
    cr_assert(line_reader_init(&reader, file_with(text, LIMIT + 1), LIMIT) == 0);
    ssize_t rc;
    do {
        rc = line_reader_fill(&reader);
        cr_assert(not(line_reader_next(&reader, &line, &size)));
    } while (rc > 0);
    cr_assert(rc == -EMSGSIZE);
    finish(&reader);
    free(text);
}

Test(line_reader, memory_stays_the_same_however_long_the_input)
{
    size_t size = 8u * 1024 * 1024, length;
    char *text = malloc(size);
    struct line_reader reader;
    const char *line;

    cr_assert(text != NULL);
    for (size_t i = 0; i < size; i++)
        text[i] = i % 100 == 99 ? '\n' : 'x';
    cr_assert(line_reader_init(&reader, file_with(text, size), LIMIT) == 0);
    size_t capacity = reader.capacity;
    while (next(&reader, &line, &length))
        cr_assert(length <= 99);
    cr_assert(eq(u64, reader.lines, (size + 99) / 100));
    cr_assert(eq(sz, reader.capacity, capacity));
    finish(&reader);
    free(text);
}

/* Against the obvious way to split, over inputs with short, empty and long lines and any byte. */
Test(line_reader, any_input_comes_out_as_the_obvious_split_says)
{
    struct random random = random_seeded(20260131);
    size_t size = 700000;
    char *text = malloc(size);

    cr_assert(text != NULL);
    for (int round = 0; round < 6; round++) {
        uint64_t line_size = 1 + random_below(&random, (uint64_t)1 << (2 + 3 * round));
        for (size_t i = 0; i < size; i++)
            text[i] = random_below(&random, line_size) == 0 ? '\n' : (char)random_next(&random);
        struct line_reader reader;
        const char *line, *at = text;
        size_t length;
        cr_assert(line_reader_init(&reader, file_with(text, size), LIMIT) == 0);
        while (next(&reader, &line, &length)) {
            const char *end = memchr(at, '\n', (size_t)(text + size - at));
            size_t wanted = (size_t)((end != NULL ? end : text + size) - at);
            cr_assert(length == wanted && memcmp(line, at, length) == 0, "round %d, byte %td", round,
                      at - text);
            at += wanted + (end != NULL ? 1 : 0);
        }
        cr_assert(at == text + size, "round %d ended at byte %td", round, at - text);
        finish(&reader);
    }
    free(text);
}
