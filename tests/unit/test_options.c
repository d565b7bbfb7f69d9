/* test_options.c: command line before environment before default; bad values are sentences; --help fits a terminal. */
#include "base/check.h"
#include "base/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *listen;
    bool quiet;
    uint64_t size;
    int64_t wait_us;
};

static const struct option_row rows[] = {
    {"listen", 'l', "TEST_LISTEN", "HOST:PORT", "127.0.0.1:1",
     "Where to listen; may be given more than once, and this sentence is long enough to be wrapped twice on "
     "any terminal of eighty columns.",
     options_string, offsetof(struct settings, listen)},
    {"quiet", 'q', "TEST_QUIET", NULL, NULL, "Say nothing.", options_flag, offsetof(struct settings, quiet)},
    {"a-size-with-a-very-long-name", 0, NULL, "BYTES", "64K", "How much.", options_uint64,
     offsetof(struct settings, size)},
    {"wait", 'w', "TEST_WAIT", "DURATION", NULL, "How long.", options_duration,
     offsetof(struct settings, wait_us)},
};

static struct settings settings;
static char error[256];
static char asked;

/* getopt_long moves the pointers, never the strings. */
static int parse(const char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return options_parse(rows, ARRAY_SIZE(rows), argc, (char **)argv, &settings, &asked, error,
                         sizeof(error));
}

#define PARSE(...) parse((const char *[]){"prog", __VA_ARGS__, NULL})

static void clean_environment(void)
{
    unsetenv("TEST_LISTEN");
    unsetenv("TEST_QUIET");
    unsetenv("TEST_WAIT");
}

TestSuite(options, .init = clean_environment);

Test(options, defaults_fill_what_nobody_gave)
{
    settings.wait_us = 77;
    cr_assert_eq(parse((const char *[]){"prog", NULL}), 1);
    cr_assert_str_eq(settings.listen, "127.0.0.1:1");
    cr_assert_not(settings.quiet);
    cr_assert_eq(settings.size, 65536);
    cr_assert_eq(settings.wait_us, 77, "a row without a default leaves its field alone");
}

Test(options, long_short_joined_and_equals_forms_are_read)
{
    cr_assert_eq(PARSE("--listen", "a:2", "-q", "--a-size-with-a-very-long-name=1M", "-w5s"), 6);
    cr_assert_str_eq(settings.listen, "a:2");
    cr_assert(settings.quiet);
    cr_assert_eq(settings.size, 1 << 20);
    cr_assert_eq(settings.wait_us, 5000000);
}

Test(options, environment_stands_behind_the_command_line_and_before_the_default)
{
    setenv("TEST_LISTEN", "env:3", 1);
    setenv("TEST_WAIT", "nonsense", 1);
    setenv("TEST_QUIET", "yes", 1);
    cr_assert_eq(PARSE("--wait", "1ms"), 3, "%s", error);
    cr_assert_str_eq(settings.listen, "env:3");
    cr_assert(settings.quiet);
    cr_assert_eq(settings.wait_us, 1000, "a bad variable does not matter once the option is given");
    setenv("TEST_LISTEN", "", 1);
    cr_assert_eq(PARSE("--wait", "1ms"), 3);
    cr_assert_str_eq(settings.listen, "127.0.0.1:1", "an empty variable is none");
}

Test(options, arguments_are_moved_behind_the_options)
{
    const char *argv[] = {"prog", "topic", "-q", "value", NULL};
    int first = parse(argv);
    cr_assert_eq(first, 2);
    cr_assert_str_eq(argv[first], "topic");
    cr_assert_str_eq(argv[first + 1], "value");
}

Test(options, two_dashes_end_the_options)
{
    cr_assert_eq(PARSE("--", "-q"), 2);
    cr_assert_not(settings.quiet);
}

Test(options, parsing_can_be_repeated)
{
    for (int i = 0; i < 3; i++)
        cr_assert_eq(PARSE("-w", "2s", "rest"), 3);
}

Test(options, help_and_version_are_asked_for)
{
    cr_assert_eq(PARSE("--help"), -ECANCELED);
    cr_assert_eq(asked, 'h');
    cr_assert_eq(PARSE("-V"), -ECANCELED);
    cr_assert_eq(asked, 'V');
}

Test(options, misuse_is_a_sentence_that_names_the_option)
{
    cr_assert_eq(PARSE("--nonsense"), -EINVAL);
    cr_assert_str_eq(error, "--nonsense is not an option, or short for several; see --help");
    cr_assert_eq(PARSE("-x"), -EINVAL);
    cr_assert_str_eq(error, "-x is not an option; see --help");
    cr_assert_eq(PARSE("--listen"), -EINVAL);
    cr_assert_str_eq(error, "--listen needs an argument: --listen HOST:PORT");
    cr_assert_eq(PARSE("-l"), -EINVAL);
    cr_assert_str_eq(error, "--listen needs an argument: --listen HOST:PORT");
    cr_assert_eq(PARSE("--quiet=1"), -EINVAL);
    cr_assert_str_eq(error, "--quiet takes no argument");
}

Test(options, a_bad_value_says_where_it_came_from_and_what_would_do)
{
    cr_assert_eq(PARSE("-w", "5 parsecs"), -EINVAL);
    cr_assert_str_eq(error, "--wait: '5 parsecs' is not a duration such as 250us, 250ms, 1s, 5m, 2h or 7d");
    setenv("TEST_QUIET", "perhaps", 1);
    cr_assert_eq(PARSE("-w", "5s"), -EINVAL);
    cr_assert_str_eq(error, "$TEST_QUIET: 'perhaps' is neither yes nor no; write 1 or 0");
}

