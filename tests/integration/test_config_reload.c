/* test_config_reload.c: a real crierd, its file and SIGHUP. Its log is a FIFO, so that lines can be waited for. */
#include "base/clock.h"
#include "tests/support/broker_fixture.h"

#include <arpa/inet.h>
#include <crier/crier.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 30000

static char folder[64], file[96], fifo[96];
static int lines_fd = -1;
static struct broker *broker;
static char line[4096];

__attribute__((format(printf, 1, 2))) static void write_file(const char *format, ...)
{
    FILE *out = fopen(file, "w");
    cr_assert_not_null(out);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
    fclose(out);
}

static void setup(void)
{
    strcpy(folder, "/tmp/crier-test-reload-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/crierd.conf", folder);
    snprintf(fifo, sizeof(fifo), "%s/log", folder);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    lines_fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* a writer, too: the FIFO never ends */
    cr_assert_geq(lines_fd, 0);
    write_file("log-file = %s\n", fifo);
    static const char *arguments[] = {"--config", file, NULL};
    broker = broker_start(&(struct broker_options){.arguments = arguments});
    cr_assert_not_null(broker);
}

static void teardown(void)
{
    cr_assert_eq(broker_destroy(broker), 0);
    close(lines_fd);
    unlink(fifo);
    unlink(file);
    rmdir(folder);
}

TestSuite(reload, .init = setup, .fini = teardown, .timeout = 120);

/* The next line of the log whose id begins with `id`, from its id on; the others are passed over. */
static const char *line_with(const char *id)
{
    int64_t deadline_us = clock_monotonic_us() + DEADLINE_MS * INT64_C(1000);
    size_t used = 0;
    while (used + 1 < sizeof(line)) {
        struct pollfd wait = {.fd = lines_fd, .events = POLLIN};
        int left_ms = (int)((deadline_us - clock_monotonic_us()) / 1000);
        cr_assert(left_ms > 0 && poll(&wait, 1, left_ms) >= 0, "no line with %s", id);
        if (read(lines_fd, line + used, 1) != 1 || line[used++] != '\n')
            continue;
        line[used - 1] = '\0';
        const char *found = strstr(line, id);
        if (found)
            return found;
        used = 0;
    }
    cr_assert_fail("a line beyond %zu bytes", sizeof(line));
    return NULL;
}

#define EXPECT(id, text) cr_assert_str_eq(line_with(id), text)

static void hang_up(void)
{
    cr_assert_eq(kill(broker_pid(broker), SIGHUP), 0);
}

static void keep_code(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)offset;
    *(int *)ctx = code;
}

static int emit_code(crier *bus, const char *topic, size_t size)
{
    static const char value[8192];
    int code = 1;
    struct crier_emit_options options = crier_emit_options_default();
    options.done = keep_code;
    options.ctx = &code;
    int rc = crier_emit_with(bus, topic, value, size, &options);
    cr_assert_eq(rc, 0, "%s", crier_strerror(rc));
    crier_flush(bus, DEADLINE_MS);
    return code;
}

