/* Bad input, and no memory: errors, no leak, no crash. Listed in docs/emitter-conformance.md. */
#include "trace.h"

#include "crier/atomic.h"
#include "tests/support/allocation.h"

#include <stdlib.h>

static struct tag a = {.name = "a"}, b = {.name = "b"}, f = {.name = "f", .rc = -1};

TestSuite(bad_input, .init = open_bus, .fini = close_bus);

static const char *const bad_names[] = {
    "", " ", ".x", "x.", "x..y", "x y", "x\n", "$x", "\xff", "\xc0\x80", "\xed\xa0\x80", "x\xe2\x82", "a*b",
};

Test(bad_input, names_are_refused_everywhere)
{
    char longest[CRIER_TOPIC_NAME_MAX + 2];
    crier_topic *topic;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (size_t i = 0; i <= sizeof(bad_names) / sizeof(bad_names[0]); i++) {
        const char *name = i < sizeof(bad_names) / sizeof(bad_names[0]) ? bad_names[i] : longest;
        cr_assert_eq(crier_on(bus, name, on_tag, &a), CRIER_EINVAL, "on \"%s\"", name);
        cr_assert_eq(crier_once(bus, name, on_tag, &a), CRIER_EINVAL);
        cr_assert_eq(crier_prepend(bus, name, on_tag, &a), CRIER_EINVAL);
        cr_assert_eq(crier_off(bus, name, on_tag, &a), CRIER_EINVAL);
        cr_assert_eq(crier_emit(bus, name, NULL, 0), CRIER_EINVAL, "emit \"%s\"", name);
        cr_assert_eq(crier_intern(bus, name, &topic), CRIER_EINVAL);
        cr_assert_eq(crier_topic_create(bus, name, NULL), CRIER_EINVAL);
        cr_assert_eq(crier_listener_count(bus, name, NULL, NULL), 0);
        cr_assert_eq(crier_remove_all(bus, name), 0);
    }
    longest[CRIER_TOPIC_NAME_MAX] = '\0';
    on(longest, &a);
    emit(longest);
    cr_trace("a");
}

