/* bus_monitor.c: the public face of the loop monitor, crier/monitor.h: a bus's clock and timer for monitor.c.
 *
 * Role:     brackets turns and calls while somebody measures; the timer whose lateness is the loop's delay.
 * Thread:   crier_loop_*: any; bus_monitor_*: the I/O thread's.
 * Owns:     struct bus_monitor, from the first start until the bus is freed, so that no turn has to ask who else uses it.
 *
 * Happy path:  crier_loop_monitor_start -> timer -> turn_begin ... called ... turn_end -> crier_loop_stats
 * Failures:    no memory for the timer: CRIER_ENOMEM, or, later, the next turn tries again: one sample less. */
#include "base/clock.h"
#include "client/bus_internal.h"
#include "client/handles.h"
#include "client/monitor.h"
#include "client/struct_size.h"

#include <errno.h>
#include <stdlib.h>

#define RESOLUTION_US_MIN 1000
#define RESOLUTION_US_MAX 60000000

struct bus_monitor {
    crier *bus;
    struct monitor monitor;
    struct agenda_timer timer;
    atomic_bool timing; /* the timer is set */
};

/* ---- the timer ---- */

static void timer_set(struct bus_monitor *self)
{
    int64_t due_us = clock_monotonic_us() + monitor_resolution_us(&self->monitor);

    if (!atomic_exchange(&self->timing, true) &&
        agenda_timer_add(self->bus->agenda, &self->timer, due_us) < 0)
        atomic_store(&self->timing, false);
}

static void timer_run(struct task *task, bool dropped)
{
    struct agenda_timer *timer = LIST_ENTRY(task, struct agenda_timer, task);
    struct bus_monitor *self = LIST_ENTRY(timer, struct bus_monitor, timer);
    int64_t late_us = clock_monotonic_us() - timer->node.due_us;

    atomic_store(&self->timing, false);
    if (dropped || !monitor_is_running(&self->monitor))
        return;
    monitor_late(&self->monitor, late_us);
    timer_set(self);
}

/* ---- the loop ---- */

static void on_called(void *ctx, const char *topic, crier_handler *handler)
{
    bus_called(ctx, CRIER_LOOP_HANDLER, topic, (void (*)(void))handler);
}

void bus_monitor_turn_begin(crier *bus)
{
    struct bus_monitor *self = atomic_load_explicit(&bus->monitor, memory_order_acquire);

    if (!self || bus->watched)
        return;
    if (!monitor_is_running(&self->monitor))
        return;
    bus->watched = self;
    if (bus->engine)
        engine_watch(bus->engine, on_called);
    if (!atomic_load(&self->timing))
        timer_set(self);
    monitor_turn_begin(&self->monitor, clock_monotonic_us());
}

void bus_monitor_turn_end(crier *bus)
{
    if (!bus->watched)
        return;
    monitor_turn_end(&bus->watched->monitor, clock_monotonic_us());
    bus->watched = NULL;
    if (bus->engine)
        engine_watch(bus->engine, NULL);
}

static const char *words(enum crier_loop_kind kind)
{
    switch (kind) {
    case CRIER_LOOP_TICK:
        return "a tick";
    case CRIER_LOOP_IMMEDIATE:
        return "an immediate";
    case CRIER_LOOP_CONTINUATION:
        return "a continuation";
    case CRIER_LOOP_CALLBACK:
        return "callbacks";
    case CRIER_LOOP_HANDLER:
    case CRIER_LOOP_NOTHING:
        break;
    }
    return "";
}

void bus_monitor_called(crier *bus, enum crier_loop_kind kind, const char *name, void (*function)(void))
{
    struct bus_monitor *self = bus->watched;
    crier_loop_call call = {.kind = kind, .topic = name ? name : words(kind), .function = function};
    struct crier_loop_monitor_options options;

    if (!monitor_called(&self->monitor, &call, clock_monotonic_us(), &options) || !options.blocked)
        return;
    options.blocked(bus, &call, options.ctx);
    monitor_mark(&self->monitor, clock_monotonic_us());
}

void bus_monitor_destroy(crier *bus)
{
    struct bus_monitor *self = atomic_load(&bus->monitor);

    if (!self)
        return;
    monitor_finish(&self->monitor);
    free(self);
}

/* ---- the API ---- */

/* The bus's own: made now if it has none. 0 or CRIER_ENOMEM. */
static int monitor_get(crier *bus, struct bus_monitor **ret_self)
{
    struct bus_monitor *self = atomic_load(&bus->monitor), *made;

    if (!self) {
        if (!(made = calloc(1, sizeof(*made))))
            return CRIER_ENOMEM;
        if (!monitor_init(&made->monitor)) {
            free(made);
            return CRIER_ENOMEM;
        }
        made->bus = bus;
        made->timer = (struct agenda_timer){.task.run = timer_run, .node.place = HEAP_NOWHERE};
        list_init(&made->timer.task.link);
        if (atomic_compare_exchange_strong(&bus->monitor, &self, made)) {
            self = made;
        } else { /* another thread was faster */
            monitor_finish(&made->monitor);
            free(made);
        }
    }
    *ret_self = self;
    return 0;
}

static bool options_are_valid(const struct crier_loop_monitor_options *options)
{
    return options->resolution_us >= RESOLUTION_US_MIN && options->resolution_us <= RESOLUTION_US_MAX &&
           options->blocked_us >= 1;
}

int crier_loop_monitor_start(crier *bus, const struct crier_loop_monitor_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_loop_monitor_options copy = crier_loop_monitor_options_default();
    struct bus_monitor *self;
    int rc;

    if (!bus || !struct_take(&copy, sizeof(copy), options) || !options_are_valid(&copy))
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (agenda_is_closed(bus->agenda))
        return CRIER_ECLOSED;
    if ((rc = monitor_get(bus, &self)) < 0)
        return rc;
    if (!monitor_start(&self->monitor, &copy, clock_monotonic_us()))
        return CRIER_EEXIST;
    timer_set(self);
    if (!atomic_load(&self->timing)) {
        monitor_stop(&self->monitor, clock_monotonic_us());
        return CRIER_ENOMEM;
    }
    agenda_wake(bus->agenda);
    return 0;
}

/* Who measures, or has; NULL: nobody. */
static struct bus_monitor *monitor_of(crier *bus)
{
    return bus ? atomic_load(&bus->monitor) : NULL;
}

int crier_loop_monitor_stop(crier *bus)
{
    handle_check(&bus_handles, bus);
    struct bus_monitor *self = monitor_of(bus);

    if (!self || !monitor_stop(&self->monitor, clock_monotonic_us()))
        return CRIER_EINVAL;
    if (agenda_timer_remove(bus->agenda, &self->timer))
        atomic_store(&self->timing, false);
    return 0;
}

int crier_loop_stats(crier *bus, struct crier_loop_stats *ret_stats)
{
    handle_check(&bus_handles, bus);
    struct bus_monitor *self = monitor_of(bus);

    if (!self || !ret_stats)
        return CRIER_EINVAL;
    monitor_stats(&self->monitor, clock_monotonic_us(), ret_stats);
    return 0;
}

int crier_loop_delay(crier *bus, double percentile, int64_t *ret_delay_us)
{
    handle_check(&bus_handles, bus);
    struct bus_monitor *self = monitor_of(bus);

    if (!self || !ret_delay_us || !(percentile >= 0 && percentile <= 100))
        return CRIER_EINVAL;
    *ret_delay_us = monitor_delay(&self->monitor, percentile);
    return 0;
}
