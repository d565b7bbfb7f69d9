/* log.c: one event, one line, one write(2).
 *
 * Role:    formats, escapes and writes log lines; descriptor, level and format are the only shared state.
 * Thread:  any. Lines are built on the caller's stack; O_APPEND and one write keep them whole. log_reopen() replaces the
 *          file behind the same descriptor number with dup3(2), which is atomic for everybody who is writing.
 * Owner:   the log owns its descriptor (unless it is standard error) and its copy of the path.
 * Called:  every part, through the macros in log.h.
 *
 * Happy path:  log_line → vsnprintf → escape → write
 * Failures:    a line that cannot be written is dropped: a full log disk must not stop the broker. */
#include "base/log.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct log {
    int fd;         /* constant for the life of the log */
    char *path;     /* NULL: standard error */
    log_sink *sink; /* not NULL: lines go there */
    void *sink_ctx;
    atomic_int format;    /* enum log_format; may change while others write: a line has one or the other */
    atomic_int level_min; /* enum log_level */
};

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "DEBUG",
    [LOG_LEVEL_INFO] = "INFO",
    [LOG_LEVEL_WARN] = "WARN",
    [LOG_LEVEL_ERROR] = "ERROR",
};

static int log_file_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    return fd < 0 ? -errno : fd;
}

int log_open(const char *path, enum log_format format, enum log_level level_min, struct log **ret_log)
{
    int rc = -ENOMEM;
    struct log *log = calloc(1, sizeof(*log));
    if (!log)
        return rc;
    log->fd = STDERR_FILENO;
    log_set_format(log, format);
    log_set_level(log, level_min);
    if (path) {
        log->path = strdup(path);
        if (!log->path)
            goto free_log;
        rc = log_file_open(path);
        if (rc < 0)
            goto free_log;
        log->fd = rc;
    }
    *ret_log = log;
    return 0;

free_log:
    free(log->path);
    free(log);
    return rc;
}

int log_open_sink(log_sink *sink, void *ctx, enum log_format format, enum log_level level_min,
                  struct log **ret_log)
{
    int rc = log_open(NULL, format, level_min, ret_log);
    if (rc == 0) {
        (*ret_log)->sink = sink;
        (*ret_log)->sink_ctx = ctx;
    }
    return rc;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    if (log->path)
        close(log->fd);
    free(log->path);
    free(log);
}

int log_reopen(struct log *log)
{
    if (!log->path)
        return 0;
    int fd = log_file_open(log->path);
    if (fd < 0)
        return fd;
    int rc = dup3(fd, log->fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

void log_set_level(struct log *log, enum log_level level_min)
{
    atomic_store_explicit(&log->level_min, (int)level_min, memory_order_relaxed);
}

void log_set_format(struct log *log, enum log_format format)
{
    atomic_store_explicit(&log->format, (int)format, memory_order_relaxed);
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return log && (int)level >= atomic_load_explicit(&log->level_min, memory_order_relaxed);
}

/* ---- the line ---- */

#define LOG_TAIL_SIZE 8 /* kept free at the end: `..."}` and the line feed */

struct line {
    char bytes[LOG_LINE_MAX];
    size_t size;
};

/* Appends a piece whole, or not at all once the line is full. */
static bool line_put(struct line *line, const char *piece, size_t size)
{
    if (size > sizeof(line->bytes) - LOG_TAIL_SIZE - line->size)
        return false;
    memcpy(line->bytes + line->size, piece, size);
    line->size += size;
    return true;
}

/* The length of the UTF-8 character at text if it is one that may stand in a line as it is; 0 if it must be escaped:
 * controls (C0, DEL, C1), stray, overlong and truncated sequences, surrogates, beyond U+10FFFF. */
static size_t printable_size(const unsigned char *text)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = text[0];
    if (lead < 0x80)
        return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    uint32_t point = lead & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) { /* stops at the terminating zero: it is no continuation byte */
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3f);
    }
    if (point < smallest[size] || point < 0xa0 || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return size;
}

/* Writes what stands for a byte that may not: `\x1b`, or in JSON `\u001b` and, for what is not UTF-8, the
 * replacement character. Returns its length. */
static size_t escape_byte(char to[8], unsigned char byte, enum log_format format)
{
    if (format == LOG_FORMAT_TEXT)
        snprintf(to, 8, "\\x%02x", byte);
    else
        snprintf(to, 8, "\\u%04x", byte < 0x80 ? byte : 0xfffdu);
    return strlen(to);
}

/* Appends text so that it can neither end the line nor, in JSON, the string it stands in. The escape sign itself is
 * escaped, so that escapes cannot be forged. */
static void line_put_escaped(struct line *line, const char *text, enum log_format format)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t size = printable_size(at);
        char escape[8];
        bool put;
        if (*at == '\\' || (format == LOG_FORMAT_JSON && *at == '"'))
            put = line_put(line, (const char[]){'\\', (char)*at}, 2);
        else if (size > 0)
            put = line_put(line, (const char *)at, size);
        else
            put = line_put(line, escape, escape_byte(escape, *at, format));
        if (!put) {
            memcpy(line->bytes + line->size, "...", 3); /* in the tail kept free */
            line->size += 3;
            return;
        }
        at += size > 0 ? size : 1;
    }
}

static void line_put_head(struct line *line, enum log_format format, enum log_level level, const char *id)
{
    int64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char when[40], head[192];
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
    int ms = (int)(now_us / 1000 % 1000);
    if (format == LOG_FORMAT_JSON)
        snprintf(head, sizeof(head), "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"id\":\"%s\",\"message\":\"",
                 when, ms, level_names[level], id);
    else
        snprintf(head, sizeof(head), "%s.%03dZ %s %s ", when, ms, level_names[level], id);
    line_put(line, head, strlen(head));
}

void log_line(struct log *log, enum log_level level, const char *id, const char *format, ...)
{
    if (!log_enabled(log, level))
        return;
    char text[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0)
        text[0] = '\0';

    struct line line;
    line.size = 0;
    enum log_format form = (enum log_format)atomic_load_explicit(&log->format, memory_order_relaxed);
    line_put_head(&line, form, level, id);
    line_put_escaped(&line, text, form);
    const char *end = form == LOG_FORMAT_JSON ? "\"}\n" : "\n";
    memcpy(line.bytes + line.size, end, strlen(end));
    line.size += strlen(end);
    if (log->sink) {
        line.bytes[line.size - 1] = '\0';
        log->sink(log->sink_ctx, level, line.bytes);
        return;
    }

    ssize_t written;
    do
        written = write(log->fd, line.bytes, line.size);
    while (written < 0 && errno == EINTR);
}
