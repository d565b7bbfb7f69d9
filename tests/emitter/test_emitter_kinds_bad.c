/* Bad input, and handlers that do to the bus whatever they like, on every kind of bus. Listed in docs/emitter-conformance.md. */
#include "kinds_rig.h"

#include "crier/atomic.h"
#include "crier/iterator.h"
#include "crier/request.h"
#include "crier/schedule.h"
#include "crier/shared.h"
#include "crier/stream_ends.h"

#define MANY 3000

static int nothing(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

static void each_topic(void *ctx, const struct crier_topic_info *info)
{
    (void)ctx, (void)info;
}

static void each_group(void *ctx, const struct crier_group_info *info)
{
    (void)ctx, (void)info;
}

static void each_schedule(void *ctx, const struct crier_schedule_info *info)
{
    (void)ctx, (void)info;
}

/* ---- names ---- */

static int released_future(int rc, crier_future *future)
{
    if (rc == 0)
        crier_future_release(future);
    return rc;
}

static int call_on(const char *name)
{
    return crier_on(world.bus, name, nothing, NULL);
}
static int call_once(const char *name)
{
    return crier_once(world.bus, name, nothing, NULL);
}
static int call_prepend(const char *name)
{
    return crier_prepend(world.bus, name, nothing, NULL);
}
static int call_prepend_once(const char *name)
{
    return crier_prepend_once(world.bus, name, nothing, NULL);
}
static int call_listen(const char *name)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = "g";
    return crier_listen(world.bus, name, &options, nothing, NULL, NULL);
}
static int call_off(const char *name)
{
    return crier_off(world.bus, name, nothing, NULL);
}
static int call_emit(const char *name)
{
    return crier_emit(world.bus, name, "x", 1);
}
static int call_emit_with(const char *name)
{
    struct crier_emit_options options = crier_emit_options_default();
    return crier_emit_with(world.bus, name, "x", 1, &options);
}
static int call_emit_future(const char *name)
{
    crier_future *future;
    return released_future(crier_emit_future(world.bus, name, "x", 1, NULL, &future), future);
}
static int call_emit_atomic(const char *name)
{
    struct crier_atomic_event event = {.topic = name, .value = "x", .value_size = 1};
    return crier_emit_atomic(world.bus, &event, 1, NULL);
}
static int call_intern(const char *name)
{
    crier_topic *topic;
    return crier_intern(world.bus, name, &topic);
}
static int call_once_future(const char *name)
{
    crier_future *future;
    return released_future(crier_once_future(world.bus, name, NULL, &future), future);
}
static int call_iterate(const char *name)
{
    crier_iterator *iterator;
    return crier_iterate(world.bus, name, NULL, &iterator);
}
static int call_topic_readable(const char *name)
{
    crier_stream *stream;
    return crier_topic_readable(world.bus, name, NULL, &stream);
}
static int call_topic_writable(const char *name)
{
    crier_stream *stream;
    return crier_topic_writable(world.bus, name, NULL, &stream);
}
static int call_later(const char *name)
{
    return crier_emit_later(world.bus, name, "x", 1, NULL);
}
static int call_request(const char *name)
{
    crier_future *future;
    return released_future(crier_request(world.bus, name, "x", 1, NULL, &future), future);
}
static int call_create(const char *name)
{
    return crier_topic_create(world.bus, name, NULL);
}
static int call_delete(const char *name)
{
    return crier_topic_delete(world.bus, name);
}
static int call_trim(const char *name)
{
    return crier_topic_trim(world.bus, name, NULL);
}
static int call_seek(const char *name)
{
    return crier_group_seek(world.bus, "g", name, NULL);
}
static int call_redrive(const char *name)
{
    uint64_t moved;
    return crier_redrive(world.bus, name, 0, &moved);
}

static const struct {
    const char *name;
    int (*call)(const char *name);
    bool broker; /* local: has no such thing: CRIER_ENOTSUP will do, too */
} named_calls[] = {{"on", call_on, false},
                   {"once", call_once, false},
                   {"prepend", call_prepend, false},
                   {"prepend_once", call_prepend_once, false},
                   {"listen", call_listen, false},
                   {"off", call_off, false},
                   {"emit", call_emit, false},
                   {"emit_with", call_emit_with, false},
                   {"emit_future", call_emit_future, false},
                   {"emit_atomic", call_emit_atomic, false},
                   {"intern", call_intern, false},
                   {"once_future", call_once_future, false},
                   {"iterate", call_iterate, false},
                   {"topic_readable", call_topic_readable, false},
                   {"topic_writable", call_topic_writable, false},
                   {"emit_later", call_later, true},
                   {"request", call_request, true},
                   {"topic_create", call_create, true},
                   {"topic_delete", call_delete, true},
                   {"topic_trim", call_trim, true},
                   {"group_seek", call_seek, true},
                   {"redrive", call_redrive, true}};

static const char *const bad_names[] = {
    NULL,      "",     " ",    ".",         ".x",       "x.",           "x..y",      "x y",
    "x\n",     "\x7f", "\xff", "x\xc0\x80", "\xc1\xbf", "\xed\xa0\x80", "x\xe2\x82", "\xf4\x90\x80\x80",
    "$nobody", "a*b"};

