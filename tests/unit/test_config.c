/* test_config.c: where values come from, and what is said about those that are wrong. */
#include "broker/config.h"

#include "base/check.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];
static struct config config;
static char problems[4096];

static void collect(void *ctx, const char *sentence)
{
    (void)ctx;
    size_t used = strlen(problems);
    snprintf(problems + used, sizeof(problems) - used, "%s\n", sentence);
}

static void setup(void)
{
    size_t count;
    const struct option_row *rows = config_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i].environment)
            unsetenv(rows[i].environment);
    strcpy(path, "/tmp/crier-test-config-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void teardown(void)
{
    config_finish(&config);
    unlink(path);
}

TestSuite(config, .init = setup, .fini = teardown);

static void write_file(const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fwrite(text, 1, size, file);
    fclose(file);
}

static int load(const char *const *words)
{
    const char *argv[16] = {"crierd"};
    int argc = 1;
    while (*words)
        argv[argc++] = *words++;
    problems[0] = '\0';
    config_finish(&config);
    return config_load(argc, (char **)argv, collect, NULL, &config);
}

#define LOAD(...) load((const char *const[]){__VA_ARGS__, NULL})

static int load_text(const char *text)
{
    write_file(text, strlen(text));
    return LOAD("--config", path);
}

/* The file is refused with these sentences, each on its line and with the file's name in front. */
static void expect_refused(const char *text, const char *sentences)
{
    cr_assert_eq(load_text(text), -EINVAL, "%s", text);
    char without_path[sizeof(problems)] = "";
    for (char *line = problems, *end; (end = strchr(line, '\n')); line = end + 1) {
        cr_assert_eq(strncmp(line, path, strlen(path)), 0, "%s", line);
        strncat(without_path, line + strlen(path), (size_t)(end + 1 - line) - strlen(path));
    }
    cr_assert_str_eq(without_path, sentences);
}

Test(config, every_key_of_the_file_arrives)
{
    cr_assert_eq(load_text("# a comment\n"
                           "data = /srv/crier data   ; and one behind a value\n"
                           "listen = 127.0.0.1:1, [::1]:2\n"
                           "listen = unix:/run/x.sock\n"
                           "durability = memory\n"
                           "no-auto-create = yes\n"
                           "log-file = /var/log/crierd.log\n"
                           "log-format = json\n"
                           "log-level = warn\n"
                           "connections-max = 17\n"
                           "event-size-max = 64K\n"
                           "ingest-memory = 2M\n"
                           "cache-memory = 0\n"
                           "segment-size = 1G\n"
                           "drain = 90s"), /* and no line end */
                 0, "%s", problems);
    cr_assert_str_eq(config.data, "/srv/crier data");
    cr_assert_eq(config.listen.count, 3);
    cr_assert_str_eq(config.listen.address[0], "127.0.0.1:1");
    cr_assert_str_eq(config.listen.address[1], "[::1]:2");
    cr_assert_str_eq(config.listen.address[2], "unix:/run/x.sock");
    cr_assert(config.durability_memory);
    cr_assert(config.no_auto_create);
    cr_assert_str_eq(config.log_file, "/var/log/crierd.log");
    cr_assert_eq(config.log_format, LOG_FORMAT_JSON);
    cr_assert_eq(config.log_level, LOG_LEVEL_WARN);
    cr_assert_eq(config.connections_max, 17);
    cr_assert_eq(config.event_bytes_max, 65536);
    cr_assert_eq(config.ingest_bytes_max, 2 << 20);
    cr_assert_eq(config.cache_bytes_max, 0);
    cr_assert_eq(config.segment_bytes, 1 << 30);
    cr_assert_eq(config.drain_us, 90000000);
}

Test(config, what_nobody_says_is_the_default)
{
    cr_assert_eq(load_text(""), 0);
    cr_assert_str_eq(config.data, "./crier-data");
    cr_assert_eq(config.listen.count, 1);
    cr_assert_eq(config.event_bytes_max, 1 << 20);
    cr_assert_null(config.log_file);
}

Test(config, the_command_line_comes_before_the_environment_and_that_before_the_file)
{
    setenv("CRIERD_DRAIN", "2s", 1);
    setenv("CRIERD_LOG_LEVEL", "warn", 1);
    cr_assert_eq(load_text("drain = 3s\nlog-level = error\nlisten = a:1\ncache-memory = 3M\n"), 0);
    cr_assert_eq(LOAD("--config", path, "--drain", "1s", "--listen", "b:2"), 0, "%s", problems);
    cr_assert_eq(config.drain_us, 1000000);
    cr_assert_eq(config.log_level, LOG_LEVEL_WARN);
    cr_assert_eq(config.listen.count, 1, "addresses replace each other, they do not add up");
    cr_assert_str_eq(config.listen.address[0], "b:2");
    cr_assert_eq(config.cache_bytes_max, 3 << 20);
}

Test(config, the_file_can_be_named_by_the_environment)
{
    setenv("CRIERD_CONFIG", path, 1);
    write_file("drain = 3s\n", 11);
    cr_assert_eq(LOAD("--check-config"), 0, "%s", problems);
    cr_assert(config.check);
    cr_assert_eq(config.drain_us, 3000000);
}

Test(config, all_that_is_wrong_with_a_file_is_said_at_once_with_line_and_key)
{
    expect_refused("drain = soon\n"
                   "\n"
                   "bogus = 1\n"
                   "event-size-max = 12\n"
                   "data = /x\n"
                   "data = /y\n"
                   "log-level = loud\n",
                   ":1: drain: 'soon' is not a duration such as 250us, 250ms, 1s, 5m, 2h or 7d\n"
                   ":3: bogus: there is no such key; `crierd --help` names them\n"
                   ":4: event-size-max: is 1K to 8M\n"
                   ":6: data: is given on line 5 already (a line that begins with a blank goes on with the "
                   "one before)\n"
                   ":7: log-level: one of debug or info or warn or error\n");
}

Test(config, what_the_parser_would_take_in_silence_is_refused)
{
    expect_refused("just words\n", ":1: is neither `key = value` nor a comment\n");
    expect_refused("data =\n", ":1: data: has no value\n");
    expect_refused("data = /x # or here\n", ":1: data: a comment behind a value begins with ';'\n");
    expect_refused("[broker]\ndata = /x\n",
                   ":2: data: there are no sections; take out the line in brackets above\n");
    expect_refused("data = /x\n  drain = 3s\n",
                   ":2: data: is given on line 1 already (a line that begins with a blank goes on with the "
                   "one before)\n");
    expect_refused("config = /x\n", ":1: config: there is no such key; `crierd --help` names them\n");
    expect_refused("check-config = 1\n",
                   ":1: check-config: there is no such key; `crierd --help` names them\n");
    expect_refused("listen = a:1,,b:2\n", ":1: listen: at most 8 addresses of 1 to 127 bytes\n");
}

/* A port of 99999 was taken for 34463, and a socket without a path got one that no client can say. */
Test(config, an_address_that_cannot_be_is_refused)
{
    static const char *const bad[] = {
        "127.0.0.1",    "127.0.0.1:99999", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:+80",
        "127.0.0.1:-1", ":27437",          "unix:",      "unix:socket"};
    char line[256], problem[256];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "listen = a:1, %s\n", bad[i]);
        snprintf(problem, sizeof(problem),
                 ":1: listen: '%s' is not HOST:PORT (up to 65535) or unix:/PATH (up to 107 bytes)\n", bad[i]);
        expect_refused(line, problem);
    }
    snprintf(line, sizeof(line), "listen = unix:/%0107d\n", 1);
    write_file(line, strlen(line));
    cr_assert_eq(LOAD("--config", path), -EINVAL);
    cr_assert_eq(LOAD("--listen", "[::1]:65535", "--listen", "*:0"), 0, "%s", problems);
}

