/* kafka.c: Apache Kafka through librdkafka: one partition, acks=all, batches as librdkafka makes them by default.
 *
 * Thread:      main of each worker produces, polls or consumes; librdkafka's threads send and receive.
 * Happy path:  prepare makes the topic -> produce, delivery reports counted -> the consumer, assigned from the start, notes
 *              what it is given in batches.
 * Failures:    a report or a message with an error: said, exit 1.
 *
 * What an acknowledgement means is the server's configuration: the page cache by default, the disk with
 * log.flush.interval.messages=1. */
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <librdkafka/rdkafka.h>
#include <string.h>

#define BATCH        1000 /* messages asked of librdkafka at once */
#define POLL_MS      100
#define FLUSH_MS     60000
#define PARTITION    0
#define QUEUE_EVENTS "200000" /* what a producer may have unconfirmed */

static int fail(const char *what, const char *why)
{
    return command_failed("kafka: %s: %s", what, why);
}

static rd_kafka_t *open_kafka(const struct bench *bench, rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char error[256];
    const char *const settings[][2] = {
        {"bootstrap.servers", bench->options->url},
        {"broker.address.family", "v4"},
        {type == RD_KAFKA_PRODUCER ? "acks" : "group.id", type == RD_KAFKA_PRODUCER ? "all" : "bench"}};

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error, sizeof(error)) == RD_KAFKA_CONF_OK)
            continue;
        fail("configuring", error);
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_t *kafka = rd_kafka_new(type, conf, error, sizeof(error));
    if (kafka == NULL) {
        fail("opening", error);
        rd_kafka_conf_destroy(conf);
    }
    return kafka;
}

/* ---- the topic ---- */

static int topic_result(rd_kafka_event_t *event)
{
    size_t count = 0;

    if (event == NULL)
        return fail("making the topic", "no answer");
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail("making the topic", rd_kafka_event_error_string(event));
    const rd_kafka_topic_result_t *const *results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    if (count != 1 || rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail("making the topic",
                    count == 1 ? rd_kafka_topic_result_error_string(results[0]) : "no result");
    return STATUS_DONE;
}

static int prepare(struct bench *bench)
{
    char error[256];
    rd_kafka_t *kafka = open_kafka(bench, RD_KAFKA_PRODUCER, rd_kafka_conf_new());

    if (kafka == NULL)
        return STATUS_FAILED;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(bench->topic, 1, 1, error, sizeof(error));
    rd_kafka_CreateTopics(kafka, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, FLUSH_MS);
    int status = topic_result(event);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(kafka); /* its threads end with it: from here on it is safe to fork */
    return status;
}

/* ---- producing ---- */

struct publisher {
    struct load load;
    rd_kafka_t *kafka;
    rd_kafka_topic_t *topic;
    uint64_t reported;
    int status;
};

static void on_report(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *ctx)
{
    struct publisher *publisher = ctx;

    (void)kafka;
    publisher->reported++;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && publisher->status == STATUS_DONE)
        publisher->status = fail("a message was not stored", rd_kafka_err2str(message->err));
}

/* Waits for room when librdkafka's queue is full. */
static int publish(struct publisher *publisher)
{
    const struct load *load = &publisher->load;

    while (rd_kafka_produce(publisher->topic, PARTITION, RD_KAFKA_MSG_F_COPY, load->value,
                            load->bench->options->event_size, NULL, 0, NULL) < 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return fail("producing", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(publisher->kafka, POLL_MS);
    }
    return STATUS_DONE;
}

static int publish_all(struct publisher *publisher)
{
    while (publisher->status == STATUS_DONE && load_next(&publisher->load)) {
        int status = publish(publisher);
        if (status != STATUS_DONE)
            return status;
        if (publisher->load.next % BATCH == 0)
            rd_kafka_poll(publisher->kafka, 0);
    }
    if (rd_kafka_flush(publisher->kafka, FLUSH_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail("flushing", "not everything was confirmed");
    load_acked(&publisher->load);
    return publisher->status;
}

/* One in flight: the time of each. */
static int publish_singly(struct publisher *publisher)
{
    while (publisher->status == STATUS_DONE && load_next(&publisher->load)) {
        int64_t emitted_us = clock_monotonic_us();
        uint64_t before = publisher->reported;
        int status = publish(publisher);
        if (status != STATUS_DONE)
            return status;
        while (publisher->reported == before)
            rd_kafka_poll(publisher->kafka, POLL_MS);
        if (publisher->status == STATUS_DONE)
            peer_confirmed(&publisher->load, emitted_us);
    }
    load_acked(&publisher->load);
    return publisher->status;
}

static int produce(const struct bench *bench, uint64_t number, struct worker *worker, bool singly)
{
    struct publisher publisher = {.status = STATUS_DONE};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_opaque(conf, &publisher);
    (void)rd_kafka_conf_set(conf, "queue.buffering.max.messages", QUEUE_EVENTS, NULL, 0);
    if (singly)
        (void)rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0);
    publisher.kafka = open_kafka(bench, RD_KAFKA_PRODUCER, conf);
    if (publisher.kafka == NULL || load_open(&publisher.load, bench, number) != STATUS_DONE)
        return STATUS_FAILED;
    publisher.topic = rd_kafka_topic_new(publisher.kafka, bench->topic, NULL);
    const rd_kafka_metadata_t *metadata = NULL; /* where the partition is, off the clock */
    int status = rd_kafka_metadata(publisher.kafka, 0, publisher.topic, &metadata, FLUSH_MS) ==
                         RD_KAFKA_RESP_ERR_NO_ERROR
                     ? STATUS_DONE
                     : fail("opening", "no metadata");
    if (metadata != NULL)
        rd_kafka_metadata_destroy(metadata);
    if (status == STATUS_DONE && worker_ready(worker))
        status = singly ? publish_singly(&publisher) : publish_all(&publisher);
    rd_kafka_topic_destroy(publisher.topic);
    rd_kafka_destroy(publisher.kafka);
    load_close(&publisher.load);
    return status;
}

static int producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return produce(bench, number, worker, false);
}

static int lone_producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    if (bench->options->connections != 1 || bench->options->in_flight != 1)
        return command_failed("kafka: emit has one connection with one message in flight");
    return produce(bench, number, worker, true);
}

