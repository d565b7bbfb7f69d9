/* agenda_rig.c: see agenda_rig.h. */
#include "tests/unit/agenda_rig.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

static void rig_wake(void *ctx)
{
    ((struct agenda_rig *)ctx)->wakes++;
}

/* Turns until it is done: a loop of the caller's own. */
static int rig_wait(void *ctx, bool (*done)(const void *arg), const void *arg, int64_t deadline_us)
{
    struct agenda_rig *rig = ctx;

    while (!done(arg)) {
        if (rig->now_us >= deadline_us)
            return -1;
        rig->now_us++;
        rig_turn(rig);
    }
    return 0;
}

static void rig_unhandled(void *ctx, int code, const char *text)
{
    struct agenda_rig *rig = ctx;

    (void)text;
    rig->unhandled = code;
    rig->unhandled_count++;
}

void rig_open(struct agenda_rig *rig)
{
    static const struct agenda_ops ops = {.wake = rig_wake, .wait = rig_wait, .unhandled = rig_unhandled};
    static const struct agenda_codes codes = {
        .canceled = RIG_CANCELED, .closed = RIG_CLOSED, .no_memory = RIG_NOMEM, .invalid = RIG_INVALID};

    memset(rig, 0, sizeof(*rig));
    rig->agenda = agenda_create(&ops, &codes, rig);
    CHECK(rig->agenda);
}

void rig_close(struct agenda_rig *rig)
{
    agenda_close(rig->agenda);
    agenda_release(rig->agenda);
}

void rig_say(struct agenda_rig *rig, const char *name)
{
    size_t used = strlen(rig->trace);

    snprintf(rig->trace + used, sizeof(rig->trace) - used, "%s%s", used ? " " : "", name);
}

static void named_run(struct named *named, bool dropped)
{
    named->dropped = dropped;
    if (dropped)
        return;
    rig_say(named->rig, named->name);
    if (named->then)
        named->then(named);
}

static void task_run(struct task *task, bool dropped)
{
    named_run(LIST_ENTRY(task, struct named, task), dropped);
}

static void timer_run(struct task *task, bool dropped)
{
    named_run(LIST_ENTRY(task, struct named, timer.task), dropped);
}

struct named *rig_named(struct named *named, struct agenda_rig *rig, const char *name,
                        void (*then)(struct named *named))
{
    *named = (struct named){.rig = rig, .name = name, .then = then};
    list_init(&named->task.link);
    list_init(&named->timer.task.link);
    named->task.run = task_run;
    named->timer.task.run = timer_run;
    named->timer.node.place = HEAP_NOWHERE;
    return named;
}

void rig_turn(struct agenda_rig *rig)
{
    agenda_drain(rig->agenda);
    agenda_immediates(rig->agenda);
    agenda_timers(rig->agenda, rig->now_us);
}