Test(options, a_step_leaves_alone_what_an_earlier_one_filled)
{
    enum option_source sources[ARRAY_SIZE(rows)] = {OPTION_UNSET};
    const char *argv[] = {"prog", "--wait", "1ms", NULL};
    setenv("TEST_WAIT", "nonsense", 1);
    setenv("TEST_QUIET", "1", 1);
    cr_assert_eq(options_from_arguments(rows, ARRAY_SIZE(rows), 3, (char **)argv, &settings, sources, &asked,
                                        error, sizeof(error)),
                 3);
    cr_assert_eq(options_from_environment(rows, ARRAY_SIZE(rows), &settings, sources, error, sizeof(error)),
                 0);
    settings.listen = "from a file";
    sources[0] = OPTION_FILE;
    cr_assert_eq(options_from_defaults(rows, ARRAY_SIZE(rows), &settings, sources, error, sizeof(error)), 0);
    cr_assert_str_eq(settings.listen, "from a file");
    cr_assert_eq(settings.wait_us, 1000);
    cr_assert_eq(sources[1], OPTION_ENVIRONMENT);
    cr_assert_eq(sources[2], OPTION_DEFAULT);
    cr_assert_eq(sources[3], OPTION_ARGUMENT);
}

Test(options, a_small_error_buffer_is_not_overrun)
{
    char small[8];
    const char *argv[] = {"prog", "--nonsense", NULL};
    cr_assert_eq(
        options_parse(rows, ARRAY_SIZE(rows), 2, (char **)argv, &settings, &asked, small, sizeof(small)),
        -EINVAL);
    cr_assert_lt(strlen(small), sizeof(small));
}

Test(options, help_names_everything_within_eighty_columns)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    options_help(rows, ARRAY_SIZE(rows), out);
    fclose(out);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_assert_not_null(strstr(text, rows[i].name));
    cr_assert_not_null(strstr(text, "  -l, --listen HOST:PORT      Where to listen;"));
    cr_assert_not_null(strstr(text, "127.0.0.1:1; $TEST_LISTEN]"));
    cr_assert_not_null(strstr(text, "[$TEST_WAIT]"));
    cr_assert_not_null(strstr(text, "--help"));
    cr_assert_not_null(strstr(text, "--version"));
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        cr_assert_leq(end - line, 80, "%.*s", (int)(end - line), line);
    free(text);
}

/* ---- sizes and durations ---- */

Test(parse, sizes_have_binary_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"1K", 1024},
                {"64k", 65536},
                {"16M", 16u << 20},
                {"1G", 1u << 30},
                {"2T", UINT64_C(2) << 40},
                {"18446744073709551615", UINT64_MAX},
                {"16777215T", UINT64_C(16777215) << 40}};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t bytes = 1;
        cr_assert_eq(parse_size(good[i].text, &bytes), 0, "%s", good[i].text);
        cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
    }
}

Test(parse, what_is_no_size_is_refused_and_writes_nothing)
{
    static const char *const bad[] = {"",
                                      "K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.5M",
                                      "1KB",
                                      "1Q",
                                      "0x10",
                                      "18446744073709551616",
                                      "16777216T",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t bytes = 42;
        cr_assert_eq(parse_size(bad[i], &bytes), -EINVAL, "%s", bad[i]);
        cr_assert_eq(bytes, 42);
    }
}

Test(parse, durations_have_a_unit)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {{"0", 0},
                {"250us", 250},
                {"250ms", 250000},
                {"1s", 1000000},
                {"5m", 300000000},
                {"2h", INT64_C(7200000000)},
                {"7d", INT64_C(604800000000)},
                {"9223372036854775807us", INT64_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        int64_t us = -1;
        cr_assert_eq(parse_duration_us(good[i].text, &us), 0, "%s", good[i].text);
        cr_assert_eq(us, good[i].us, "%s", good[i].text);
    }
}

Test(parse, what_is_no_duration_is_refused_and_writes_nothing)
{
    static const char *const bad[] = {
        "", "s", "5", "-1s", "1.5s", "1S", "1 s", "1sec", "9223372036854775808us", "106751992d"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int64_t us = 42;
        cr_assert_eq(parse_duration_us(bad[i], &us), -EINVAL, "%s", bad[i]);
        cr_assert_eq(us, 42);
    }
}

Test(parse, what_was_read_is_written_in_the_largest_unit_that_fits)
{
    static const char *const sizes[] = {"0", "4095", "1K", "1025K", "16M", "3G", "2T", "16777215T"};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char text[32];
        uint64_t bytes;
        cr_assert_eq(parse_size(sizes[i], &bytes), 0);
        format_size(bytes, text, sizeof(text));
        cr_assert_str_eq(text, sizes[i]);
    }
    static const char *const durations[] = {"0s", "1us", "250ms", "90s", "5m", "2h", "7d", "1500ms"};
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        char text[32];
        int64_t us;
        cr_assert_eq(parse_duration_us(durations[i], &us), 0);
        format_duration_us(us, text, sizeof(text));
        cr_assert_str_eq(text, durations[i]);
    }
}
