/* test_embed.c: a broker inside the process: the same promises with no server, on the same files. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    char parent[64], url[128];
    struct probe probe;
    crier *bus;
};

static void world_prepare(struct world *world)
{
    snprintf(world->parent, sizeof(world->parent), "/tmp/crier-embed-XXXXXX");
    cr_assert_not_null(mkdtemp(world->parent));
    snprintf(world->url, sizeof(world->url), "embed:%s/data", world->parent);
    probe_init(&world->probe);
}

static void world_open(struct world *world)
{
    world_prepare(world);
    cr_assert_eq(crier_open(world->url, NULL, &world->bus), 0);
}

static void world_finish(struct world *world)
{
    char command[128];
    probe_finish(&world->probe);
    snprintf(command, sizeof(command), "rm -rf '%s'", world->parent);
    cr_assert_eq(system(command), 0);
}

/* The text goes where crier_open() would put it. */
static int open_saying(const char *url, char text[256], crier **ret_bus)
{
    struct crier_options options = crier_options_default();
    options.error_text = text;
    options.error_text_size = 256;
    return crier_open(url, &options, ret_bus);
}

static void hear_all(struct world *world, size_t wanted)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world->bus, "t", &options, probe_handler, &world->probe, NULL), 0);
    cr_assert(probe_wait(&world->probe, &world->probe.event_count, wanted));
}

Test(embed, what_was_emitted_is_heard_and_is_there_after_opening_again)
{
    struct world world;
    world_open(&world);
    cr_assert_eq(crier_emit(world.bus, "t", "first", 5), 0);
    hear_all(&world, 1);
    cr_assert_eq(crier_close(world.bus), 0);
    cr_assert_eq(crier_open(world.url, NULL, &world.bus), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "second", 6), 0);
    hear_all(&world, 3); /* the probe has heard the first one before */
    cr_assert_str_eq(world.probe.events[1].value, "first");
    cr_assert_str_eq(world.probe.events[2].value, "second");
    cr_assert_eq(world.probe.events[2].offset, 1);
    cr_assert_eq(crier_close(world.bus), 0);
    world_finish(&world);
}

Test(embed, buses_on_one_folder_share_its_broker_by_whatever_path)
{
    struct world world;
    char link_path[128], url[160];
    crier *second;
    world_open(&world);
    snprintf(link_path, sizeof(link_path), "%s/link", world.parent);
    cr_assert_eq(symlink("data", link_path), 0);
    snprintf(url, sizeof(url), "embed:%s/../%s/link", world.parent, strrchr(world.parent, '/') + 1);
    cr_assert_eq(crier_open(url, NULL, &second), 0);
    cr_assert_eq(crier_emit(second, "t", "x", 1), 0);
    cr_assert_eq(crier_close(second), 0);
    hear_all(&world, 1); /* the first bus still has its broker */
    cr_assert_eq(crier_close(world.bus), 0);
    world_finish(&world);
}

