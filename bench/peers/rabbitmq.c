/* rabbitmq.c: a RabbitMQ quorum queue through librabbitmq: publisher confirms, acknowledgements by the consumer.
 *
 * Thread:      main of each worker.
 * Happy path:  prepare declares the queue; publish, at most WINDOW unconfirmed, reading confirms as they come; consume
 *              with a prefetch of WINDOW, acknowledging many at once.
 *              Members (`shared`): so many consumers of the queue, which share its messages, and acknowledge each by itself.
 * Failures:    a lost connection, a nack: said, exit 1. `e2e` has one listener: those of a queue share its messages. */
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <string.h>
#include <sys/time.h>

#define CHANNEL   1
#define WINDOW    2000 /* messages published and not confirmed; more did not help */
#define PREFETCH  2000
#define ACK_EVERY 500
#define LOOK_US   10000 /* between two looks at whether all has come */
#define SETTLE_US                                                                                            \
    500000 /* off the clock: an acknowledgement is answered by nothing, and lost if its channel ends too soon */

static int fail(const char *what)
{
    return command_failed("rabbitmq: %s failed", what);
}

static bool rpc_ok(amqp_connection_state_t rabbit)
{
    return amqp_get_rpc_reply(rabbit).reply_type == AMQP_RESPONSE_NORMAL;
}

static amqp_connection_state_t open_rabbit(const struct bench *bench)
{
    struct peer_address address = peer_address(bench);
    amqp_connection_state_t rabbit = amqp_new_connection();
    amqp_socket_t *socket = rabbit != NULL ? amqp_tcp_socket_new(rabbit) : NULL;

    if (socket != NULL && amqp_socket_open(socket, address.host, address.port) == AMQP_STATUS_OK &&
        amqp_login(rabbit, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type ==
            AMQP_RESPONSE_NORMAL) {
        amqp_channel_open(rabbit, CHANNEL);
        if (rpc_ok(rabbit))
            return rabbit;
    }
    fail("connecting");
    if (rabbit != NULL)
        amqp_destroy_connection(rabbit);
    return NULL;
}

static void close_rabbit(amqp_connection_state_t rabbit)
{
    amqp_connection_close(rabbit, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(rabbit);
}

static int declare(const struct bench *bench, bool passive, uint64_t *ret_count)
{
    amqp_connection_state_t rabbit = open_rabbit(bench);
    amqp_table_entry_t entry = {
        .key = amqp_cstring_bytes("x-queue-type"),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {.bytes = amqp_cstring_bytes("quorum")}}};
    amqp_table_t arguments = {.num_entries = passive ? 0 : 1, .entries = &entry};

    if (rabbit == NULL)
        return STATUS_FAILED;
    const amqp_queue_declare_ok_t *declared = amqp_queue_declare(
        rabbit, CHANNEL, amqp_cstring_bytes(bench->topic), passive, true, false, false, arguments);
    bool ok = declared != NULL && rpc_ok(rabbit);
    if (ok && ret_count != NULL)
        *ret_count = declared->message_count;
    close_rabbit(rabbit);
    return ok ? STATUS_DONE : fail("declaring the queue");
}

static int prepare(struct bench *bench)
{
    if (bench->options->listeners > 1 && bench->group == NULL)
        return command_failed("rabbitmq: one listener: those of a queue share its messages");
    return declare(bench, false, NULL);
}

static int stored(struct bench *bench, uint64_t *ret_count)
{
    return declare(bench, true, ret_count);
}

/* ---- publishing ---- */

struct publisher {
    amqp_connection_state_t rabbit;
    struct load *load;
    uint64_t published, confirmed;
};

static int publish(struct publisher *publisher)
{
    const struct bench *bench = publisher->load->bench;
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
    amqp_bytes_t body = {.len = bench->options->event_size, .bytes = publisher->load->value};

    if (amqp_basic_publish(publisher->rabbit, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(bench->topic),
                           false, false, &properties, body) != AMQP_STATUS_OK)
        return fail("publishing");
    publisher->published++;
    return STATUS_DONE;
}

/* Reads one confirm, waiting for it or not. *ret_got: there was one. */
static int take_confirm(struct publisher *publisher, bool wait, bool *ret_got)
{
    struct timeval none = {0, 0};
    amqp_frame_t frame;

    amqp_maybe_release_buffers(publisher->rabbit);
    int rc = amqp_simple_wait_frame_noblock(publisher->rabbit, &frame, wait ? NULL : &none);
    *ret_got = rc == AMQP_STATUS_OK;
    if (rc == AMQP_STATUS_TIMEOUT)
        return STATUS_DONE;
    if (rc != AMQP_STATUS_OK)
        return command_failed("rabbitmq: %s", amqp_error_string2(rc));
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        return fail("a confirm");
    const amqp_basic_ack_t *ack = frame.payload.method.decoded;
    if (ack->multiple)
        publisher->confirmed =
            ack->delivery_tag > publisher->confirmed ? ack->delivery_tag : publisher->confirmed;
    else
        publisher->confirmed++;
    return STATUS_DONE;
}

static int publish_all(struct publisher *publisher, uint64_t window)
{
    struct load *load = publisher->load;
    bool more = true, got = false;
    int status = STATUS_DONE;

    while (status == STATUS_DONE && (more || publisher->confirmed < publisher->published)) {
        uint64_t flying = publisher->published - publisher->confirmed;
        if (more && flying < window && (more = load_next(load)))
            status = publish(publisher);
        else if (flying > 0)
            status = take_confirm(publisher, true, &got);
        while (status == STATUS_DONE && got && publisher->confirmed < publisher->published)
            status = take_confirm(publisher, false, &got); /* those that came with it */
    }
    load_acked(load);
    return status;
}

/* One in flight: the time of each. */
static int publish_singly(struct publisher *publisher)
{
    int status = STATUS_DONE;
    bool got = false;

    while (status == STATUS_DONE && load_next(publisher->load)) {
        int64_t emitted_us = clock_monotonic_us();
        status = publish(publisher);
        if (status == STATUS_DONE)
            status = take_confirm(publisher, true, &got);
        if (status == STATUS_DONE)
            peer_confirmed(publisher->load, emitted_us);
    }
    load_acked(publisher->load);
    return status;
}

static int work(const struct bench *bench, uint64_t number, struct worker *worker, bool singly)
{
    struct load load;
    struct publisher publisher = {.rabbit = open_rabbit(bench), .load = &load};
    int status = publisher.rabbit != NULL ? load_open(&load, bench, number) : STATUS_FAILED;

    if (status != STATUS_DONE)
        return status;
    amqp_confirm_select(publisher.rabbit, CHANNEL);
    if (!rpc_ok(publisher.rabbit))
        status = fail("confirm.select");
    else if (worker_ready(worker))
        status = singly ? publish_singly(&publisher) : publish_all(&publisher, WINDOW);
    load_close(&load);
    close_rabbit(publisher.rabbit);
    return status;
}

static int producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return work(bench, number, worker, false);
}

