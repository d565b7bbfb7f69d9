/* test_log.c: one event is one line, whatever a peer puts into it. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[80];
static char text[64 * 1024]; /* the file, as last read */

static void make_folder(void)
{
    strcpy(folder, "/tmp/crier-test-log-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/log", folder);
}

static void remove_folder(void)
{
    char rotated[96];
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    unlink(rotated);
    unlink(path);
    rmdir(folder);
}

static const char *read_file(const char *name)
{
    FILE *file = fopen(name, "r");
    cr_assert_not_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static struct log *open_log(enum log_format format)
{
    struct log *log;
    cr_assert_eq(log_open(path, format, LOG_LEVEL_INFO, &log), 0);
    return log;
}

/* Writes one line with `message` and returns it parsed. */
static json_t *json_of(const char *message)
{
    unlink(path);
    struct log *log = open_log(LOG_FORMAT_JSON);
    LOG_WARN(log, "TEST-ID", "%s", message);
    log_close(log);
    const char *line = read_file(path);
    cr_assert_leq(strlen(line), LOG_LINE_MAX);
    cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1, "one line, ended: %s", line);
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(object, "%s in %s", error.text, line);
    return object;
}

TestSuite(log, .init = make_folder, .fini = remove_folder);

Test(log, a_text_line_is_time_level_id_message)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    LOG_WARN(log, "SESSION-SLOW", "session %d: paused", 42);
    log_close(log);
    int year, month, day, hour, minute, second, ms, end = 0;
    sscanf(read_file(path), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ WARN SESSION-SLOW session 42: paused%n", &year,
           &month, &day, &hour, &minute, &second, &ms, &end);
    cr_assert_gt(end, 0, "%s", text);
    cr_assert_str_eq(text + end, "\n");
    cr_assert_geq(year, 2024);
}

Test(log, lines_below_the_level_are_left_out)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    cr_assert_not(log_enabled(log, LOG_LEVEL_DEBUG));
    cr_assert(log_enabled(log, LOG_LEVEL_INFO));
    LOG_DEBUG(log, "A", "not this");
    LOG_INFO(log, "B", "this");
    LOG_ERROR(log, "C", "and this");
    log_close(log);
    cr_assert_null(strstr(read_file(path), "not this"));
    cr_assert_not_null(strstr(text, "INFO B this\n"));
    cr_assert_not_null(strstr(text, "ERROR C and this\n"));
}

Test(log, level_and_format_can_change_between_two_lines)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    LOG_DEBUG(log, "A", "not this");
    log_set_level(log, LOG_LEVEL_DEBUG);
    LOG_DEBUG(log, "B", "this");
    log_set_format(log, LOG_FORMAT_JSON);
    LOG_INFO(log, "C", "and this");
    log_close(log);
    read_file(path);
    cr_assert_null(strstr(text, "not this"));
    cr_assert_not_null(strstr(text, "DEBUG B this\n"));
    cr_assert_not_null(strstr(text, "\"id\":\"C\",\"message\":\"and this\"}\n"));
}

Test(log, a_null_log_swallows_lines)
{
    cr_assert_not(log_enabled(NULL, LOG_LEVEL_ERROR));
    LOG_ERROR(NULL, "X", "nobody hears %s", "this");
    log_close(NULL);
}

Test(log, a_peers_text_cannot_forge_a_line_or_an_escape)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    LOG_WARN(log, "PEER", "name '%s'", "x\n2026-01-01T00:00:00.000Z ERROR FAKE \x1b[2Jboo\r\t\x7f \\n");
    log_close(log);
    read_file(path);
    cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "one line: %s", text);
    for (const char *at = text; at[1]; at++)
        cr_assert_geq((unsigned char)*at, 0x20);
    cr_assert_not_null(
        strstr(text, "x\\x0a2026-01-01T00:00:00.000Z ERROR FAKE \\x1b[2Jboo\\x0d\\x09\\x7f \\\\n'"));
}