Test(embed, a_folder_that_a_crierd_has_is_busy_and_free_again_after_it)
{
    struct world world;
    char text[256], pid[32], url[512];
    struct broker *broker = broker_start(NULL);
    crier *bus;
    cr_assert_not_null(broker);
    probe_init(&world.probe);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    cr_assert_eq(crier_emit(bus, "t", "from crierd", 11), 0);
    cr_assert_eq(crier_close(bus), 0);
    snprintf(url, sizeof(url), "embed:%s", broker_data(broker));
    snprintf(pid, sizeof(pid), "process %d", (int)broker_pid(broker));
    cr_assert_eq(open_saying(url, text, &bus), CRIER_EBUSY);
    cr_assert_not_null(strstr(text, pid), "%s", text);

    cr_assert_eq(broker_stop(broker), 0);
    cr_assert_eq(crier_open(url, NULL, &world.bus), 0);
    hear_all(&world, 1);
    cr_assert_str_eq(world.probe.events[0].value, "from crierd");
    cr_assert_eq(crier_emit(world.bus, "t", "from embed", 10), 0);
    cr_assert_eq(crier_close(world.bus), 0);

    cr_assert(broker_restart(broker)); /* the formats are one */
    cr_assert_eq(crier_open(broker_url(broker), NULL, &world.bus), 0);
    hear_all(&world, 3);
    cr_assert_str_eq(world.probe.events[2].value, "from embed");
    cr_assert_eq(crier_close(world.bus), 0);
    probe_finish(&world.probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(embed, what_is_wrong_with_a_url_is_said_in_words)
{
    static const struct {
        const char *url, *text;
        int code;
    } rows[] = {
        {"embed:", "embed:FOLDER", CRIER_EINVAL},
        {"embed:/tmp/x?nonsense=1", "nonsense", CRIER_EINVAL},
        {"embed:/tmp/x?data=/etc", "data", CRIER_EINVAL},
        {"embed:/tmp/x?durability=perhaps", "durability", CRIER_EINVAL},
        {"embed:/tmp/x?segment-size=1", "64M to 16G", CRIER_EINVAL},
        {"embed:/tmp/x?create=maybe", "create", CRIER_EINVAL},
        {"embed:/tmp/%zz", "embed:FOLDER", CRIER_EINVAL},
        {"embed:/tmp/x%00y", "embed:FOLDER", CRIER_EINVAL},
        {"embed:/tmp/x%4", "embed:FOLDER", CRIER_EINVAL},
        {"embed:/no/such/parent/x", "/no/such/parent/x", CRIER_EIO},
        {"embed:/tmp/crier-is-not-there?create=no", "No such file", CRIER_ECONNECT},
        {"embed:/dev/null", "Not a directory", CRIER_EIO},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256] = "";
        crier *bus = NULL;
        cr_expect_eq(open_saying(rows[i].url, text, &bus), rows[i].code, "%s", rows[i].url);
        cr_expect_not_null(strstr(text, rows[i].text), "%s: %s", rows[i].url, text);
        cr_expect_null(bus);
    }
    char text[256], url[5000] = "embed:";
    crier *bus;
    memset(url + strlen(url), 'x', 4500);
    cr_assert_eq(open_saying(url, text, &bus), CRIER_EINVAL);
}

Test(embed, options_in_the_url_count_and_are_not_changed_behind_another_bus)
{
    struct world world;
    char url[256], text[256];
    crier *second;
    world_prepare(&world);
    snprintf(url, sizeof(url), "%s?no-auto-create=yes&segment-size=64M", world.url);
    cr_assert_eq(crier_open(url, NULL, &world.bus), 0);
    cr_assert_eq(crier_emit(world.bus, "never.made", "x", 1), 0);
    cr_assert_eq(crier_flush(world.bus, -1), CRIER_ENOTOPIC);
    cr_assert_eq(crier_open(url, NULL, &second), 0);
    cr_assert_eq(crier_close(second), 0);
    cr_assert_eq(crier_open(world.url, NULL, &second), 0); /* names nothing, takes it as it is */
    cr_assert_eq(crier_close(second), 0);
    snprintf(url, sizeof(url), "%s?no-auto-create=no", world.url);
    cr_assert_eq(open_saying(url, text, &second), CRIER_EBUSY);
    cr_assert_not_null(strstr(text, "no-auto-create=yes"), "%s", text);
    cr_assert_eq(crier_close(world.bus), 0);
    cr_assert_eq(crier_open(url, NULL, &second), 0); /* the last one has closed: it starts anew */
    cr_assert_eq(crier_close(second), 0);
    world_finish(&world);
}

Test(embed, a_name_with_a_question_mark_is_written_with_percent)
{
    struct world world;
    char path[128];
    struct stat status;
    world_prepare(&world);
    snprintf(world.url, sizeof(world.url), "embed:%s/a%%3fb%%25", world.parent);
    cr_assert_eq(crier_open(world.url, NULL, &world.bus), 0);
    cr_assert_eq(crier_close(world.bus), 0);
    snprintf(path, sizeof(path), "%s/a?b%%/meta.mdb", world.parent);
    cr_assert_eq(stat(path, &status), 0);
    world_finish(&world);
}

Test(embed, with_listen_others_connect_to_it)
{
    struct world world;
    char url[300], socket_url[128];
    crier *other;
    world_prepare(&world);
    snprintf(socket_url, sizeof(socket_url), "unix:%s/socket", world.parent);
    snprintf(url, sizeof(url), "%s?listen=%s", world.url, socket_url);
    cr_assert_eq(crier_open(url, NULL, &world.bus), 0);
    cr_assert_eq(crier_open(socket_url, NULL, &other), 0);
    cr_assert_eq(crier_emit(other, "t", "x", 1), 0);
    hear_all(&world, 1);
    cr_assert_eq(crier_close(other), 0);
    cr_assert_eq(crier_close(world.bus), 0);
    world_finish(&world);
}

/* ---- manners of a guest in somebody else's process ---- */

struct lines {
    pthread_mutex_t lock;
    char text[8192];
};

static void keep_line(const char *line, void *ctx)
{
    struct lines *lines = ctx;
    pthread_mutex_lock(&lines->lock);
    size_t used = strlen(lines->text);
    snprintf(lines->text + used, sizeof(lines->text) - used, "%s\n", line);
    pthread_mutex_unlock(&lines->lock);
}

Test(embed, log_lines_go_to_the_callers_function_and_tell_of_a_clean_stop)
{
    struct world world;
    struct lines lines = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct crier_options options = crier_options_default();
    options.log = keep_line;
    options.ctx = &lines;
    world_prepare(&world);
    cr_assert_eq(crier_open(world.url, &options, &world.bus), 0);
    cr_assert_not_null(strstr(lines.text, "last stop none"), "%s", lines.text);
    cr_assert_eq(crier_close(world.bus), 0);
    cr_assert_not_null(strstr(lines.text, "STOPPED"), "%s", lines.text);
    lines.text[0] = '\0';
    cr_assert_eq(crier_open(world.url, &options, &world.bus), 0);
    cr_assert_not_null(strstr(lines.text, "last stop clean"), "%s", lines.text);
    cr_assert_eq(crier_close(world.bus), 0);
    world_finish(&world);
}

/* The number after `name` in a /proc status file, read as hexadecimal. */
static unsigned long long status_bits(const char *path, const char *name)
{
    char line[256];
    unsigned long long bits = 0;
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            bits = strtoull(line + strlen(name), NULL, 16);
    fclose(file);
    return bits;
}

static int count_entries(const char *path)
{
    DIR *folder = opendir(path);
    int count = 0;
    cr_assert_not_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

Test(embed, its_threads_block_every_signal_and_no_handler_is_installed)
{
    static const unsigned long long never_blocked =
        1ull << 8 | 1ull << 18 | 3ull << 31; /* KILL, STOP, libc's two */
    struct world world;
    unsigned long long caught = status_bits("/proc/self/status", "SigCgt:");
    int others = 0;
    world_open(&world);
    cr_assert_eq(status_bits("/proc/self/status", "SigCgt:"), caught);
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[300];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        cr_expect_eq(status_bits(path, "SigBlk:") | never_blocked, ~0ull, "%s", path);
        others++;
    }
    closedir(folder);
    cr_assert_geq(others, 5); /* the bus's, the reactor, writer, reader, background */
    cr_assert_eq(crier_close(world.bus), 0);
    world_finish(&world);
}

Test(embed, nothing_is_printed_and_nothing_is_left_open)
{
    struct world world;
    char path[128], text[256];
    struct stat status;
    crier *bus;
    world_prepare(&world);
    int descriptors = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");
    snprintf(path, sizeof(path), "%s/printed", world.parent);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    for (int i = 0; i < 3; i++) {
        if (crier_open(world.url, NULL, &bus) == 0 && crier_emit(bus, "t", "x", 1) == 0)
            crier_close(bus);
        open_saying("embed:/dev/null", text, &bus);
    }
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    cr_assert_eq(fstat(file, &status), 0);
    close(file);
    cr_assert_eq(status.st_size, 0);
    cr_assert_eq(count_entries("/proc/self/fd"), descriptors);
    cr_assert_eq(count_entries("/proc/self/task"), threads);
    world_finish(&world);
}