Test(config, a_line_too_long_is_one_problem_and_the_next_is_read_as_itself)
{
    char text[600];
    snprintf(text, sizeof(text), "data = /%0500d\ndrain = soon\n", 1);
    expect_refused(text, ":1: longer than the 198 bytes of a line, or with a zero byte in it\n"
                         ":2: drain: 'soon' is not a duration such as 250us, 250ms, 1s, 5m, 2h or 7d\n");
    write_file("data = /x\0y\n", 12);
    cr_assert_eq(LOAD("--config", path), -EINVAL);
    cr_assert_not_null(strstr(problems, ":1: longer than"));
}

Test(config, a_bad_line_is_wrong_even_if_the_command_line_overrules_it)
{
    write_file("drain = soon\n", 13);
    cr_assert_eq(LOAD("--config", path, "--drain", "1s"), -EINVAL);
    cr_assert_not_null(strstr(problems, ":1: drain:"));
}

Test(config, what_is_no_readable_file_is_named)
{
    cr_assert_eq(LOAD("--config", "/nonexistent/crierd.conf"), -EINVAL);
    cr_assert_str_eq(problems, "/nonexistent/crierd.conf: cannot be read: No such file or directory\n");
    cr_assert_eq(LOAD("--config", "/tmp"), -EINVAL);
    cr_assert_str_eq(problems, "/tmp: is not a regular file\n");
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(LOAD("--config", path), -EINVAL, "and nobody waits for its writer");
    cr_assert_not_null(strstr(problems, "is not a regular file"));
}

Test(config, misuse_names_the_option_or_the_variable)
{
    cr_assert_eq(LOAD("--segment-size", "1M"), -EINVAL);
    cr_assert_str_eq(problems, "--segment-size is 64M to 16G\n");
    cr_assert_eq(LOAD("serve"), -EINVAL);
    cr_assert_str_eq(problems, "unexpected argument \"serve\"; see --help\n");
    setenv("CRIERD_CONNECTIONS_MAX", "0", 1);
    cr_assert_eq(LOAD("--drain", "2h"), -EINVAL);
    cr_assert_str_eq(problems, "$CRIERD_CONNECTIONS_MAX is 1 to 1000000\n--drain is at most 1h\n");
}

