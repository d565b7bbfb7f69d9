/* test_client_flow.c: bounds and ends: full buffers, slow handlers, flushing and closing. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(client_flow, a_full_buffer_says_eagain_and_drain_follows)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = crier_options_default();
    struct crier_stats stats;
    struct probe probe;
    char value[1000];
    crier *bus;
    int accepted = 0, rc;
    cr_assert_not_null(broker);
    probe_init(&probe);
    memset(value, 'x', sizeof(value));
    options.buffer_size_max = 1 << 20;
    options.drain = probe_drain;
    options.ctx = &probe;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    kill(broker_pid(broker), SIGSTOP); /* it takes nothing any more */
    while ((rc = crier_emit(bus, "t", value, sizeof(value))) == 0)
        accepted++;
    cr_assert_eq(rc, CRIER_EAGAIN);
    cr_assert_gt(accepted, 900);
    crier_stats(bus, &stats);
    cr_assert_leq(stats.pending_bytes, 1 << 20);
    kill(broker_pid(broker), SIGCONT);
    cr_assert(probe_wait(&probe, &probe.drains, 1));
    cr_assert_eq(crier_emit(bus, "t", value, sizeof(value)), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    crier_stats(bus, &stats);
    cr_assert_eq(stats.acked, (uint64_t)accepted + 1);
    cr_assert_eq(stats.pending_bytes, 0);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_flow, emit_can_block_instead)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = crier_options_default();
    struct crier_stats stats;
    char value[1000];
    crier *bus;
    cr_assert_not_null(broker);
    memset(value, 'x', sizeof(value));
    options.buffer_size_max = 1 << 20;
    options.emit_blocks = true;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    for (int i = 0; i < 10000; i++) /* ten times the buffer */
        cr_assert_eq(crier_emit(bus, "t", value, sizeof(value)), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    crier_stats(bus, &stats);
    cr_assert_eq(stats.acked, 10000);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_flow, close_flushes)
{
    struct broker *broker = broker_start(NULL);
    struct crier_listen_options earliest = crier_listen_options_default();
    struct probe probe;
    crier *bus;
    cr_assert_not_null(broker);
    probe_init(&probe);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    for (int i = 0; i < 5000; i++)
        cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    earliest.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&probe, bus, "t", &earliest, NULL));
    cr_assert(probe_wait(&probe, &probe.event_count, 5000));
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(probe.released, 1);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_flow, close_without_a_broker_gives_up_in_time_and_tells_every_emit)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = crier_options_default();
    struct crier_emit_options emit = crier_emit_options_default();
    struct probe probe;
    crier *bus;
    cr_assert_not_null(broker);
    probe_init(&probe);
    options.close_timeout_ms = 100;
    options.connection = probe_connection;
    options.ctx = &probe;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    broker_kill(broker);
    cr_assert(probe_wait(&probe, &probe.disconnections, 1));
    emit.done = probe_done;
    emit.ctx = &probe;
    for (int i = 0; i < 10; i++)
        cr_assert_eq(crier_emit_with(bus, "t", "x", 1, &emit), 0);
    cr_assert_eq(crier_flush(bus, 50), CRIER_ETIMEDOUT);
    cr_assert_eq(crier_close(bus), CRIER_ETIMEDOUT);
    cr_assert_eq(probe.done_count, 10);
    cr_assert_eq(probe.last_code, CRIER_ECLOSED);
    probe_finish(&probe);
    broker_destroy(broker);
}

/* ---- a slow handler ---- */

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    struct probe *probe;
};

static int on_event_behind_gate(crier *bus, const crier_event *event, void *ctx)
{
    struct gate *gate = ctx;
    pthread_mutex_lock(&gate->lock);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    return probe_handler(bus, event, gate->probe);
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0, resident = 0;
    cr_assert_eq(fscanf(file, "%lu %lu", &pages, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

Test(client_flow, a_listener_takes_no_more_than_its_credit_before_handling)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = crier_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct crier_listener_stats stats;
    struct probe probe;
    crier_listener *listener;
    crier *emitter, *bus;
    char value[1000];
    enum { COUNT = 30000 };
    cr_assert_not_null(broker);
    probe_init(&probe);
    memset(value, 'x', sizeof(value));
    gate.probe = &probe;
    options.emit_blocks = true;
    cr_assert_eq(crier_open(broker_url(broker), &options, &emitter), 0);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    listen.credit = 1 << 20;
    listen.from = CRIER_EARLIEST;
    size_t before = resident_bytes();
    cr_assert_eq(crier_listen(bus, "t", &listen, on_event_behind_gate, &gate, &listener), 0);
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(crier_emit(emitter, "t", value, sizeof(value)), 0);
    cr_assert_eq(crier_flush(emitter, -1), 0);
    cr_assert_eq(crier_close(emitter), 0); /* frees what it had */
    cr_assert_eq(crier_listener_stats(listener, &stats), 0);
    cr_assert_eq(stats.delivered, 0);
    size_t grown = resident_bytes() > before ? resident_bytes() - before : 0;
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
    cr_assert_lt(grown, 24u << 20, "%zu bytes for 30 MB waiting", grown);
#endif
    (void)grown;
    gate_open(&gate);
    cr_assert(probe_wait(&probe, &probe.event_count, COUNT));
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_flow, a_question_times_out_though_a_handler_holds_the_io_thread)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = crier_options_default();
    struct crier_listen_options earliest = crier_listen_options_default();
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct probe probe;
    crier *bus;
    int64_t us;
    cr_assert_not_null(broker);
    probe_init(&probe);
    gate.probe = &probe;
    options.request_timeout_ms = 50;
    earliest.from = CRIER_EARLIEST;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(crier_listen(bus, "t", &earliest, on_event_behind_gate, &gate, NULL), 0);
    while (crier_ping(bus, &us) == 0) /* until the handler stands at the gate */
        continue;
    gate_open(&gate);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    cr_assert_eq(crier_ping(bus, &us), 0); /* the one given up is answered by now, to nobody */
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_flow, thousands_of_topics_are_served_by_one_bus)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = crier_options_default();
    struct crier_stats stats;
    char topic[32];
    crier *bus;
    cr_assert_not_null(broker);
    options.emit_blocks = true;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 2000; i++) {
            snprintf(topic, sizeof(topic), "topic.%d", i);
            cr_assert_eq(crier_emit(bus, topic, "x", 1), 0);
        }
    cr_assert_eq(crier_flush(bus, -1), 0);
    crier_stats(bus, &stats);
    cr_assert_eq(stats.acked, 4000);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(broker_destroy(broker), 0);
}
