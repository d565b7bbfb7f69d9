/* test_api.c: what the public functions do with arguments that are none: a code, never a crash, and the bus goes on. And
 * the rule of the options structs, for each of them. On an embed: bus, which is the whole way to the broker's core. */
#include "tests/integration/client_probe.h"

#include "crier/pool.h"
#include "crier/request.h"
#include "crier/schedule.h"
#include "crier/shared.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64], url[80];
static crier *bus;

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/crier-api-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(url, sizeof(url), "embed:%s", folder);
    cr_assert_eq(crier_open(url, NULL, &bus), 0);
}

static void teardown(void)
{
    char command[96];
    int64_t us;
    cr_assert_eq(crier_ping(bus, &us), 0); /* whatever was asked of it: it is there */
    cr_assert_eq(crier_close(bus), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(api, .init = setup, .fini = teardown, .timeout = 120);

static int on_event(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)event, (void)ctx;
    return 0;
}

static void on_topic(void *ctx, const struct crier_topic_info *info)
{
    (void)ctx, (void)info;
}

static void on_group(void *ctx, const struct crier_group_info *info)
{
    (void)ctx, (void)info;
}

static void on_schedule(void *ctx, const struct crier_schedule_info *info)
{
    (void)ctx, (void)info;
}

Test(api, null_is_refused_everywhere)
{
    struct crier_stats stats = {.emitted = 7};
    struct crier_listener_stats listener_stats;
    crier_header header;
    crier_event event = {.topic = "t"};
    crier *other;
    int64_t us;
    cr_expect_eq(crier_open(NULL, NULL, &other), CRIER_EINVAL);
    cr_expect_eq(crier_open(url, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_close(NULL), CRIER_EINVAL);
    cr_expect_eq(crier_on(NULL, "t", on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_on(bus, NULL, on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_on(bus, "t", NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_once(NULL, "t", on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_once(bus, NULL, on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_off(NULL, "t", on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_off(bus, NULL, on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_off(bus, "t", on_event, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_listen(NULL, "t", NULL, on_event, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_unlisten(NULL), CRIER_EINVAL);
    cr_expect_eq(crier_listener_stats(NULL, &listener_stats), CRIER_EINVAL);
    cr_expect_eq(crier_emit(NULL, "t", "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_emit(bus, NULL, "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_emit(bus, "t", NULL, 1), CRIER_EINVAL);
    cr_expect_eq(crier_emit(bus, "t", NULL, 0), 0); /* a null value is one */
    char address[CRIER_REPLY_ADDRESS_SIZE];
    crier_future *future;
    cr_expect_eq(crier_request(NULL, "t", "x", 1, NULL, &future), CRIER_EINVAL);
    cr_expect_eq(crier_request(bus, NULL, "x", 1, NULL, &future), CRIER_EINVAL);
    cr_expect_eq(crier_request(bus, "t", "x", 1, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_reply(NULL, &event, "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_reply(bus, NULL, "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_reply(bus, &event, "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_reply_failed(bus, &event, -1, "x"), CRIER_EINVAL);
    cr_expect_eq(crier_reply_address(&event, address), CRIER_EINVAL);
    cr_expect_eq(crier_reply_address(NULL, address), CRIER_EINVAL);
    cr_expect_eq(crier_reply_to(NULL, "$inbox.0123456789abcde:1", 0, "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_reply_to(bus, NULL, 0, "x", 1), CRIER_EINVAL);
    cr_expect_eq(crier_reply_to(bus, "$inbox.0123456789abcde:1", 1, "x", 1), CRIER_EINVAL);
    crier_schedule schedule = {1, 1};
    cr_expect_eq(crier_emit_later(NULL, "t", "x", 1, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_emit_later(bus, NULL, "x", 1, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_emit_later(bus, "t", NULL, 1, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_cancel(NULL, &schedule), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_cancel(bus, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_cancel_with(NULL, &schedule, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_cancel_with(bus, NULL, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_list(NULL, NULL, on_schedule, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_list(bus, NULL, NULL, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_from_text(NULL, &schedule), CRIER_EINVAL);
    cr_expect_eq(crier_schedule_from_text("1-1", NULL), CRIER_EINVAL);
    cr_expect_eq(crier_flush(NULL, 0), CRIER_EINVAL);
    cr_expect_eq(crier_topic_create(NULL, "t", NULL), CRIER_EINVAL);
    cr_expect_eq(crier_topic_create(bus, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_topic_describe(NULL, "t", on_topic, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_topic_describe(bus, "t", NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_ping(NULL, &us), CRIER_EINVAL);
    cr_expect_eq(crier_ping(bus, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_list(NULL, on_group, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_list(bus, NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_describe(NULL, "g", "t", on_group, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_describe(bus, NULL, "t", on_group, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_describe(bus, "g", "t", NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_seek(NULL, "g", "t", NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_seek(bus, NULL, "t", NULL), CRIER_EINVAL);
    cr_expect_eq(crier_group_seek(bus, "g", NULL, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_redrive(NULL, "t", 0, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_redrive(bus, NULL, 0, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_redrive(bus, "", 0, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_redrive(bus, "nothing", 0, NULL), CRIER_ENOTOPIC);
    cr_expect_eq(crier_group_delete(NULL, "g"), CRIER_EINVAL);
    cr_expect_eq(crier_group_delete(bus, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_event_header(NULL, 0, &header), CRIER_EINVAL);
    cr_expect_eq(crier_event_header(&event, 0, NULL), CRIER_EINVAL);
    cr_expect_eq(crier_event_header(&event, 0, &header), CRIER_EINVAL);
    cr_expect_eq(crier_event_header_find(NULL, "h", &header), CRIER_EINVAL);
    cr_expect_eq(crier_event_header_find(&event, NULL, &header), CRIER_EINVAL);
    cr_expect_eq(crier_event_header_find(&event, "h", NULL), CRIER_EINVAL);
    crier_stats(NULL, &stats);
    cr_expect_eq(stats.emitted, 0);
    crier_stats(bus, NULL);
    cr_expect_not_null(crier_strerror(12345));
}

/* Nobody may ask for it, in no way. */
static void expect_no_topic(const char *name)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = "g";
    cr_expect_eq(crier_emit(bus, name, "x", 1), CRIER_EINVAL, "emit \"%.40s\"", name);
    cr_expect_eq(crier_emit_later(bus, name, "x", 1, NULL), CRIER_EINVAL, "later \"%.40s\"", name);
    cr_expect_eq(crier_on(bus, name, on_event, NULL), CRIER_EINVAL, "on \"%.40s\"", name);
    cr_expect_eq(crier_listen(bus, name, &options, on_event, NULL, NULL), CRIER_EINVAL, "\"%.40s\"", name);
    cr_expect_eq(crier_topic_create(bus, name, NULL), CRIER_EINVAL, "create \"%.40s\"", name);
    cr_expect_lt(crier_topic_describe(bus, name, on_topic, NULL), 0, "describe \"%.40s\"", name);
    cr_expect_lt(crier_group_seek(bus, "g", name, NULL), 0, "seek \"%.40s\"", name);
}

Test(api, names_of_topics_are_checked)
{
    static const char *const names[] = {"",     ".",    "a..b", ".a",        "a.",           "a b",
                                        "$own", "a\nb", "\xff", "a\xc0\x80", "\xed\xa0\x80", "a\xe2\x82",
                                        "\x7f"};
    static char longest[CRIER_TOPIC_NAME_MAX + 2], endless[200001];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        expect_no_topic(names[i]);
    memset(longest, 'n', sizeof(longest) - 1);
    memset(endless, 'n', sizeof(endless) - 1);
    expect_no_topic(longest);
    expect_no_topic(endless);
    longest[CRIER_TOPIC_NAME_MAX] = '\0';
    cr_expect_eq(crier_emit(bus, longest, "x", 1), 0);
    cr_expect_eq(crier_emit(bus,
                            "gr\xc3\xbc\xc3\x9f"
                            "e.\xf0\x9f\x93\xa3",
                            "x", 1),
                 0);
    cr_expect_eq(crier_flush(bus, -1), 0);
}

Test(api, names_of_groups_are_checked)
{
    static char endless[200001];
    struct crier_listen_options options = crier_listen_options_default();
    memset(endless, 'n', sizeof(endless) - 1);
    const char *names[] = {"", "a\nb", "\xff", endless};
    cr_assert_eq(crier_topic_create(bus, "t", NULL), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        options.group = names[i];
        cr_expect_eq(crier_listen(bus, "t", &options, on_event, NULL, NULL), CRIER_EINVAL, "%zu", i);
        cr_expect_eq(crier_group_describe(bus, names[i], "t", on_group, NULL), CRIER_EINVAL, "%zu", i);
        cr_expect_eq(crier_group_seek(bus, names[i], "t", NULL), CRIER_EINVAL, "%zu", i);
        cr_expect_eq(crier_group_delete(bus, names[i]), CRIER_EINVAL, "%zu", i);
    }
}

Test(api, options_out_of_range_are_refused)
{
    struct crier_emit_options emit = crier_emit_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier_header header = {.name = NULL, .name_size = 1};
    emit.key_size = 1; /* of what? */
    cr_expect_eq(crier_emit_with(bus, "t", "x", 1, &emit), CRIER_EINVAL);
    emit = crier_emit_options_default();
    emit.header_count = 1;
    cr_expect_eq(crier_emit_with(bus, "t", "x", 1, &emit), CRIER_EINVAL);
    emit.headers = &header;
    cr_expect_eq(crier_emit_with(bus, "t", "x", 1, &emit), CRIER_EINVAL);
    emit = crier_emit_options_default();
    emit.durability =
        (enum crier_durability)2; /* a newer program's, which must not get less than it asked for */
    cr_expect_eq(crier_emit_with(bus, "t", "x", 1, &emit), CRIER_EINVAL);
    emit.durability = CRIER_DURABLE;
    emit.partition = -2;
    cr_expect_eq(crier_emit_with(bus, "t", "x", 1, &emit), CRIER_EINVAL);
    struct crier_later_options later = crier_later_options_default();
    struct crier_schedule_list_options list = crier_schedule_list_options_default();
    later.emit = &emit; /* wrong in itself */
    cr_expect_eq(crier_emit_later(bus, "t", "x", 1, &later), CRIER_EINVAL);
    later = crier_later_options_default();
    later.at_us = -1;
    cr_expect_eq(crier_emit_later(bus, "t", "x", 1, &later), CRIER_EINVAL);
    list.count_max = 0;
    cr_expect_eq(crier_schedule_list(bus, &list, on_schedule, NULL, NULL), CRIER_EINVAL);
    list = crier_schedule_list_options_default();
    list.after.due_us = -1;
    cr_expect_eq(crier_schedule_list(bus, &list, on_schedule, NULL, NULL), CRIER_EINVAL);
    list = crier_schedule_list_options_default();
    list.topic = "a b";
    cr_expect_eq(crier_schedule_list(bus, &list, on_schedule, NULL, NULL), CRIER_EINVAL);
    listen.from = (enum crier_from)9;
    cr_expect_eq(crier_listen(bus, "t", &listen, on_event, NULL, NULL), CRIER_EINVAL);
    listen = crier_listen_options_default();
    listen.from = CRIER_OFFSET;
    listen.from_value = -1;
    cr_expect_eq(crier_listen(bus, "t", &listen, on_event, NULL, NULL), CRIER_EINVAL);
}

/* ---- struct_size ---- */

/* An options struct as a newer program's: with a field behind that this library does not know. */
#define NEWER(type)                                                                                          \
    struct {                                                                                                 \
        struct type known;                                                                                   \
        uint64_t unknown;                                                                                    \
    }
/* call: an expression with `options`, a pointer to the struct; it returns `fine` when it is taken. */
#define EXPECT_RULE(type, defaults, fine, call)                                                              \
    do {                                                                                                     \
        NEWER(type) newer = {.known = defaults()};                                                           \
        struct type *options = &newer.known;                                                                 \
        options->struct_size = sizeof(newer);                                                                \
        cr_expect_eq((call), fine, #type " of a newer program");                                             \
        newer.unknown = 1;                                                                                   \
        cr_expect_eq((call), CRIER_EINVAL, #type " with an unknown wish");                                   \
        options->struct_size = 0;                                                                            \
        cr_expect_eq((call), CRIER_EINVAL, #type " from no initializer");                                    \
        options->struct_size = sizeof(size_t) - 1;                                                           \
        cr_expect_eq((call), CRIER_EINVAL, #type " that is no struct");                                      \
        memset((char *)options + sizeof(size_t), 0xff, sizeof(newer) - sizeof(size_t));                      \
        options->struct_size = sizeof(size_t); /* the oldest program: knows no field at all */               \
        cr_expect_eq((call), fine, #type " of an older program");                                            \
    } while (0)

static int open_and_close(const struct crier_options *options)
{
    crier *other;
    int rc = crier_open(url, options, &other);
    return rc < 0 ? rc : crier_close(other);
}

static int create_and_destroy(const struct crier_pool_options *options)
{
    crier_pool *pool;
    int rc = crier_pool_create(options, &pool);
    return rc < 0 ? rc : crier_pool_destroy(pool);
}

Test(api, every_options_struct_follows_the_rule_of_struct_size)
{
    cr_assert_eq(crier_topic_create(bus, "t", NULL), 0);
    EXPECT_RULE(crier_options, crier_options_default, 0, open_and_close(options));
    EXPECT_RULE(crier_emit_options, crier_emit_options_default, 0,
                crier_emit_with(bus, "t", "x", 1, options));
    EXPECT_RULE(crier_listen_options, crier_listen_options_default, 0,
                crier_listen(bus, "t", options, on_event, NULL, NULL));
    EXPECT_RULE(crier_topic_options, crier_topic_options_default, CRIER_EEXIST,
                crier_topic_create(bus, "t", options));
    EXPECT_RULE(crier_pool_options, crier_pool_options_default, 0, create_and_destroy(options));
    EXPECT_RULE(crier_group_seek_options, crier_group_seek_options_default, 0,
                crier_group_seek(bus, "g", "t", options));
    EXPECT_RULE(crier_later_options, crier_later_options_default, 0,
                crier_emit_later(bus, "t", "x", 1, options));
    EXPECT_RULE(crier_schedule_list_options, crier_schedule_list_options_default, 0,
                crier_schedule_list(bus, options, on_schedule, NULL, NULL));
}

/* ---- from inside a handler ---- */

struct inside {
    struct probe probe;
    int flush, close, ping, create, cancel, cancel_with;
    size_t done;
};

static int block_in_handler(crier *a_bus, const crier_event *event, void *ctx)
{
    struct inside *inside = ctx;
    int64_t us;
    (void)event;
    inside->flush = crier_flush(a_bus, 1000);
    inside->ping = crier_ping(a_bus, &us);
    inside->create = crier_topic_create(a_bus, "other", NULL);
    inside->cancel = crier_schedule_cancel(a_bus, &(crier_schedule){1, 1});
    inside->cancel_with = crier_schedule_cancel_with(a_bus, &(crier_schedule){1, 1}, NULL, NULL);
    inside->close = crier_close(a_bus);
    crier_off(a_bus, "t", block_in_handler, ctx);
    return probe_handler(a_bus, event, &inside->probe);
}

Test(api, what_would_wait_for_itself_is_refused_in_a_handler)
{
    struct inside inside = {0};
    struct crier_listen_options options = crier_listen_options_default();
    probe_init(&inside.probe);
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(bus, "t", &options, block_in_handler, &inside, NULL), 0);
    cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert(probe_wait(&inside.probe, &inside.probe.event_count, 1));
    cr_expect_eq(inside.flush, CRIER_EDEADLK);
    cr_expect_eq(inside.ping, CRIER_EDEADLK);
    cr_expect_eq(inside.create, CRIER_EDEADLK);
    cr_expect_eq(inside.cancel, CRIER_EDEADLK);
    cr_expect_eq(inside.cancel_with, 0); /* waits for nothing */
    cr_expect_eq(inside.close, CRIER_EDEADLK);
    probe_finish(&inside.probe);
}
