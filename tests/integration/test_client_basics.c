/* test_client_basics.c: the public API against a real crierd: on, once, off, emit, topics, ping. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world {
    struct broker *broker;
    crier *bus;
    struct probe probe;
};

static void world_open(struct world *world)
{
    world->broker = broker_start(NULL);
    cr_assert_not_null(world->broker);
    probe_init(&world->probe);
    cr_assert_eq(crier_open(broker_url(world->broker), NULL, &world->bus), 0);
}

static void world_close(struct world *world)
{
    cr_assert_eq(crier_close(world->bus), 0);
    probe_finish(&world->probe);
    cr_assert_eq(broker_destroy(world->broker), 0);
}

Test(client, on_hears_what_is_emitted_in_order)
{
    struct world world;
    char value[16];
    world_open(&world);
    cr_assert(probe_listen(&world.probe, world.bus, "t", NULL, NULL));
    for (int i = 0; i < 1000; i++) {
        int size = snprintf(value, sizeof(value), "%d", i);
        cr_assert_eq(crier_emit(world.bus, "t", value, (size_t)size), 0);
    }
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 1000));
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(atoi(world.probe.events[i].value), i);
        cr_assert_eq(world.probe.events[i].offset, (uint64_t)i);
    }
    world_close(&world);
}

Test(client, done_tells_the_offset)
{
    struct world world;
    struct crier_emit_options options = crier_emit_options_default();
    world_open(&world);
    options.done = probe_done;
    options.ctx = &world.probe;
    for (uint64_t i = 0; i < 5; i++) {
        cr_assert_eq(crier_emit_with(world.bus, "t", "x", 1, &options), 0);
        cr_assert(probe_wait(&world.probe, &world.probe.done_count, i + 1));
        cr_assert_eq(world.probe.last_code, 0);
        cr_assert_eq(world.probe.last_offset, i);
    }
    options.durability = CRIER_MEMORY;
    cr_assert_eq(crier_emit_with(world.bus, "t", "x", 1, &options), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.done_count, 6));
    cr_assert_eq(world.probe.last_code, 0);
    cr_assert_eq(world.probe.last_offset, UINT64_MAX);
    world_close(&world);
}

Test(client, once_hears_one_event_and_is_released)
{
    struct world world;
    struct crier_listen_options options = crier_listen_options_default();
    world_open(&world);
    options.count = 1;
    cr_assert(probe_listen(&world.probe, world.bus, "t", &options, NULL));
    for (int i = 0; i < 10; i++)
        cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.released, 1));
    cr_assert_eq(world.probe.released_code, 0);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    cr_assert_eq(probe_count(&world.probe, &world.probe.event_count), 1);
    world_close(&world);
}

Test(client, off_removes_the_newest_listener_with_that_handler)
{
    struct world world;
    world_open(&world);
    cr_assert_eq(crier_off(world.bus, "t", probe_handler, &world.probe), CRIER_EINVAL);
    cr_assert(probe_listen(&world.probe, world.bus, "t", NULL, NULL));
    cr_assert(probe_listen(&world.probe, world.bus, "t", NULL, NULL));
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 2)); /* duplicates are called twice */
    cr_assert_eq(crier_off(world.bus, "t", probe_handler, &world.probe), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.released, 1));
    cr_assert_eq(crier_emit(world.bus, "t", "y", 1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 3));
    cr_assert_eq(crier_off(world.bus, "t", probe_handler, &world.probe), 0);
    cr_assert_eq(crier_off(world.bus, "t", probe_handler, &world.probe), CRIER_EINVAL);
    cr_assert(probe_wait(&world.probe, &world.probe.released, 2));
    world_close(&world);
}

struct header_check {
    struct probe *probe;
    bool right;
};

static int on_headers(crier *bus, const crier_event *event, void *ctx)
{
    struct header_check *check = ctx;
    crier_header header;
    check->right =
        event->header_count == 3 && crier_event_header(event, 0, &header) == 0 && header.name_size == 1 &&
        header.name[0] == 'a' && header.value_size == 3 && memcmp(header.value, "one", 3) == 0 &&
        crier_event_header(event, 1, &header) == 0 && header.value == NULL &&
        crier_event_header(event, 3, &header) == CRIER_EINVAL &&
        crier_event_header_find(event, "a", &header) == 0 && memcmp(header.value, "three", 5) == 0 &&
        crier_event_header_find(event, "c", &header) == CRIER_EINVAL && event->key_size == 3 &&
        memcmp(event->key, "k\0y", 3) == 0 && event->value == NULL && event->timestamp_ms == 1234567890123;
    return probe_handler(bus, event, check->probe);
}