Test(bad_input, null_is_refused_everywhere)
{
    struct crier_emit_options emit_options = {0};
    struct crier_listen_options listen_options = {0};
    crier_topic *topic;
    cr_assert_eq(crier_on(NULL, "x", on_tag, &a), CRIER_EINVAL);
    cr_assert_eq(crier_on(bus, NULL, on_tag, &a), CRIER_EINVAL);
    cr_assert_eq(crier_on(bus, "x", NULL, &a), CRIER_EINVAL);
    cr_assert_eq(crier_listen(bus, "x", &listen_options, on_tag, &a, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_off(NULL, "x", on_tag, &a), CRIER_EINVAL);
    cr_assert_eq(crier_off(bus, NULL, on_tag, &a), CRIER_EINVAL);
    cr_assert_eq(crier_unlisten(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_emit(NULL, "x", NULL, 0), CRIER_EINVAL);
    cr_assert_eq(crier_emit(bus, NULL, NULL, 0), CRIER_EINVAL);
    cr_assert_eq(crier_emit(bus, "x", NULL, 1), CRIER_EINVAL);
    cr_assert_eq(crier_emit_with(bus, "x", NULL, 0, &emit_options), CRIER_EINVAL);
    cr_assert_eq(crier_emit_topic(NULL, NULL, 0), CRIER_EINVAL);
    cr_assert_eq(crier_emit_error(NULL, CRIER_EIO, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_emit_error(bus, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_intern(NULL, "x", &topic), CRIER_EINVAL);
    cr_assert_eq(crier_intern(bus, NULL, &topic), CRIER_EINVAL);
    cr_assert_eq(crier_intern(bus, "x", NULL), CRIER_EINVAL);
    cr_assert_eq(crier_remove_all(NULL, "x"), CRIER_EINVAL);
    cr_assert_eq(crier_event_names(NULL, add_name, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_event_names(bus, NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_listeners(bus, NULL, add_info, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_listeners(bus, "x", NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_listener_count(NULL, "x", NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_listener_count(bus, NULL, NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_set_max_listeners(NULL, 1), CRIER_EINVAL);
    cr_assert_eq(crier_get_max_listeners(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_close(NULL), CRIER_EINVAL);
    cr_assert_null(crier_topic_name(NULL));
}

Test(bad_input, headers_without_a_name_are_refused)
{
    crier_header header = {0};
    struct crier_emit_options options = crier_emit_options_default();
    on("x", &a);
    options.headers = &header;
    options.header_count = 1;
    cr_assert_eq(crier_emit_with(bus, "x", NULL, 0, &options), CRIER_EINVAL);
    options.headers = NULL;
    cr_assert_eq(crier_emit_with(bus, "x", NULL, 0, &options), CRIER_EINVAL);
    cr_trace("");
}

Test(bad_input, what_local_cannot_do_says_so)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.from = CRIER_OFFSET;
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &a, NULL), CRIER_ENOTSUP);
    options.from = CRIER_TIME;
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &a, NULL), CRIER_ENOTSUP);
    options = crier_listen_options_default();
    options.commits_atomically = true;
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &a, NULL), CRIER_EINVAL);
    options.group = "g";
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &a, NULL), CRIER_ENOTSUP);
    cr_assert_eq(crier_on(bus, "orders.*", on_tag, &a), CRIER_ENOTSUP);
    cr_assert_eq(crier_group_delete(bus, "g"), CRIER_ENOTSUP);
}

Test(bad_input, a_url_with_more_than_a_name_is_refused)
{
    char longest[6 + 257];
    crier *other;
    memcpy(longest, "local:", 6);
    memset(longest + 6, 'x', 256);
    longest[sizeof(longest) - 1] = '\0';
    cr_assert_eq(crier_open(longest, NULL, &other), CRIER_EINVAL);
    cr_assert_eq(crier_open("local:x?y=z", NULL, &other), CRIER_EINVAL);
    cr_assert_eq(crier_open("local:\xff", NULL, &other), CRIER_EINVAL);
    cr_assert_eq(crier_open("local", NULL, &other), CRIER_EINVAL);
}

Test(bad_input, a_hundred_thousand_listeners_are_fine)
{
    crier_set_max_listeners(bus, 0);
    for (int i = 0; i < 100000; i++)
        on("x", &a);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 100000);
    crier_remove_all(bus, "x");
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
}

Test(bad_input, ten_thousand_topics_are_fine)
{
    char name[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "topic-%d", i);
        on(name, &a);
    }
    for (int i = 0; i < 10000; i += 2) {
        snprintf(name, sizeof(name), "topic-%d", i);
        cr_assert_eq(crier_off(bus, name, on_tag, &a), 0);
    }
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "topic-%d", i);
        cr_assert_eq(crier_listener_count(bus, name, NULL, NULL), i % 2);
    }
}

/* ---- no memory ---- */

static void add_more(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_prepend(emitter, "x", on_tag, &b);
    crier_on(emitter, "x", on_tag, &b);
    crier_off(emitter, "x", on_tag, &a);
    crier_emit_error(emitter, CRIER_EIO, NULL);
}

/* All of it, or nothing. */
static int emit_step(crier *local)
{
    crier_header header = {"name", 4, "value", 5};
    struct crier_emit_options options = crier_emit_options_default();
    struct crier_atomic_options step = crier_atomic_options_default();
    const struct crier_atomic_event events[] = {{"y", "1", 1, &options}, {"y", "2", 1, &options}};
    struct crier_stats before, after;
    options.headers = &header;
    options.header_count = 1;
    step.source_position = 1;
    crier_stats(local, &before);
    int rc = crier_emit_atomic(local, events, 2, &step);
    crier_stats(local, &after);
    cr_assert(rc == 0 || rc == CRIER_ENOMEM || rc == CRIER_EHANDLER, "%d", rc);
    cr_assert_eq(after.emitted - before.emitted, rc == CRIER_ENOMEM ? 0 : 2);
    return rc;
}