static bool is_refused(size_t call, const char *name)
{
    int rc = named_calls[call].call(name);
    return rc == CRIER_EINVAL || (rc == CRIER_ENOTSUP && world.kind == LOCAL && named_calls[call].broker);
}

static void names_that_are_none(void)
{
    static char longest[CRIER_TOPIC_NAME_MAX + 2], endless[200001];
    memset(longest, 'n', sizeof(longest) - 1);
    memset(endless, 'n', sizeof(endless) - 1);
    for (size_t call = 0; call < sizeof(named_calls) / sizeof(*named_calls); call++) {
        for (size_t i = 0; i < sizeof(bad_names) / sizeof(*bad_names); i++)
            cr_expect(is_refused(call, bad_names[i]), "%s: %s(\"%s\")", kind_names[world.kind],
                      named_calls[call].name, bad_names[i] ? bad_names[i] : "NULL");
        cr_expect(is_refused(call, longest), "%s: %s(256 bytes)", kind_names[world.kind],
                  named_calls[call].name);
        cr_expect(is_refused(call, endless), "%s: %s(200,000 bytes)", kind_names[world.kind],
                  named_calls[call].name);
    }
    longest[CRIER_TOPIC_NAME_MAX] = '\0'; /* as long as it may be */
    hear(longest, heard, named("a"), NULL, NULL);
    emit(longest, "1");
    expect("a:1");
}
Test(kinds_bad, names_that_are_none_are_refused_by_every_call)
{
    on_every_kind(names_that_are_none);
}

/* ---- waiting inside a handler ---- */

static int wait_flush(crier *bus)
{
    return crier_flush(bus, 1000);
}
static int wait_future(crier *bus)
{
    crier_future *future;
    int rc = crier_future_create(bus, &future);
    if (rc == 0)
        rc = crier_future_wait(future, 1000, NULL);
    crier_future_cancel(future);
    crier_future_release(future);
    return rc;
}
static int wait_ping(crier *bus)
{
    int64_t us;
    return crier_ping(bus, &us);
}
static int wait_create(crier *bus)
{
    return crier_topic_create(bus, "other", NULL);
}
static int wait_describe(crier *bus)
{
    return crier_topic_describe(bus, NULL, each_topic, NULL);
}
static int wait_alter(crier *bus)
{
    struct crier_topic_changes changes = {.struct_size = sizeof(changes)};
    return crier_topic_alter(bus, "x", &changes);
}
static int wait_delete(crier *bus)
{
    return crier_topic_delete(bus, "x");
}
static int wait_trim(crier *bus)
{
    return crier_topic_trim(bus, "x", NULL);
}
static int wait_groups(crier *bus)
{
    return crier_group_list(bus, each_group, NULL);
}
static int wait_group(crier *bus)
{
    return crier_group_describe(bus, "g", NULL, each_group, NULL);
}
static int wait_seek(crier *bus)
{
    return crier_group_seek(bus, "g", "x", NULL);
}
static int wait_forget(crier *bus)
{
    return crier_group_delete(bus, "g");
}
static int wait_cancel(crier *bus)
{
    return crier_schedule_cancel(bus, &(crier_schedule){1, 1});
}
static int wait_schedules(crier *bus)
{
    return crier_schedule_list(bus, NULL, each_schedule, NULL, NULL);
}
static int wait_redrive(crier *bus)
{
    uint64_t moved;
    return crier_redrive(bus, "x", 0, &moved);
}
static int wait_time(crier *bus)
{
    return crier_confirm_time(bus);
}

static const struct {
    const char *name;
    int (*call)(crier *bus);
    bool broker; /* on local: it does not wait for anybody */
} waiting_calls[] = {{"close", crier_close, false},           {"flush", wait_flush, false},
                     {"future_wait", wait_future, false},     {"ping", wait_ping, true},
                     {"topic_create", wait_create, true},     {"topic_describe", wait_describe, true},
                     {"topic_alter", wait_alter, true},       {"topic_delete", wait_delete, true},
                     {"topic_trim", wait_trim, true},         {"group_list", wait_groups, true},
                     {"group_describe", wait_group, true},    {"group_seek", wait_seek, true},
                     {"group_delete", wait_forget, true},     {"schedule_cancel", wait_cancel, true},
                     {"schedule_list", wait_schedules, true}, {"redrive", wait_redrive, true},
                     {"confirm_time", wait_time, true}};

static int waits(crier *bus, const crier_event *event, void *ctx)
{
    char text[64];
    for (size_t i = 0; i < sizeof(waiting_calls) / sizeof(*waiting_calls); i++) {
        int rc = waiting_calls[i].call(bus);
        if (rc == CRIER_EDEADLK || (waiting_calls[i].broker && world.kind == LOCAL))
            continue;
        snprintf(text, sizeof(text), "%s:%d", waiting_calls[i].name, rc);
        note(text);
    }
    return heard(bus, event, ctx);
}

static void waiting_inside(void)
{
    hear("x", waits, named("a"), NULL, NULL);
    emit("x", "1");
    expect("a:1");
    emit("x", "2"); /* nothing has happened */
    expect("a:2");
}
Test(kinds_bad, what_waits_is_refused_inside_a_handler_and_nothing_happens)
{
    on_every_kind(waiting_inside);
}