Test(reload, each_difference_is_a_line_and_holds_from_then_on)
{
    crier *bus, *second;
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    cr_assert_eq(emit_code(bus, "old", 3000), 0);

    write_file("log-file = %s\nevent-size-max = 2K\nno-auto-create = yes\nconnections-max = 1\n"
               "drain = 1s\nsegment-size = 1G\ningest-memory = 1M\n",
               fifo);
    hang_up();
    EXPECT("LOG-REOPEN", "LOG-REOPEN log file reopened");
    EXPECT("CONFIG-", "CONFIG-CHANGED no-auto-create: no -> yes");
    EXPECT("CONFIG-", "CONFIG-CHANGED connections-max: 20000 -> 1");
    EXPECT("CONFIG-", "CONFIG-CHANGED event-size-max: 1M -> 2K");
    EXPECT("CONFIG-", "CONFIG-REFUSED ingest-memory: needs a restart");
    EXPECT("CONFIG-", "CONFIG-REFUSED segment-size: needs a restart");
    EXPECT("CONFIG-", "CONFIG-CHANGED drain: 10s -> 1s");
    cr_assert_not_null(strstr(line_with("CONFIG-"), "crierd.conf: 4 changed, 2 refused"));

    cr_assert_eq(emit_code(bus, "old", 3000), CRIER_ETOOBIG);
    cr_assert_eq(emit_code(bus, "old", 1000), 0);
    cr_assert_eq(emit_code(bus, "new", 1000), CRIER_ENOTOPIC);
    struct crier_options options = crier_options_default();
    options.connect_timeout_ms = 300;
    cr_assert_eq(crier_open(broker_url(broker), &options, &second), CRIER_ECONNECT);

    hang_up(); /* what was refused is refused again, what was changed is in place */
    EXPECT("CONFIG-", "CONFIG-REFUSED ingest-memory: needs a restart");
    EXPECT("CONFIG-", "CONFIG-REFUSED segment-size: needs a restart");
    cr_assert_not_null(strstr(line_with("CONFIG-"), "crierd.conf: 0 changed, 2 refused"));
    cr_assert_eq(crier_close(bus), 0);

    write_file("log-file = %s\n", fifo); /* and all the way back */
    hang_up();
    cr_assert_not_null(strstr(line_with("CONFIG-READ"), "crierd.conf: 4 changed, 0 refused"));
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    cr_assert_eq(emit_code(bus, "new", 3000), 0);
    cr_assert_eq(crier_close(bus), 0);
}

/* In small batches, for one large one would be taken whole. Each event is stored. */
static void emit_many(crier *const buses[], int bus_count, int events)
{
    int codes[20];
    struct crier_emit_options options = crier_emit_options_default();
    options.done = keep_code;
    for (int i = 0; i < events; i++) {
        crier *bus = buses[i / 20 % bus_count];
        options.ctx = &codes[i % 20];
        codes[i % 20] = 1;
        cr_assert_eq(crier_emit_with(bus, "busy", "x", 1, &options), 0);
        if (i % 20 == 19)
            cr_assert_eq(crier_flush(bus, DEADLINE_MS), 0);
        for (int k = 0; k < 20 && i % 20 == 19; k++)
            cr_assert_eq(codes[k], 0, "event %d: %s", i - 19 + k, crier_strerror(codes[k]));
    }
}

Test(reload, a_quota_slows_who_emits_too_much_and_loses_nothing)
{
    crier *bus;
    write_file("log-file = %s\nclient-events-max = 500\n", fifo);
    hang_up();
    EXPECT("CONFIG-", "CONFIG-CHANGED client-events-max: 0 -> 500");
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    emit_many(&bus, 1, 1500);
    cr_assert_not_null(strstr(line_with("QUOTA-SLOWED"), "is slowed"));
    cr_assert_eq(crier_close(bus), 0);
}

/* Two buses with one name are one client; a third goes on as before. */
Test(reload, a_quota_of_a_name_slows_all_who_say_it)
{
    struct crier_options named = crier_options_default();
    crier *buses[2], *other;
    named.name = "importer";
    cr_assert_eq(crier_open(broker_url(broker), &named, &buses[0]), 0);
    cr_assert_eq(crier_open(broker_url(broker), &named, &buses[1]), 0);
    named.name = "other";
    cr_assert_eq(crier_open(broker_url(broker), &named, &other), 0);
    write_file("log-file = %s\nclient-quota = importer=500\n", fifo);
    hang_up();
    EXPECT("CONFIG-", "CONFIG-CHANGED client-quota:  -> importer=500");
    emit_many(&other, 1, 2000);
    emit_many(buses, 2, 1500);
    cr_assert_not_null(strstr(line_with("QUOTA-SLOWED"), "importer"));
    write_file("log-file = %s\nclient-quota = importer=none, other=:1M\n", fifo);
    hang_up();
    EXPECT("CONFIG-", "CONFIG-CHANGED client-quota: importer=500 -> importer=none, other=:1M");
    cr_assert_eq(crier_close(buses[0]), 0);
    cr_assert_eq(crier_close(buses[1]), 0);
    cr_assert_eq(crier_close(other), 0);
}