Test(client, key_headers_timestamp_and_null_value_travel)
{
    struct world world;
    world_open(&world);
    struct header_check check = {&world.probe, false};
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_emit_options options = crier_emit_options_default();
    crier_header headers[] = {{"a", 1, "one", 3}, {"b", 1, NULL, 0}, {"a", 1, "three", 5}};
    listen.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world.bus, "t", &listen, on_headers, &check, NULL), 0);
    options.key = "k\0y";
    options.key_size = 3;
    options.headers = headers;
    options.header_count = 3;
    options.timestamp_ms = 1234567890123;
    cr_assert_eq(crier_emit_with(world.bus, "t", NULL, 0, &options), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 1));
    cr_assert(check.right);
    world_close(&world);
}

Test(client, events_of_a_key_keep_their_order_and_partition)
{
    struct world world;
    struct crier_topic_options topic = {.struct_size = sizeof(topic), .partitions = 4};
    struct crier_emit_options options = crier_emit_options_default();
    char value[16], key[16];
    int next[8] = {0}, used = 0;
    uint32_t partition[8];
    world_open(&world);
    cr_assert_eq(crier_topic_create(world.bus, "t", &topic), 0);
    cr_assert(probe_listen(&world.probe, world.bus, "t", NULL, NULL));
    for (int i = 0; i < 800; i++) {
        options.key_size = (size_t)snprintf(key, sizeof(key), "key-%d", i % 8);
        options.key = key;
        int size = snprintf(value, sizeof(value), "%d", i / 8);
        cr_assert_eq(crier_emit_with(world.bus, "t", value, (size_t)size, &options), 0);
    }
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 800));
    for (size_t i = 0; i < 800; i++) {
        const struct probe_event *event = &world.probe.events[i];
        int which = atoi(event->key + 4);
        cr_assert_eq(atoi(event->value), next[which]++);
        if (next[which] == 1)
            partition[which] = event->partition;
        cr_assert_eq(event->partition, partition[which]);
        used |= 1 << event->partition;
    }
    cr_assert_gt(__builtin_popcount((unsigned)used), 1);
    world_close(&world);
}

Test(client, replay_starts_where_it_is_told_to)
{
    struct world world;
    struct crier_listen_options options = crier_listen_options_default();
    world_open(&world);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    options.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&world.probe, world.bus, "t", &options, NULL));
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 10));
    options.from = CRIER_OFFSET;
    options.from_value = 7;
    cr_assert(probe_listen(&world.probe, world.bus, "t", &options, NULL));
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 13));
    cr_assert_eq(world.probe.events[10].offset, 7);
    options.from = CRIER_LIVE;
    cr_assert(probe_listen(&world.probe, world.bus, "t", &options, NULL));
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 16));
    for (int i = 13; i < 16; i++)
        cr_assert_eq(world.probe.events[i].offset, 10);
    world_close(&world);
}

Test(client, compressed_events_arrive_as_they_were)
{
    static const enum crier_compression codecs[] = {CRIER_COMPRESSION_LZ4, CRIER_COMPRESSION_ZSTD};
    struct world world;
    struct crier_listen_options listen = crier_listen_options_default();
    char value[500];
    world_open(&world);
    listen.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&world.probe, world.bus, "t", &listen, NULL));
    memset(value, 'c', sizeof(value));
    for (size_t i = 0; i < 2; i++) {
        struct crier_options options = crier_options_default();
        crier *bus;
        options.compression = codecs[i];
        cr_assert_eq(crier_open(broker_url(world.broker), &options, &bus), 0);
        for (int n = 0; n < 100; n++)
            cr_assert_eq(crier_emit(bus, "t", value, sizeof(value)), 0);
        cr_assert_eq(crier_close(bus), 0); /* flushes */
    }
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 200));
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(world.probe.events[i].value_size, sizeof(value));
        cr_assert_eq(memcmp(world.probe.events[i].value, value, sizeof(value)), 0);
    }
    world_close(&world);
}