/* Every call that takes memory. Returns how many of them said there was none. */
static int everything(const char *url)
{
    struct crier_options options = crier_options_default();
    struct crier_listen_options listen_options = crier_listen_options_default();
    struct crier_emit_options emit_options = crier_emit_options_default();
    crier_header header = {"name", 4, "value", 5};
    struct tag adder = {.name = "t", .act = add_more};
    crier_listener *listener;
    crier_topic *topic;
    crier *local;
    int refused = 0, rc;

    options.producer_name = "p";
    if ((rc = crier_open(url, &options, &local)) < 0) {
        cr_assert_eq(rc, CRIER_ENOMEM);
        return 1;
    }
    listen_options.group = "g";
    emit_options.headers = &header;
    emit_options.header_count = 1;
    refused += crier_on(local, "newListener", on_tag, &a) == CRIER_ENOMEM;
    refused += crier_on(local, "removeListener", on_tag, &a) == CRIER_ENOMEM;
    refused += crier_on(local, "x", on_tag, &adder) == CRIER_ENOMEM;
    refused += crier_on(local, "x", on_tag, &f) == CRIER_ENOMEM;
    refused += crier_once(local, "x", on_tag, &b) == CRIER_ENOMEM;
    refused += crier_prepend(local, "y", on_tag, &b) == CRIER_ENOMEM;
    refused += crier_listen(local, "x", &listen_options, on_tag, &a, &listener) == CRIER_ENOMEM;
    refused += crier_intern(local, "interned", &topic) == CRIER_ENOMEM;
    rc = crier_emit_with(local, "x", "value", 5, &emit_options);
    cr_assert(rc == 0 || rc == CRIER_ENOMEM || rc == CRIER_EHANDLER);
    refused += rc == CRIER_ENOMEM;
    refused += emit_step(local) == CRIER_ENOMEM;
    refused += crier_event_names(local, add_name, NULL) == CRIER_ENOMEM;
    cr_assert_eq(crier_remove_all(local, "x"), 0);
    cr_assert_eq(crier_remove_all(local, NULL), 0);
    refused += crier_event_names(local, add_name, NULL) == CRIER_ENOMEM;
    trace[0] = '\0';
    rc = crier_close(local);
    cr_assert(rc == 0 || rc == CRIER_EHANDLER || rc == CRIER_EIO, "%d", rc);
    return refused;
}

static void everything_without_memory(const char *url)
{
    long out;
    unsigned n = 0, refused = 0;
    (void)everything(url); /* what the process allocates only once */
    for (;; n++) {
        out = allocation_out();
        allocation_fail_after(n);
        refused += everything(url) > 0;
        cr_assert_eq(allocation_out(), out, "allocation %u: %ld blocks leaked", n, allocation_out() - out);
        if (!allocation_failed()) /* there was no n-th one any more */
            break;
    }
    allocation_never_fail();
    cr_assert(n > 20 && refused > 10, "%u allocations, %u refusals", n, refused);
}

Test(bad_input, without_memory_every_call_says_so_and_nothing_leaks)
{
    everything_without_memory("local:");
    everything_without_memory("local:name");
}

Test(bad_input, removing_needs_no_memory)
{
    for (int i = 0; i < 100; i++) {
        on("x", &a);
        cr_assert_eq(crier_once(bus, "x", on_tag, &b), 0);
    }
    for (int i = 0; i < 50; i++) {
        allocation_fail_after(0);
        cr_assert_eq(crier_off(bus, "x", on_tag, &a), 0);
        cr_assert_eq(crier_off(bus, "x", on_tag, &b), 0);
    }
    crier_remove_all(bus, NULL);
    allocation_never_fail();
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
}

Test(bad_input, an_idle_listener_takes_at_most_200_bytes_and_its_name)
{
    enum { LISTENERS = 10000 };
    char name[32];
    size_t before = allocation_bytes(), names = 0;
    for (int i = 0; i < LISTENERS; i++) {
        names += (size_t)snprintf(name, sizeof(name), "idle.listener.%d", i) + 1;
        on(name, &a);
    }
    size_t each = (allocation_bytes() - before - names) / LISTENERS;
    cr_assert(each <= 200, "%zu bytes each", each);
    printf("an idle listener on a topic of its own: %zu bytes and its name\n", each);
}