/* All that the broker says to somebody who connects and is silent, as text. */
static void overhear(char *to, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(strrchr(broker_url(broker), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    size_t used = 0;
    ssize_t received;
    while (used + 1 < size && (received = read(fd, to + used, size - 1 - used)) > 0)
        used += (size_t)received;
    close(fd);
    for (size_t i = 0; i < used; i++)
        if (to[i] < ' ' || to[i] > '~')
            to[i] = '.';
    to[used] = '\0';
}

Test(reload, a_connection_too_many_is_told_why)
{
    crier *bus;
    char heard[1024];
    write_file("log-file = %s\nconnections-max = 1\n", fifo);
    hang_up();
    EXPECT("CONFIG-", "CONFIG-CHANGED connections-max: 20000 -> 1");
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    overhear(heard, sizeof(heard));
    cr_assert_not_null(strstr(heard, "as many connections as it may (connections-max)"), "%s", heard);
    line_with("ACCEPT-LIMIT");
    cr_assert_eq(crier_close(bus), 0);
}

Test(reload, a_file_that_is_wrong_changes_nothing)
{
    crier *bus;
    write_file("log-file = %s\nno-auto-create = yes\ndrain = soon\nbogus = 1\n", fifo);
    hang_up();
    cr_assert_not_null(strstr(line_with("CONFIG-"), "crierd.conf:3: drain: 'soon' is not a duration"));
    cr_assert_not_null(strstr(line_with("CONFIG-"), "crierd.conf:4: bogus: there is no such key"));
    EXPECT("CONFIG-", "CONFIG-KEPT nothing was changed; mend the file and send SIGHUP again");
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    cr_assert_eq(emit_code(bus, "still.made.by.its.first.event", 10), 0);
    cr_assert_eq(crier_close(bus), 0);
    unlink(file);
    hang_up();
    cr_assert_not_null(strstr(line_with("CONFIG-"), "cannot be read: No such file"));
}

Test(reload, the_log_changes_its_level_and_its_format)
{
    write_file("log-file = %s\nlog-level = error\n", fifo);
    hang_up();
    EXPECT("CONFIG-", "CONFIG-CHANGED log-level: info -> error");
    cr_assert_not_null(strstr(line_with("CONFIG-"), "1 changed, 0 refused"));
    write_file("log-file = %s\nlog-level = info\nlog-format = json\n", fifo);
    hang_up(); /* the first line since then that may be seen: LOG-REOPEN came at level error */
    cr_assert_not_null(strstr(line_with(""), "CONFIG-CHANGED log-format: text -> json"), "%s", line);
    EXPECT("CONFIG-", "CONFIG-CHANGED log-level: error -> info");
    line_with("CONFIG-READ");
    hang_up();
    cr_assert_not_null(strstr(line_with("LOG-REOPEN"), "LOG-REOPEN\",\"message\":\"log file reopened\"}"));
}

/* ---- --check-config ---- */

static int check(const char *text, char *output, size_t size)
{
    char command[512];
    write_file("%s", text);
    snprintf(command, sizeof(command), "%s --config %s --check-config 2>&1", CRIERD_PATH, file);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    output[fread(output, 1, size - 1, pipe)] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

Test(reload, check_config_says_ok_or_what_is_wrong_and_serves_nothing)
{
    char output[1024];
    cr_assert_eq(check("data = /nonexistent/x\n", output, sizeof(output)), 0);
    cr_assert_str_eq(output, "ok\n");
    cr_assert_eq(check("drain = soon\nbogus = 1\n", output, sizeof(output)), 2);
    cr_assert_not_null(strstr(output, "crierd.conf:1: drain:"));
    cr_assert_not_null(strstr(output, "crierd.conf:2: bogus:"));
}