struct found {
    size_t count;
    uint32_t partitions;
    uint64_t high_watermark;
    char names[256];
};

static void on_topic(void *ctx, const struct crier_topic_info *info)
{
    struct found *found = ctx;
    found->count++;
    found->partitions = info->partition_count;
    found->high_watermark = info->partitions[0].high_watermark;
    strncat(found->names, info->name, sizeof(found->names) - strlen(found->names) - 1);
    strncat(found->names, " ", sizeof(found->names) - strlen(found->names) - 1);
}

Test(client, topics_are_created_described_and_listed)
{
    struct world world;
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = 3};
    struct found found = {0};
    world_open(&world);
    cr_assert_eq(crier_topic_create(world.bus, "a.b", &options), 0);
    cr_assert_eq(crier_topic_create(world.bus, "a.b", &options), CRIER_EEXIST);
    cr_assert_eq(crier_topic_create(world.bus, "a b", NULL), CRIER_EINVAL);
    cr_assert_eq(crier_topic_create(world.bus, "c", NULL), 0);
    cr_assert_eq(crier_emit(world.bus, "c", "x", 1), 0);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    cr_assert_eq(crier_topic_describe(world.bus, "a.b", on_topic, &found), 0);
    cr_assert_eq(found.count, 1);
    cr_assert_eq(found.partitions, 3);
    cr_assert_eq(crier_topic_describe(world.bus, "c", on_topic, &found), 0);
    cr_assert_eq(found.high_watermark, 1);
    cr_assert_eq(crier_topic_describe(world.bus, "none", on_topic, &found), CRIER_ENOTOPIC);
    found = (struct found){0};
    cr_assert_eq(crier_topic_describe(world.bus, NULL, on_topic, &found), 0);
    cr_assert_eq(found.count, 2);
    cr_assert_str_eq(found.names, "a.b c ");
    world_close(&world);
}

Test(client, ping_measures_a_round_trip)
{
    struct world world;
    int64_t us = -1;
    world_open(&world);
    cr_assert_eq(crier_ping(world.bus, &us), 0);
    cr_assert_gt(us, 0);
    cr_assert_lt(us, 10000000);
    world_close(&world);
}

static int on_blocking(crier *bus, const crier_event *event, void *ctx)
{
    int64_t us;
    int *codes = ctx;
    codes[0] = crier_flush(bus, 1000);
    codes[1] = crier_ping(bus, &us);
    codes[2] = crier_topic_create(bus, "x", NULL);
    codes[3] = crier_close(bus);
    codes[4] = crier_emit(bus, "from.handler", event->value, event->value_size);
    return 0;
}

Test(client, blocking_calls_inside_a_handler_say_edeadlk_and_emit_works)
{
    struct world world;
    int codes[5] = {0};
    struct crier_listen_options earliest = crier_listen_options_default();
    world_open(&world);
    earliest.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&world.probe, world.bus, "from.handler", NULL, NULL));
    cr_assert_eq(crier_listen(world.bus, "t", &earliest, on_blocking, codes, NULL), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "hi", 2), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 1));
    cr_assert_str_eq(world.probe.events[0].value, "hi");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(codes[i], CRIER_EDEADLK, "%d", i);
    cr_assert_eq(codes[4], 0);
    world_close(&world);
}

static int on_failing(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    (void)ctx;
    return -5;
}

Test(client, a_failed_handler_becomes_an_error_event)
{
    struct world world;
    struct crier_listen_options earliest = crier_listen_options_default();
    world_open(&world);
    earliest.from = CRIER_EARLIEST;
    cr_assert_eq(crier_on(world.bus, "error", probe_handler, &world.probe), 0);
    cr_assert_eq(crier_listen(world.bus, "t", &earliest, on_failing, NULL, NULL), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 2));
    cr_assert_eq(world.probe.events[1].error, CRIER_EHANDLER);
    world_close(&world);
}

Test(client, an_unheard_error_is_returned_by_close)
{
    struct world world;
    struct crier_listen_options options = crier_listen_options_default();
    world_open(&world);
    options.from = CRIER_EARLIEST;
    options.released = probe_released;
    cr_assert_eq(crier_listen(world.bus, "t", &options, on_failing, &world.probe, NULL), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.released, 1));
    cr_assert_eq(world.probe.released_code, CRIER_EHANDLER);
    cr_assert_eq(crier_close(world.bus), CRIER_EHANDLER);
    probe_finish(&world.probe);
    cr_assert_eq(broker_destroy(world.broker), 0);
}

