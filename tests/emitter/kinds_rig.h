/* kinds_rig.h: the same test on every kind of bus: local:, embed: and a broker elsewhere.
 *
 * Handlers may run on another thread: they write to a trace under a lock, and a test waits for what the trace should be. */
#ifndef CRIER_TESTS_EMITTER_KINDS_RIG_H
#define CRIER_TESTS_EMITTER_KINDS_RIG_H

#include "crier/crier.h"
#include "crier/future.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_S 20 /* nothing takes so long, but for a machine that is very busy */

enum kind { LOCAL, EMBED, ELSEWHERE, KINDS };
static const char *const kind_names[KINDS] = {"local:", "embed:", "crier://"};

static struct world {
    enum kind kind;
    crier *bus;
    struct broker *broker;
    char parent[64];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char trace[2048];
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the trace ---- */

static inline void note(const char *text)
{
    size_t size;

    pthread_mutex_lock(&world.lock);
    size = strlen(world.trace);
    snprintf(world.trace + size, sizeof(world.trace) - size, "%s%s", size ? " " : "", text);
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

/* Waits until the trace is this; on local: it is already. Then it begins anew. */
static inline void expect(const char *wanted)
{
    struct timespec deadline;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&world.lock);
    while (strcmp(world.trace, wanted) != 0 && rc == 0 && world.kind != LOCAL)
        rc = pthread_cond_timedwait(&world.changed, &world.lock, &deadline);
    cr_assert_str_eq(world.trace, wanted, "%s: \"%s\" instead of \"%s\"", kind_names[world.kind], world.trace,
                     wanted);
    world.trace[0] = '\0';
    pthread_mutex_unlock(&world.lock);
}

/* A listener's ctx: its name, at the same place each time. */
static inline void *named(const char *name)
{
    static char names[16][16];
    size_t i = 0;

    while (names[i][0] != '\0' && strcmp(names[i], name) != 0)
        i++;
    snprintf(names[i], sizeof(names[i]), "%s", name);
    return names[i];
}

/* ---- listening and emitting ---- */

static inline void told(void *ctx)
{
    (void)ctx;
    note("listening");
}

/* Notes ctx and the event's value. */
static inline int heard(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    char text[64];
    snprintf(text, sizeof(text), "%s:%.*s", (const char *)ctx, (int)event->value_size,
             (const char *)event->value);
    note(text);
    return 0;
}

/* Listens; when this returns, events are heard. */
static inline void hear(const char *topic, crier_handler *handler, void *ctx,
                        void (*released)(void *, int, const char *), crier_listener **ret_listener)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.listening = told;
    options.released = released;
    cr_assert_eq(crier_listen(world.bus, topic, &options, handler, ctx, ret_listener), 0);
    expect("listening");
}

static inline void emit(const char *topic, const char *value)
{
    cr_assert_eq(crier_emit(world.bus, topic, value, strlen(value)), 0, "%s", kind_names[world.kind]);
}

/* Everything that was emitted has been heard by those who hear it. */
static inline void settle(void)
{
    crier_future *tick;
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    for (int i = 0; i < 3; i++) { /* what was stored has been sent by then, and came in order */
        int64_t us;
        if (world.kind != LOCAL)
            cr_assert_eq(crier_ping(world.bus, &us), 0);
        cr_assert_eq(crier_after(world.bus, 0, &tick), 0);
        cr_assert_eq(crier_future_wait(tick, -1, NULL), 0);
        crier_future_release(tick);
    }
}

static inline void world_open(enum kind kind)
{
    struct crier_options options = crier_options_default();
    char url[128];

    world.kind = kind;
    if (kind == ELSEWHERE) {
        cr_assert_not_null(world.broker = broker_start(NULL));
        cr_assert_eq(crier_open(broker_url(world.broker), &options, &world.bus), 0);
    } else if (kind == EMBED) {
        snprintf(world.parent, sizeof(world.parent), "/tmp/crier-kinds-XXXXXX");
        cr_assert_not_null(mkdtemp(world.parent));
        snprintf(url, sizeof(url), "embed:%s/data", world.parent);
        cr_assert_eq(crier_open(url, &options, &world.bus), 0);
    } else {
        cr_assert_eq(crier_open("local:", &options, &world.bus), 0);
    }
}

static inline void world_close(void)
{
    char command[128];

    cr_assert_eq(crier_close(world.bus), 0, "%s", kind_names[world.kind]);
    if (world.kind == ELSEWHERE)
        cr_assert_eq(broker_destroy(world.broker), 0);
    if (world.kind == EMBED) {
        snprintf(command, sizeof(command), "rm -rf '%s'", world.parent);
        cr_assert_eq(system(command), 0);
    }
    world.trace[0] = '\0';
}

static inline void on_every_kind(void (*test)(void))
{
    for (enum kind kind = LOCAL; kind < KINDS; kind++) {
        world_open(kind);
        test();
        world_close();
    }
}

#endif