/* ---- consuming ---- */

/* Notes what has come. Returns whether the last event was among it, or -1. */
static int note_batch(const struct bench *bench, uint64_t number, rd_kafka_message_t **messages,
                      ssize_t count)
{
    int finished = 0;

    for (ssize_t i = 0; i < count; i++) {
        if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            finished |= peer_note(bench, number, messages[i]->payload, messages[i]->len);
        else if (messages[i]->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && finished >= 0)
            finished = -1;
        rd_kafka_message_destroy(messages[i]);
    }
    return finished;
}

static int consume(const struct bench *bench, uint64_t number, rd_kafka_t *kafka)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(kafka);
    rd_kafka_message_t *messages[BATCH];
    int finished = 0;

    while (finished == 0) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, POLL_MS, messages, BATCH);
        finished = count < 0 ? -1 : note_batch(bench, number, messages, count);
    }
    rd_kafka_queue_destroy(queue);
    return finished > 0 ? STATUS_DONE : fail("consuming", "an error came");
}

static int assign(const struct bench *bench, rd_kafka_t *kafka)
{
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, bench->topic, PARTITION)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_resp_err_t rc = rd_kafka_assign(kafka, partitions);
    rd_kafka_topic_partition_list_destroy(partitions);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? STATUS_DONE : fail("assigning", rd_kafka_err2str(rc));
}

/* From the start of the topic, which is new: nothing can be missed, and a replay is the same. */
static int listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    rd_kafka_t *kafka = open_kafka(bench, RD_KAFKA_CONSUMER, rd_kafka_conf_new());
    int status = kafka != NULL ? STATUS_DONE : STATUS_FAILED;

    if (status == STATUS_DONE)
        (void)rd_kafka_poll_set_consumer(kafka);
    if (status == STATUS_DONE && worker_ready(worker) && (status = assign(bench, kafka)) == STATUS_DONE)
        status = consume(bench, number, kafka);
    if (kafka != NULL) {
        rd_kafka_consumer_close(kafka);
        rd_kafka_destroy(kafka);
    }
    return status;
}

/* ---- the table ---- */

static int fill(struct bench *bench)
{
    int status = prepare(bench);
    return status == STATUS_DONE ? bench_fill(bench, producer) : status;
}

static int fill_backlog(struct bench *bench)
{
    int status = prepare(bench);
    return status == STATUS_DONE ? bench_fill_backlog(bench, producer) : status;
}

static int stored(struct bench *bench, uint64_t *ret_count)
{
    rd_kafka_t *kafka = open_kafka(bench, RD_KAFKA_PRODUCER, rd_kafka_conf_new());
    int64_t low = 0, high = 0;
    bool ok = kafka != NULL && rd_kafka_query_watermark_offsets(kafka, bench->topic, PARTITION, &low, &high,
                                                                FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;

    *ret_count = (uint64_t)(high - low);
    if (kafka != NULL)
        rd_kafka_destroy(kafka);
    return ok ? STATUS_DONE : fail("counting", "no offsets");
}

static const struct bench_workload e2e = {
    .name = "e2e", .prepare = prepare, .producer = producer, .listener = listener};
static const struct bench_workload emit = {
    .name = "emit", .prepare = prepare, .producer = lone_producer, .stored = stored};
static const struct bench_workload replay = {.name = "replay", .prepare = fill, .listener = listener};
static const struct bench_workload drain = {
    .name = "drain", .backlog = true, .prepare = fill_backlog, .producer = producer, .listener = listener};
static const struct bench_workload *const workloads[] = {&e2e, &emit, &replay, &drain, NULL};

const struct peer kafka_peer = {
    .name = "kafka", .about = "Apache Kafka (librdkafka)", .workloads = workloads};