static int lone_producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    if (bench->options->connections != 1 || bench->options->in_flight != 1)
        return command_failed("rabbitmq: emit has one connection with one message in flight");
    return work(bench, number, worker, true);
}

/* ---- consuming ---- */

static int consume(const struct bench *bench, uint64_t number, amqp_connection_state_t rabbit)
{
    bool finished = false;

    while (!finished) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(rabbit);
        if (amqp_consume_message(rabbit, &envelope, NULL, 0).reply_type != AMQP_RESPONSE_NORMAL)
            return fail("consuming");
        uint64_t tag = envelope.delivery_tag;
        finished = peer_note(bench, number, envelope.message.body.bytes, envelope.message.body.len);
        amqp_destroy_envelope(&envelope);
        if ((finished || tag % ACK_EVERY == 0) &&
            amqp_basic_ack(rabbit, CHANNEL, tag, true) != AMQP_STATUS_OK)
            return fail("acknowledging");
    }
    return STATUS_DONE;
}

/* Until all have come to some member, and the queue has had time to take the acknowledgements; one for each. */
static int consume_shared(const struct bench *bench, uint64_t number, amqp_connection_state_t rabbit)
{
    for (int64_t until_us = INT64_MAX; clock_monotonic_us() < until_us;) {
        if (until_us == INT64_MAX && bench_group_finished(bench))
            until_us = clock_monotonic_us() + SETTLE_US;
        struct timeval look = {0, LOOK_US};
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(rabbit);
        amqp_rpc_reply_t reply = amqp_consume_message(rabbit, &envelope, &look, 0);
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT)
            continue;
        if (reply.reply_type != AMQP_RESPONSE_NORMAL)
            return fail("consuming");
        uint64_t tag = envelope.delivery_tag;
        peer_note(bench, number, envelope.message.body.bytes, envelope.message.body.len);
        amqp_destroy_envelope(&envelope);
        if (amqp_basic_ack(rabbit, CHANNEL, tag, false) != AMQP_STATUS_OK)
            return fail("acknowledging");
    }
    return STATUS_DONE;
}

static int work_consumer(const struct bench *bench, uint64_t number, struct worker *worker, uint16_t prefetch,
                         int (*consumer)(const struct bench *, uint64_t, amqp_connection_state_t))
{
    amqp_connection_state_t rabbit = open_rabbit(bench);
    int status = STATUS_DONE;

    if (rabbit == NULL)
        return STATUS_FAILED;
    amqp_basic_qos(rabbit, CHANNEL, 0, prefetch, false);
    amqp_basic_consume(rabbit, CHANNEL, amqp_cstring_bytes(bench->topic), amqp_empty_bytes, false, false,
                       false, amqp_empty_table);
    if (!rpc_ok(rabbit))
        status = fail("basic.consume");
    else if (worker_ready(worker))
        status = consumer(bench, number, rabbit);
    close_rabbit(rabbit);
    return status;
}

static int listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return work_consumer(bench, number, worker, PREFETCH, consume);
}

static int member(const struct bench *bench, uint64_t number, struct worker *worker)
{
    if (bench->options->in_flight > UINT16_MAX)
        return command_failed("rabbitmq: a prefetch is 65535 at most");
    return work_consumer(bench, number, worker, (uint16_t)bench->options->in_flight, consume_shared);
}

static const struct bench_workload e2e = {
    .name = "e2e", .prepare = prepare, .producer = producer, .listener = listener};
static const struct bench_workload emit = {
    .name = "emit", .prepare = prepare, .producer = lone_producer, .stored = stored};
static const struct bench_workload shared = {.name = "shared",
                                             .group = true,
                                             .prepare = prepare,
                                             .producer = producer,
                                             .listener = member,
                                             .unsettled = stored};
static const struct bench_workload *const workloads[] = {&e2e, &emit, &shared, NULL};

const struct peer rabbitmq_peer = {
    .name = "rabbitmq", .about = "RabbitMQ quorum queue (librabbitmq)", .workloads = workloads};
