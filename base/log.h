/* log.h: log lines with stable ids, as text or JSON.
 *
 *   LOG_WARN(log, "SESSION-SLOW", "session %" PRIu64 ": paused, %zu bytes queued", id, queued);
 *
 * The id is stable and can be searched for; the text is free. Text: `2026-01-31T12:00:00.123Z WARN SESSION-SLOW ...`;
 * JSON: one object a line with time, level, id, message. One write(2) a line, so lines of threads never mix.
 *
 * Thread:  any. log_reopen() is for the thread that handles SIGHUP.
 * Limits:  a line is cut at LOG_LINE_MAX bytes; control characters in it are escaped (a peer's text cannot forge lines). */
#ifndef CRIER_BASE_LOG_H
#define CRIER_BASE_LOG_H

#include <stdbool.h>

#define LOG_LINE_MAX 2048

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log;

/* path NULL: standard error. Returns 0 or -errno. */
int log_open(const char *path, enum log_format format, enum log_level level_min, struct log **ret_log);
/* Lines go to sink(ctx, level, line) instead, which is called on whatever thread has something to say; the line is
 * borrowed, NUL-terminated and without its end. For a broker in somebody else's process. 0 or -ENOMEM. */
typedef void log_sink(void *ctx, enum log_level level, const char *line);
int log_open_sink(log_sink *sink, void *ctx, enum log_format format, enum log_level level_min,
                  struct log **ret_log);
void log_close(struct log *log); /* accepts NULL */
int log_reopen(
    struct log *log); /* opens the path anew (after rotation); 0 or -errno, the old file stays on error */
/* For every line from now on. Any thread. */
void log_set_level(struct log *log, enum log_level level_min);
void log_set_format(struct log *log, enum log_format format);
bool log_enabled(const struct log *log, enum log_level level);
/* A NULL log swallows the line. */
void log_line(struct log *log, enum log_level level, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define LOG_DEBUG(log, ...)                                                                                  \
    do {                                                                                                     \
        if (log_enabled(log, LOG_LEVEL_DEBUG))                                                               \
            log_line(log, LOG_LEVEL_DEBUG, __VA_ARGS__);                                                     \
    } while (0)
#define LOG_INFO(log, ...)  log_line(log, LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARN(log, ...)  log_line(log, LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_ERROR(log, ...) log_line(log, LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
