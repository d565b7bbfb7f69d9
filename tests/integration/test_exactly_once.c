/* test_exactly_once.c: examples/exactly-once as real processes, killed with SIGKILL again and again, and their broker, too: every
 * order leads to its invoice, once. And what atomic emits made from events promise inside one process. */
#include "crier/atomic.h"
#include "crier/iterator.h"
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDERS     6000
#define PARTITIONS 3
#define PROCESSES  2
#define KILL_EVERY 400 /* invoices between kills */

extern char **environ;

static crier *open_bus(const struct broker *broker)
{
    crier *bus = NULL;
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    return bus;
}

static pid_t process_start(const struct broker *broker)
{
    char *arguments[] = {(char *)(uintptr_t)EXACTLY_ONCE, (char *)(uintptr_t)broker_url(broker), NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    cr_assert_eq(posix_spawn(&pid, EXACTLY_ONCE, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static int process_end(pid_t pid, int number)
{
    int status;
    cr_assert_eq(kill(pid, number), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void topic_make(crier *bus, const char *name, uint32_t partitions)
{
    struct crier_topic_options options = crier_topic_options_default();
    options.partitions = partitions;
    cr_assert_eq(crier_topic_create(bus, name, &options), 0);
}

static void orders_emit(crier *bus, int count)
{
    for (int i = 1; i <= count; i++) {
        char text[16];
        int size = snprintf(text, sizeof(text), "%d", i);
        int rc;
        while ((rc = crier_emit(bus, "orders", text, (size_t)size)) == CRIER_EAGAIN)
            cr_assert_eq(crier_flush(bus, -1), 0);
        cr_assert_eq(rc, 0);
    }
    cr_assert_eq(crier_flush(bus, -1), 0);
}

static void end_count(void *ctx, const struct crier_topic_info *info)
{
    size_t *count = ctx;
    for (uint32_t i = 0; i < info->partition_count; i++)
        *count += info->partitions[i].high_watermark;
}

static size_t end_of(crier *bus, const char *topic)
{
    size_t count = 0;
    cr_assert_eq(crier_topic_describe(bus, topic, end_count, &count), 0);
    return count;
}

/* Everything on `topic`: each number once, from `first` on, by `step`. */
static void assert_invoices(crier *bus, const char *topic, int first, int step, int last)
{
    struct crier_listen_options options = crier_listen_options_default();
    size_t count = (size_t)((last - first) / step + 1);
    struct probe probe;
    bool *there = calloc((size_t)last + 1, sizeof(*there));
    cr_assert_eq(end_of(bus, topic), count, "%s has %zu events, not %zu", topic, end_of(bus, topic), count);
    probe_init(&probe);
    options.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&probe, bus, topic, &options, NULL));
    cr_assert(probe_wait(&probe, &probe.event_count, count));
    cr_assert_eq(crier_off(bus, topic, probe_handler, &probe), 0);
    cr_assert(probe_wait(&probe, &probe.released, 1));
    for (size_t i = 0; i < count; i++) {
        int number = 0;
        cr_assert_eq(sscanf(probe.events[i].value, "invoice for order %d", &number), 1);
        cr_assert(number >= first && number <= last && (number - first) % step == 0, "%s: %d", topic, number);
        cr_assert_not(there[number], "%s: %d twice", topic, number);
        there[number] = true;
    }
    free(there);
    probe_finish(&probe);
}

Test(exactly_once, processes_and_broker_are_killed_and_every_order_leads_to_one_invoice, .timeout = 180)
{
    struct broker *broker = broker_start(NULL);
    crier *bus = open_bus(broker);
    struct crier_listen_options options = crier_listen_options_default();
    struct probe invoices;
    pid_t processes[PROCESSES];
    int kills = 0, broker_kills = 0;
    topic_make(bus, "orders", PARTITIONS);
    topic_make(bus, "invoices", 1);
    probe_init(&invoices);
    options.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&invoices, bus, "invoices", &options, NULL));
    orders_emit(bus, ORDERS);
    for (int i = 0; i < PROCESSES; i++)
        processes[i] = process_start(broker);
    for (size_t at = KILL_EVERY; at < ORDERS; at += KILL_EVERY) {
        cr_assert(probe_wait(&invoices, &invoices.event_count, at));
        int victim = kills++ % PROCESSES;
        cr_assert(WIFSIGNALED(process_end(processes[victim], SIGKILL)));
        if (kills % 4 == 0) {
            broker_kill(broker);
            broker_kills++;
            cr_assert(broker_restart(broker));
        }
        processes[victim] = process_start(broker);
    }
    cr_assert(probe_wait(&invoices, &invoices.event_count, ORDERS));
    for (int i = 0; i < PROCESSES; i++) {
        int status =
            process_end(processes[i], SIGTERM); /* the newest may not have a handler yet, and dies of it */
        cr_assert(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGTERM, "status %x",
                  (unsigned)status);
    }
    assert_invoices(bus, "invoices", 1, 1, ORDERS);
    assert_invoices(bus, "audit", 100, 100, ORDERS);
    cr_assert_geq(kills, 10);
    cr_assert_geq(broker_kills, 2);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&invoices);
    cr_assert_eq(broker_destroy(broker), 0);
}

static void position_take(void *ctx, const struct crier_group_info *info)
{
    cr_assert_eq(info->partition_count, 1);
    *(uint64_t *)ctx = info->partitions[0].position;
}

static uint64_t position_of(crier *bus)
{
    uint64_t position = 0;
    cr_assert_eq(crier_group_describe(bus, "g", "orders", position_take, &position), 0);
    return position;
}

/* Pulled by an iterator, several in one step, some of which lead to nothing; closed in between. */
Test(exactly_once, an_iterator_goes_on_where_its_emits_left_the_position)
{
    struct broker *broker = broker_start(NULL);
    crier *bus = open_bus(broker);
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_atomic_options step = crier_atomic_options_default();
    struct probe probe;
    probe_init(&probe);
    topic_make(bus, "orders", 1);
    orders_emit(bus, 30);
    listen.group = "g";
    listen.from = CRIER_EARLIEST;
    listen.commits_atomically = true;
    options.listen = &listen;
    step.done = probe_done;
    step.ctx = &probe;
    step.consumed_count = 1;
    for (int round = 0; round < 3; round++) {
        crier_iterator *orders;
        cr_assert_eq(crier_iterate(bus, "orders", &options, &orders), 0);
        for (int i = 0; i < 10; i++) {
            crier_future *next;
            crier_result result;
            cr_assert_eq(crier_iterator_next(orders, &next), 0);
            cr_assert_eq(crier_future_wait(next, PROBE_WAIT_MS, &result), 0);
            const crier_event *event = result.pointer;
            cr_assert_eq(event->offset, (uint64_t)(round * 8 + i), "round %d", round);
            struct crier_consumed consumed = crier_consumed_by(event);
            char text[64];
            int size = snprintf(text, sizeof(text), "invoice for order %d", (int)event->offset / 4 + 1);
            struct crier_atomic_event invoice = {
                .topic = "invoices", .value = text, .value_size = (size_t)size};
            step.consumed = &consumed;
            if (i < 8 &&
                event->offset % 4 == 3) /* one for four; what comes behind is in hand when it is closed */
                cr_assert_eq(crier_emit_atomic(bus, &invoice, 1, &step), 0);
            crier_future_release(next);
        }
        cr_assert_eq(crier_flush(bus, -1), 0);
        crier_iterator_close(orders);
        cr_assert_eq(position_of(bus), (uint64_t)(round + 1) * 8);
    }
    cr_assert_eq(probe.done_failed, 0);
    assert_invoices(bus, "invoices", 1, 1, 6);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* The first time it cannot be stored: the event comes again, and nothing that was made from later ones is stored before. */
struct again {
    struct probe outcomes;
    uint64_t heard[64];
    size_t count;
};

static int on_again(crier *bus, const crier_event *event, void *ctx)
{
    struct again *again = ctx;
    struct crier_emit_options expects = crier_emit_options_default();
    struct crier_consumed consumed = crier_consumed_by(event);
    struct crier_atomic_options step = crier_atomic_options_default();
    char text[64];
    int size = snprintf(text, sizeof(text), "invoice for order %d", (int)event->offset + 1);
    struct crier_atomic_event invoice = {
        .topic = "invoices", .value = text, .value_size = (size_t)size, .options = &expects};
    bool first = true;
    for (size_t i = 0; i < again->count; i++)
        first = first && again->heard[i] != event->offset;
    if (again->count < 64)
        again->heard[again->count++] = event->offset;
    if (event->offset == 7 && first)
        return -1;                                 /* the handler fails */
    expects.expects = event->offset == 3 && first; /* the emit fails */
    expects.expected_offset = 1000;
    step.consumed = &consumed;
    step.consumed_count = 1;
    step.done = probe_done;
    step.ctx = &again->outcomes;
    return crier_emit_atomic(bus, &invoice, 1, &step);
}

Test(exactly_once, what_fails_comes_again_and_nothing_overtakes_it)
{
    struct broker *broker = broker_start(NULL);
    crier *bus = open_bus(broker);
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_listen_options read = crier_listen_options_default();
    static struct again again;
    struct probe errors, invoices;
    probe_init(&again.outcomes);
    probe_init(&errors);
    probe_init(&invoices);
    topic_make(bus, "orders", 1);
    topic_make(bus, "invoices", 1);
    orders_emit(bus, 10);
    cr_assert_eq(crier_on(bus, "error", probe_handler, &errors), 0);
    read.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&invoices, bus, "invoices", &read, NULL));
    listen.group = "g";
    listen.from = CRIER_EARLIEST;
    listen.commits_atomically = true;
    cr_assert_eq(crier_listen(bus, "orders", &listen, on_again, &again, NULL), 0);
    cr_assert(probe_wait(&invoices, &invoices.event_count, 10));
    cr_assert_eq(crier_off(bus, "orders", on_again, &again), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(position_of(bus), 10);
    for (size_t i = 0; i < 10; i++) {
        int number = 0;
        cr_assert_eq(sscanf(invoices.events[i].value, "invoice for order %d", &number), 1);
        cr_assert_eq(number, (int)i + 1, "in their order");
    }
    assert_invoices(bus, "invoices", 1, 1, 10);
    cr_assert_eq(errors.event_count, 1, "the handler that failed was told");
    cr_assert_geq(again.outcomes.done_failed, 1);
    (void)crier_close(bus);
    probe_finish(&again.outcomes);
    probe_finish(&errors);
    probe_finish(&invoices);
    cr_assert_eq(broker_destroy(broker), 0);
}
