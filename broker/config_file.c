/* config_file.c: see config_file.h. The parser is inih (docs/decisions/0006); what is ours is that nothing is taken in
 * silence: lines too long for it, sections, keys without a value are each named with their line.
 *
 * Happy path:  open → inih asks line_next() for lines and hands setting_add() what is on them
 * Failures:    no such file, no regular file, a read error, any malformed line: a sentence each, -EINVAL. */
#include "broker/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
    const char *path;
    FILE *stream;
    unsigned line; /* the one in inih's hands */
    unsigned problems;
    unsigned refused_line; /* the first that setting_add() refused */
    config_report *report;
    void *ctx;
    struct config_file *file;
};

__attribute__((format(printf, 2, 3))) static void problem(struct reading *reading, const char *format, ...)
{
    char reason[256], sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    if (reading->line)
        snprintf(sentence, sizeof(sentence), "%s:%u: %s", reading->path, reading->line, reason);
    else
        snprintf(sentence, sizeof(sentence), "%s: %s", reading->path, reason);
    reading->report(reading->ctx, sentence);
    reading->problems++;
}

/* As fgets, for inih. It would take a line that is too long for two; here it becomes a problem and an empty line. */
static char *line_next(char *to, int capacity, void *ctx)
{
    struct reading *reading = ctx;
    if (!fgets(to, capacity, reading->stream))
        return NULL;
    reading->line++;
    if (strchr(to, '\n') || feof(reading->stream))
        return to;
    problem(reading, "longer than the %d bytes of a line, or with a zero byte in it", capacity - 2);
    for (int c = getc(reading->stream); c != '\n' && c != EOF;)
        c = getc(reading->stream);
    to[0] = '\0';
    return to;
}

/* NULL, or what is wrong with what inih found on a line. */
static const char *setting_problem(const char *section, const char *value)
{
    if (*section != '\0')
        return "there are no sections; take out the line in brackets above";
    if (*value == '\0')
        return "has no value";
    if (strstr(value, " #") || strstr(value, "\t#"))
        return "a comment behind a value begins with ';'";
    return NULL;
}

static int setting_add(void *ctx, const char *section, const char *key, const char *value)
{
    struct reading *reading = ctx;
    size_t key_size = strlen(key) + 1, value_size = strlen(value) + 1;
    struct config_setting *setting = malloc(sizeof(*setting) + key_size + value_size);
    const char *why = setting ? setting_problem(section, value) : "out of memory";
    if (why) {
        problem(reading, "%s: %s", key, why);
        if (!reading->refused_line)
            reading->refused_line = reading->line;
        free(setting);
        return 0;
    }
    *setting = (struct config_setting){.line = reading->line, .value = setting->key + key_size};
    memcpy(setting->key, key, key_size);
    memcpy(setting->value, value, value_size);
    *reading->file->last = setting;
    reading->file->last = &setting->next;
    return 1;
}

/* Never waits: what is not a regular file (a pipe nobody writes to) is refused. */
static FILE *file_open(struct reading *reading)
{
    struct stat info;
    FILE *stream = NULL;
    int fd = open(reading->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) < 0) {
        problem(reading, "cannot be read: %s", strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        problem(reading, "is not a regular file");
    } else {
        stream = fdopen(fd, "r");
        if (!stream)
            problem(reading, "cannot be read: %s", strerror(errno));
    }
    if (!stream && fd >= 0)
        close(fd);
    return stream;
}

int config_file_read(const char *path, config_report *report, void *ctx, struct config_file **ret_file)
{
    struct reading reading = {.path = path, .report = report, .ctx = ctx};
    reading.stream = file_open(&reading);
    if (!reading.stream)
        return -EINVAL;
    reading.file = calloc(1, sizeof(*reading.file));
    if (reading.file) {
        reading.file->last = &reading.file->first;
        int first_bad = ini_parse_stream(line_next, &reading, setting_add, &reading);
        if (ferror(reading.stream)) {
            reading.line = 0;
            problem(&reading, "cannot be read: %s", strerror(errno));
        } else if (first_bad > 0 &&
                   (unsigned)first_bad != reading.refused_line) { /* inih itself could make nothing of it */
            reading.line = (unsigned)first_bad;
            problem(&reading, "is neither `key = value` nor a comment");
        }
    } else {
        problem(&reading, "out of memory");
    }
    fclose(reading.stream);
    *ret_file = reading.file;
    return reading.problems ? -EINVAL : 0;
}

void config_file_free(struct config_file *file)
{
    if (!file)
        return;
    for (struct config_setting *setting = file->first, *next; setting; setting = next) {
        next = setting->next;
        free(setting);
    }
    free(file);
}