Test(log, utf8_passes_and_what_is_not_utf8_is_escaped)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    LOG_INFO(log, "A", "%s", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    LOG_INFO(log, "B", "%s", "\xff \xc3( \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82");
    LOG_INFO(log, "C", "%s", "c1 \xc2\x9b"); /* a control sequence introducer in eight bits */
    log_close(log);
    cr_assert_not_null(strstr(read_file(path), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n"));
    cr_assert_not_null(
        strstr(text, "B \\xff \\xc3( \\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82\n"));
    cr_assert_not_null(strstr(text, "c1 \\xc2\\x9b\n"));
}

Test(log, json_lines_are_objects_whatever_is_in_the_message)
{
    static const char *const messages[] = {"plain",
                                           "",
                                           "quote \" and \\ back",
                                           "line\nfeed\ttab\x01",
                                           "caf\xc3\xa9 \xf0\x9f\x98\x80",
                                           "\",\"level\":\"ERROR\",\"x\":\""};
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        json_t *object = json_of(messages[i]);
        cr_assert_eq(json_object_size(object), 4);
        cr_assert_str_eq(json_string_value(json_object_get(object, "level")), "WARN");
        cr_assert_str_eq(json_string_value(json_object_get(object, "id")), "TEST-ID");
        cr_assert_str_eq(json_string_value(json_object_get(object, "message")), messages[i]);
        cr_assert_eq(strlen(json_string_value(json_object_get(object, "time"))),
                     strlen("2026-01-31T12:00:00.123Z"));
        json_decref(object);
    }
}

Test(log, json_replaces_what_is_not_utf8)
{
    json_t *object = json_of("a\xff\xc3z");
    cr_assert_str_eq(json_string_value(json_object_get(object, "message")), "a\xef\xbf\xbd\xef\xbf\xbdz");
    json_decref(object);
}

Test(log, a_long_message_is_cut_between_characters_and_the_line_stays_whole)
{
    static const char *const fill[] = {"x", "\xe2\x82\xac", "\n", "\"", "\xff"};
    for (size_t i = 0; i < sizeof(fill) / sizeof(fill[0]); i++) {
        for (size_t shift = 0; shift < 7; shift++) {
            char message[3 * LOG_LINE_MAX] = "";
            memset(message, 'y', shift);
            size_t length = strlen(fill[i]);
            for (size_t at = shift; at + length < sizeof(message) - 1; at += length)
                memcpy(message + at, fill[i], length);
            json_t *object = json_of(message);
            const char *cut = json_string_value(json_object_get(object, "message"));
            cr_assert_gt(strlen(cut), 300);
            json_decref(object);

            unlink(path);
            struct log *log = open_log(LOG_FORMAT_TEXT);
            LOG_INFO(log, "LONG", "%s", message);
            LOG_INFO(log, "NEXT", "whole");
            log_close(log);
            read_file(path);
            cr_assert_leq(strchr(text, '\n') - text + 1, LOG_LINE_MAX);
            cr_assert_not_null(strstr(strchr(text, '\n'), "INFO NEXT whole\n"));
        }
    }
}

Test(log, lines_are_appended_to_what_is_there)
{
    for (int i = 0; i < 2; i++) {
        struct log *log = open_log(LOG_FORMAT_TEXT);
        LOG_INFO(log, "RUN", "number %d", i);
        log_close(log);
    }
    cr_assert_not_null(strstr(read_file(path), "number 0\n"));
    cr_assert_not_null(strstr(text, "number 1\n"));
}

Test(log, reopen_follows_a_rotation)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    char rotated[96];
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    LOG_INFO(log, "A", "before");
    cr_assert_eq(rename(path, rotated), 0);
    LOG_INFO(log, "A", "between");
    cr_assert_eq(log_reopen(log), 0);
    LOG_INFO(log, "A", "after");
    log_close(log);
    cr_assert_not_null(strstr(read_file(rotated), "between\n"));
    cr_assert_null(strstr(text, "after"));
    cr_assert_not_null(strstr(read_file(path), "after\n"));
}

Test(log, a_failed_reopen_keeps_the_old_file)
{
    struct log *log = open_log(LOG_FORMAT_TEXT);
    char rotated[96];
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    cr_assert_eq(rename(path, rotated), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(log_reopen(log), -EISDIR);
    LOG_INFO(log, "A", "still here");
    log_close(log);
    cr_assert_not_null(strstr(read_file(rotated), "still here\n"));
    rmdir(path);
}

Test(log, a_path_that_cannot_be_opened_is_an_error)
{
    struct log *log = NULL;
    cr_assert_eq(log_open("/nonexistent/folder/log", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, &log), -ENOENT);
    cr_assert_null(log);
}

Test(log, without_a_path_it_is_standard_error)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600), saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    struct log *log;
    cr_assert_eq(log_open(NULL, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, &log), 0);
    LOG_INFO(log, "A", "to standard error");
    cr_assert_eq(log_reopen(log), 0);
    log_close(log);
    cr_assert_eq(fcntl(STDERR_FILENO, F_GETFD) & ~FD_CLOEXEC, 0, "standard error is still open");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    cr_assert_not_null(strstr(read_file(path), "to standard error\n"));
}

static void sink(void *ctx, enum log_level level, const char *line)
{
    snprintf(ctx, 256, "%d %s", (int)level, line + strlen("2026-01-31T12:00:00.123Z "));
}

Test(log, a_sink_gets_whole_lines_without_their_ends)
{
    char got[256] = "";
    struct log *log;
    cr_assert_eq(log_open_sink(sink, got, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, &log), 0);
    LOG_WARN(log, "A-LINE", "number %d", 7);
    cr_assert_str_eq(got, "2 WARN A-LINE number 7");
    LOG_DEBUG(log, "NOT-THIS", "below the level");
    cr_assert_str_eq(got, "2 WARN A-LINE number 7");
    log_close(log);
}
