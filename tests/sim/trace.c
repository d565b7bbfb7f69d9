/* trace.c: see trace.h. */
#include "tests/sim/trace.h"

#include <stdio.h>

static const struct {
    const char *name, *text;
    uint64_t minimum;
} events[TRACE_EVENTS] = {
#define TRACE_ROW(id, least, words) [TRACE_##id] = {.name = #id, .text = words, .minimum = least},
    TRACE_MAP(TRACE_ROW)
#undef TRACE_ROW
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9fb21c651e98df25u;
    return hash ^ (hash >> 32);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the table above */
#pragma GCC diagnostic ignored "-Wformat-extra-args"
static void trace_print(const struct trace *trace, enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
    printf("%10.6f  ", (double)trace->now_us / 1e6);
    printf(events[event].text, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
    putchar('\n');
}
#pragma GCC diagnostic pop

void trace_add(struct trace *trace, enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
    trace->events++;
    trace->count[event]++;
    trace->hash = mix(mix(mix(mix(mix(trace->hash, (uint64_t)event), (uint64_t)trace->now_us), a), b), c);
    if (trace->print)
        trace_print(trace, event, a, b, c);
}

const char *trace_name(enum trace_event event)
{
    return events[event].name;
}

uint64_t trace_minimum(enum trace_event event)
{
    return events[event].minimum;
}
