/* trace.h: what the emitter's tests share: a bus of local:, and handlers that write down that they were called.
 *
 * A `tag` is a handler's ctx: its name goes to the trace, then it does what it is to do. The trace of a test is one line:
 * names, parted by blanks. Criterion runs each test in a process of its own, so the trace is a static. */
#ifndef CRIER_TESTS_EMITTER_TRACE_H
#define CRIER_TESTS_EMITTER_TRACE_H

#include "crier/crier.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct tag {
    const char *name;
    int rc;                                   /* what the handler returns */
    void (*act)(crier *bus, struct tag *tag); /* NULL: nothing */
    int calls;
};

static char trace[4096];
static crier *bus;

static inline void trace_add(const char *text)
{
    size_t size = strlen(trace);
    snprintf(trace + size, sizeof(trace) - size, "%s%s", size ? " " : "", text);
}

/* What was written since the last look. */
static inline const char *trace_take(void)
{
    static char taken[sizeof(trace)];
    memcpy(taken, trace, sizeof(trace));
    trace[0] = '\0';
    return taken;
}

static inline int on_tag(crier *emitter, const crier_event *event, void *ctx)
{
    struct tag *tag = ctx;
    (void)event;
    tag->calls++;
    trace_add(tag->name);
    if (tag->act)
        tag->act(emitter, tag);
    return tag->rc;
}

/* Writes NAME:VALUE, for events that say something. */
static inline int on_value(crier *emitter, const crier_event *event, void *ctx)
{
    char text[400];
    (void)emitter;
    snprintf(text, sizeof(text), "%s:%.*s", ((struct tag *)ctx)->name, (int)event->value_size,
             (const char *)event->value);
    trace_add(text);
    return 0;
}

/* Writes NAME:CODE, on "error". */
static inline int on_error(crier *emitter, const crier_event *event, void *ctx)
{
    char text[64];
    (void)emitter;
    snprintf(text, sizeof(text), "%s:%d", ((struct tag *)ctx)->name, event->error);
    trace_add(text);
    return 0;
}

static inline void add_name(void *ctx, const char *name)
{
    (void)ctx;
    trace_add(name);
}

/* The name of the tag, and how many events are to go. */
static inline void add_info(void *ctx, const crier_listener_info *info)
{
    char text[64];
    (void)ctx;
    snprintf(text, sizeof(text), info->count ? "%s/%d" : "%s", ((struct tag *)info->ctx)->name,
             (int)info->count);
    trace_add(text);
}

static inline int emit(const char *topic)
{
    return crier_emit(bus, topic, NULL, 0);
}

/* Node's boolean. */
static inline bool heard(const char *topic)
{
    struct crier_emit_options options = crier_emit_options_default();
    bool had = false;
    options.ret_had_listeners = &had;
    cr_assert_eq(crier_emit_with(bus, topic, NULL, 0, &options), 0);
    return had;
}

static inline void on(const char *topic, struct tag *tag)
{
    cr_assert_eq(crier_on(bus, topic, on_tag, tag), 0);
}

static inline void open_bus(void)
{
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
}

static inline void close_bus(void)
{
    cr_assert_eq(crier_close(bus), 0);
}

#define cr_trace(expected) cr_assert_str_eq(trace_take(), expected)

#endif
