/* group_members.c: see group_members.h. */
#include "tests/integration/group_members.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- what the members of this process did, all under one lock ---- */

void ledger_init(struct ledger *ledger)
{
    pthread_condattr_t attributes;
    memset(ledger, 0, sizeof(*ledger));
    pthread_mutex_init(&ledger->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&ledger->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    for (int i = 0; i < PARTITIONS; i++)
        ledger->owner[i] = NOBODY;
}

void ledger_finish(struct ledger *ledger)
{
    cr_assert_str_empty(ledger->problem, "%s", ledger->problem);
    pthread_cond_destroy(&ledger->changed);
    pthread_mutex_destroy(&ledger->lock);
}

static void problem(struct ledger *ledger, const char *what, int member, uint32_t partition, uint64_t offset)
{
    if (!*ledger->problem)
        snprintf(ledger->problem, sizeof(ledger->problem),
                 "%s: member %d, partition %u, offset %llu, next %llu", what, member, partition,
                 (unsigned long long)offset, (unsigned long long)ledger->next[partition]);
}

void ledger_handled(struct ledger *ledger, int member, uint32_t partition, uint64_t offset)
{
    if (offset > ledger->next[partition])
        problem(ledger, "events were left out", member, partition, offset);
    if (offset == ledger->next[partition]) {
        ledger->next[partition]++;
        ledger->handled++;
    } else {
        ledger->repeated++;
    }
}

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    struct member *member = ctx;
    struct ledger *ledger = member->ledger;
    pthread_mutex_lock(&ledger->lock);
    if (ledger->owner[partition] != (given ? NOBODY : member->number))
        problem(ledger, given ? "given while it is another's" : "taken from who does not have it",
                member->number, partition, 0);
    ledger->owner[partition] = given ? member->number : NOBODY;
    ledger->owned[member->number] += given ? 1u : -1u;
    pthread_cond_broadcast(&ledger->changed);
    pthread_mutex_unlock(&ledger->lock);
}

int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct member *member = ctx;
    struct ledger *ledger = member->ledger;
    (void)bus;
    pthread_mutex_lock(&ledger->lock);
    ledger->waiting++;
    pthread_cond_broadcast(&ledger->changed);
    while (ledger->held)
        pthread_cond_wait(&ledger->changed, &ledger->lock);
    ledger->waiting--;
    if (ledger->owner[event->partition] != member->number)
        problem(ledger, "handled by who does not own it", member->number, event->partition, event->offset);
    ledger_handled(ledger, member->number, event->partition, event->offset);
    pthread_cond_broadcast(&ledger->changed);
    pthread_mutex_unlock(&ledger->lock);
    return 0;
}

static void note(struct ledger *ledger, unsigned *counter)
{
    pthread_mutex_lock(&ledger->lock);
    (*counter)++;
    pthread_cond_broadcast(&ledger->changed);
    pthread_mutex_unlock(&ledger->lock);
}

void on_listening(void *ctx)
{
    struct ledger *ledger = ((struct member *)ctx)->ledger;
    note(ledger, &ledger->joined);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct ledger *ledger = ((struct member *)ctx)->ledger;
    (void)code, (void)text;
    note(ledger, &ledger->released);
}

/* ---- waiting ---- */

static bool reached(const struct ledger *ledger, const struct goal *goal)
{
    if (*ledger->problem)
        return true; /* told at the end */
    return ledger->handled >= goal->handled && ledger->joined >= goal->joined &&
           ledger->released >= goal->released && ledger->waiting >= goal->waiting &&
           (!goal->owned_matters || memcmp(ledger->owned, goal->owned, sizeof(goal->owned)) == 0);
}

void await(struct ledger *ledger, const struct goal *goal)
{
    struct timespec deadline;
    bool there;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&ledger->lock);
    while (!reached(ledger, goal) && pthread_cond_timedwait(&ledger->changed, &ledger->lock, &deadline) == 0)
        continue;
    there = reached(ledger, goal);
    pthread_mutex_unlock(&ledger->lock);
    cr_assert(there, "handled %llu of %llu, owned %u %u %u, joined %u, released %u, waiting %u",
              (unsigned long long)ledger->handled, (unsigned long long)goal->handled, ledger->owned[0],
              ledger->owned[1], ledger->owned[2], ledger->joined, ledger->released, ledger->waiting);
}

void await_owned(struct ledger *ledger, unsigned a, unsigned b, unsigned c)
{
    await(ledger, &(struct goal){.owned = {a, b, c}, .owned_matters = true});
}

void await_handled(struct ledger *ledger, uint64_t count)
{
    await(ledger, &(struct goal){.handled = count});
}

void hold(struct ledger *ledger, bool held)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->held = held;
    pthread_cond_broadcast(&ledger->changed);
    pthread_mutex_unlock(&ledger->lock);
}

/* ---- buses and members ---- */

crier *bus_open(struct broker *broker, const char *name)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.name = name;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    return bus;
}

void topic_create(crier *bus)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = PARTITIONS};
    cr_assert_eq(crier_topic_create(bus, "t", &options), 0);
}

/* `count` events, by turns to each partition. */
void emit(crier *bus, uint64_t *number, int count)
{
    struct crier_emit_options options = crier_emit_options_default();
    for (int i = 0; i < count; i++) {
        options.partition = (int32_t)((*number)++ % PARTITIONS);
        cr_assert_eq(crier_emit_with(bus, "t", "event", 5, &options), 0);
    }
    cr_assert_eq(crier_flush(bus, -1), 0);
}

void join(struct member *member, int session_timeout_ms)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = "g";
    options.from = CRIER_EARLIEST;
    options.session_timeout_ms = session_timeout_ms;
    options.assigned = on_assigned;
    options.listening = on_listening;
    options.released = on_released;
    cr_assert_eq(crier_listen(member->bus, "t", &options, on_event, member, &member->listener), 0);
}

void leave(struct member *member)
{
    unsigned before = member->ledger->released;
    cr_assert_eq(crier_unlisten(member->listener), 0);
    await(member->ledger, &(struct goal){.released = before + 1});
}