Test(config, values_that_make_no_sense_together_are_refused)
{
    cr_assert_eq(LOAD("--ping-interval", "10s"), -EINVAL);
    cr_assert_not_null(strstr(problems, "idle-timeout is at least twice ping-interval"), "%s", problems);
    cr_assert_eq(LOAD("--ping-interval", "10s", "--idle-timeout", "20s"), 0, "%s", problems);
}

/* A list: of several lines, or with commas; names may have blanks and signs within. */
Test(config, quotas_of_clients_by_name_add_up)
{
    cr_assert_eq(load_text("client-quota = importer=5000:10M, crier emit = none\n"
                           "client-quota = a=b=:1K\n"),
                 0, "%s", problems);
    const struct config_client_quotas *quotas = &config.client_quotas;
    cr_assert_eq(quotas->count, 3);
    cr_assert_str_eq(quotas->client[0].name, "importer");
    cr_assert_eq(quotas->client[0].events, 5000);
    cr_assert_eq(quotas->client[0].bytes, 10 << 20);
    cr_assert_str_eq(quotas->client[1].name, "crier emit");
    cr_assert_eq(quotas->client[1].events, CONFIG_QUOTA_NONE);
    cr_assert_eq(quotas->client[1].bytes, 0);
    cr_assert_str_eq(quotas->client[2].name, "a=b");
    cr_assert_eq(quotas->client[2].bytes, 1024);
    cr_assert_eq(LOAD("--client-quota", "x=1", "--client-quota", "y=:2", "--config", path), 0, "%s",
                 problems);
    cr_assert_eq(config.client_quotas.count, 2, "those of the command line replace those of the file");
    cr_assert_str_eq(config.client_quotas.client[1].name, "y");
}

Test(config, a_quota_of_a_client_that_makes_no_sense_is_refused)
{
    static const char *const bad[] = {
        "x",    "x=",      "=1",           "x=:",   "x=0",      "x=1:0",
        "x=-1", "x=1:2:3", "x=2000000000", "x=:2T", "x=1,,y=2", "x=1000000000000000000000000000000000000"};
    char long_name[80], many[40 * 8] = "";
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_expect_eq(LOAD("--client-quota", bad[i]), -EINVAL, "%s", bad[i]);
    memset(long_name, 'n', sizeof(long_name));
    strcpy(long_name + CONFIG_CLIENT_NAME_MAX, "=1");
    cr_assert_eq(LOAD("--client-quota", long_name), 0, "%s", problems);
    strcpy(long_name + CONFIG_CLIENT_NAME_MAX, "n=1");
    cr_assert_eq(LOAD("--client-quota", long_name), -EINVAL);
    expect_refused("client-quota = x=1\nclient-quota = x=2\n", ":2: client-quota: 'x' is there twice\n");
    for (int i = 0; i < CONFIG_CLIENT_QUOTAS_MAX; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "c%d=1,", i);
    cr_assert_eq(LOAD("--client-quota", many), 0, "%s", problems);
    cr_assert_eq(LOAD("--client-quota", many, "--client-quota", "x=1"), -EINVAL);
}

/* What config_row_text() writes, the file takes, and means the same: SIGHUP compares by it. */
Test(config, every_value_survives_being_written_and_read)
{
    static const char *const samples[] = {"/srv/data",
                                          "a:1, unix:/x",
                                          "memory",
                                          "yes",
                                          "/var/log/x",
                                          "json",
                                          "debug",
                                          "12345",
                                          "7",
                                          "8",
                                          "9",
                                          "10K",
                                          "importer=5000:10M, a name=:1K, free=none, both=none:7",
                                          "11",
                                          "12M",
                                          "3M",
                                          "1G",
                                          "1025K",
                                          "32M",
                                          "64M",
                                          "2G",
                                          "250ms",
                                          "1m",
                                          "1500ms"};
    size_t count, sample = 0;
    const struct option_row *rows = config_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char text[256], written[CONFIG_VALUE_SIZE];
        if (!config_row_in_file(&rows[i]))
            continue;
        cr_assert_lt(sample, ARRAY_SIZE(samples), "%s needs a sample here", rows[i].name);
        snprintf(text, sizeof(text), "%s = %s\n", rows[i].name, samples[sample]);
        cr_assert_eq(load_text(text), 0, "%s", problems);
        config_row_text(&rows[i], &config, written);
        cr_assert_str_eq(written, samples[sample++]);
    }
}

Test(config, the_file_we_install_is_right)
{
    cr_assert_eq(LOAD("--config", SOURCE_FOLDER "/packaging/crierd.conf"), 0, "%s", problems);
    cr_assert_str_eq(config.data, "/var/lib/crier");
}