Test(client, options_of_an_older_program_are_understood)
{
    struct world world;
    struct crier_emit_options options = crier_emit_options_default();
    world_open(&world);
    cr_assert(probe_listen(&world.probe, world.bus, "t", NULL, NULL));
    options.struct_size =
        offsetof(struct crier_emit_options, durability); /* it ends there for that program */
    options.durability = (enum crier_durability)77;
    options.key = "old";
    options.key_size = 3;
    cr_assert_eq(crier_emit_with(world.bus, "t", "x", 1, &options), 0);
    cr_assert(probe_wait(&world.probe, &world.probe.event_count, 1));
    cr_assert_str_eq(world.probe.events[0].key, "old");
    options.struct_size = 0;
    cr_assert_eq(crier_emit_with(world.bus, "t", "x", 1, &options), CRIER_EINVAL);
    world_close(&world);
}

Test(client, opening_fails_clearly)
{
    crier *bus = NULL;
    struct crier_options options = crier_options_default();
    cr_assert_eq(crier_open("http://x", NULL, &bus), CRIER_EINVAL);
    cr_assert_eq(crier_open("local:x?y", NULL, &bus), CRIER_EINVAL);
    options.batch_size_max = 1;
    cr_assert_eq(crier_open("crier://127.0.0.1", &options, &bus), CRIER_EINVAL);
    options = (struct crier_options){0}; /* not from crier_options_default() */
    cr_assert_eq(crier_open("crier://127.0.0.1", &options, &bus), CRIER_EINVAL);
    options = crier_options_default();
    options.connect_timeout_ms = 200;
    cr_assert_eq(crier_open("crier://127.0.0.1:1", &options, &bus), CRIER_ECONNECT);
    cr_assert_eq(crier_open("crier://no.such.host.invalid", &options, &bus), CRIER_ECONNECT);
    cr_assert_eq(crier_open("unix:/no/such/socket", &options, &bus), CRIER_ECONNECT);
    cr_assert_null(bus);
}

static bool failure_says(const char *url, int code, const char *text)
{
    struct crier_options options = crier_options_default();
    char said[200] = "?";
    crier *bus;
    options.connect_timeout_ms = 200;
    options.error_text = said;
    options.error_text_size = sizeof(said);
    int rc = crier_open(url, &options, &bus);
    return rc == code && strstr(said, text) != NULL;
}

Test(client, opening_says_in_words_why_it_failed)
{
    cr_assert(failure_says("http://x", CRIER_EINVAL, "http://x"));
    cr_assert(failure_says("crier://:", CRIER_EINVAL, "HOST:PORT"));
    cr_assert(failure_says("embed:./x", CRIER_ENOTSUP, "crier-embed"));
    cr_assert(failure_says("crier://127.0.0.1:1", CRIER_ECONNECT, "refused"));
    cr_assert(failure_says("unix:/no/such/socket", CRIER_ECONNECT, "No such file"));
}

Test(client, a_host_name_is_looked_up_and_other_endpoints_are_tried)
{
    struct broker *broker = broker_start(NULL);
    crier *bus;
    char url[128];
    int64_t us;
    cr_assert_not_null(broker);
    snprintf(url, sizeof(url), "crier://127.0.0.1:1,localhost:%u", broker_port(broker));
    cr_assert_eq(crier_open(url, NULL, &bus), 0);
    cr_assert_eq(crier_ping(bus, &us), 0);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client, a_unix_socket_does_as_well)
{
    char folder[] = "/tmp/crier-unix-XXXXXX", listen[128], path[64];
    struct probe probe;
    crier *bus;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(listen, sizeof(listen), "unix:%s", path);
    const char *const arguments[] = {"--listen", listen, NULL};
    struct broker *broker = broker_start(&(struct broker_options){.arguments = arguments});
    cr_assert_not_null(broker);
    probe_init(&probe);
    cr_assert_eq(crier_open(listen, NULL, &bus), 0);
    cr_assert(probe_listen(&probe, bus, "t", NULL, NULL));
    cr_assert_eq(crier_emit(bus, "t", "local", 5), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
    unlink(path);
    cr_assert_eq(rmdir(folder), 0);
}
