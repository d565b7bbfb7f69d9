/* test_kafka_batch.c: our batches are Kafka's batches: proved against librdkafka, both ways and with every codec.
 *
 *   its producer → its broker → raw bytes, fetched → our check and our iterator
 *   our builder → raw bytes, produced → its broker → its consumer, which checks the CRC
 *
 * The broker is the one that librdkafka brings for tests; it stores and returns batches as they are. */
#include "proto/batch.h"
#include "proto/murmur2.h"
#include "tests/support/events.h"
#include "tests/support/kafka_wire.h"

#include <criterion/criterion.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC       "crier-test"
#define EVENTS      2000
#define EVENT_SIZE  3000 /* of keys and values, at most */
#define BATCH_SIZE  (128 * 1024)
#define PATIENCE_MS 30000

static const struct batch_limits limits = {1 << 20, 1 << 20, 1 << 24};

struct codec {
    const char *name; /* as librdkafka calls it */
    enum batch_codec codec;
};
static const struct codec codecs[] = {{"none", BATCH_NONE}, {"lz4", BATCH_LZ4}, {"zstd", BATCH_ZSTD}};

/* ---- librdkafka ---- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];
    cr_assert_eq(rd_kafka_conf_set(conf, name, value, error, sizeof(error)), RD_KAFKA_CONF_OK, "%s", error);
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char error[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, error, sizeof(error));
    cr_assert_not_null(client, "%s", error);
    return client;
}

/* A client that hosts the broker, and the broker's address. */
struct broker {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    const char *bootstrap;
    struct kafka_wire wire;
};

static struct broker broker_start(void)
{
    struct broker broker;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "log_level", "3"); /* it would warn that it has no broker: it is to be one */
    broker.host = client_new(RD_KAFKA_PRODUCER, conf);
    broker.cluster = rd_kafka_mock_cluster_new(broker.host, 1);
    cr_assert_not_null(broker.cluster);
    broker.bootstrap = rd_kafka_mock_cluster_bootstraps(broker.cluster);
    cr_assert_eq(rd_kafka_mock_topic_create(broker.cluster, TOPIC, 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    cr_assert_eq(kafka_wire_connect(&broker.wire, broker.bootstrap), 0);
    return broker;
}

static void broker_stop(struct broker *broker)
{
    kafka_wire_close(&broker->wire);
    rd_kafka_mock_cluster_destroy(broker->cluster);
    rd_kafka_destroy(broker->host);
}

/* ---- its producer, our reader ---- */

static void produce_event(rd_kafka_t *producer, const struct test_event *event)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(event->header_count);
    for (size_t i = 0; i < event->header_count; i++) {
        const struct batch_pair *header = &event->headers[i];
        cr_assert_eq(rd_kafka_header_add(headers, header->key, (ssize_t)header->key_size, header->value,
                                         (ssize_t)header->value_size),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    rd_kafka_vu_t fields[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = TOPIC},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)event->key, event->key_size}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)event->value, event->value_size}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = event->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(producer, fields, sizeof(fields) / sizeof(fields[0]));
    cr_assert_null(error, "%s", rd_kafka_error_string(error));
}

static void produce_all(const struct broker *broker, const char *codec, bool idempotent, uint64_t seed)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", broker->bootstrap);
    set(conf, "compression.codec", codec);
    set(conf, "linger.ms", "20");
    set(conf, "batch.num.messages", "150");
    if (idempotent)
        set(conf, "enable.idempotence", "true");
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, conf);
    struct random random = random_seeded(seed);
    for (int i = 0; i < EVENTS; i++) {
        struct test_event event = event_next(&random, EVENT_SIZE);
        produce_event(producer, &event);
    }
    cr_assert_eq(rd_kafka_flush(producer, PATIENCE_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(producer);
}

struct reading {
    struct random random; /* the sequence of events expected */
    int64_t offset;       /* of the next one */
    int32_t sequence;     /* of the next one, when the producer is idempotent */
    int batches, compressed;
};

static void read_batch(struct reading *reading, const uint8_t *data, size_t size, bool idempotent)
{
    struct batch_header header;
    const char *why = NULL;
    cr_assert_eq(batch_validate(data, size, &limits, &header, &why), 0, "%s", why);
    cr_assert_eq(batch_validate_deep(data, size, &limits, &why), 0, "%s", why);
    cr_assert_eq(header.base_offset, reading->offset);
    cr_assert_eq(header.producer_id >= 0, idempotent);
    if (idempotent)
        cr_assert_eq(header.base_sequence, reading->sequence);
    reading->sequence += header.count;
    reading->batches++;
    reading->compressed += batch_header_codec(&header) != BATCH_NONE;

    struct batch_iterator iterator;
    struct batch_record record;
    int64_t latest_ms = 0;
    cr_assert_eq(batch_iterator_init(&iterator, data, size, limits.uncompressed_size_max), 0);
    for (int32_t i = 0; i < header.count; i++) {
        struct test_event event = event_next(&reading->random, EVENT_SIZE);
        cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
        const char *difference = event_differs(&event, &record);
        cr_assert_null(difference, "event %ld: %s", (long)reading->offset, difference);
        cr_assert_eq(record.offset, reading->offset++);
        if (i == 0 || record.timestamp_ms > latest_ms)
            latest_ms = record.timestamp_ms;
    }
    cr_assert_eq(batch_iterator_next(&iterator, &record), 0);
    cr_assert_eq(header.max_timestamp_ms, latest_ms);
    batch_iterator_finish(&iterator);
}

static struct reading read_all(struct broker *broker, uint64_t seed, bool idempotent)
{
    static uint8_t fetched[512 * 1024];
    struct reading reading = {.random = random_seeded(seed)};
    while (reading.offset < EVENTS) {
        int64_t size = kafka_wire_fetch(&broker->wire, TOPIC, 0, reading.offset, fetched, sizeof(fetched));
        cr_assert_gt(size, 0);
        for (int64_t at = 0; at < size;) {
            struct batch_header header;
            int64_t batch_size = batch_header_decode(fetched + at, (size_t)(size - at), &header);
            cr_assert_gt(batch_size, 0);
            read_batch(&reading, fetched + at, (size_t)batch_size, idempotent);
            at += batch_size;
        }
    }
    return reading;
}

static void check_its_batches(const struct codec *codec, bool idempotent)
{
    struct broker broker = broker_start();
    produce_all(&broker, codec->name, idempotent, 11);
    struct reading reading = read_all(&broker, 11, idempotent);
    cr_assert_gt(reading.batches, 5);
    if (codec->codec == BATCH_NONE)
        cr_assert_eq(reading.compressed, 0);
    else
        cr_assert_gt(reading.compressed, reading.batches / 2, "it did compress");
    broker_stop(&broker);
}

Test(kafka_batch, what_its_producer_writes_we_read, .timeout = 60)
{
    check_its_batches(&codecs[0], false);
}

Test(kafka_batch, what_its_producer_compresses_with_lz4_we_read, .timeout = 60)
{
    check_its_batches(&codecs[1], false);
}

Test(kafka_batch, what_its_producer_compresses_with_zstd_we_read, .timeout = 60)
{
    check_its_batches(&codecs[2], false);
}

Test(kafka_batch, what_its_idempotent_producer_numbers_we_read, .timeout = 60)
{
    check_its_batches(&codecs[0], true);
}

/* ---- our builder, its consumer ---- */

/* Builds a batch of the next events; returns its size and how many. */
static size_t build_batch(struct random *random, uint8_t *to, enum batch_codec codec, int left,
                          int *ret_count)
{
    static uint8_t plain[BATCH_SIZE];
    struct batch_builder builder;
    batch_builder_init(&builder, plain, sizeof(plain));
    while (builder.count < left) {
        struct random before = *random;
        struct test_event event = event_next(random, EVENT_SIZE);
        if (event_append(&builder, &event) == 0)
            continue;
        *random = before; /* it begins the next batch */
        break;
    }
    *ret_count = builder.count;
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    if (codec == BATCH_NONE) {
        memcpy(to, plain, size);
        return size;
    }
    int64_t packed = batch_compress(plain, size, codec, to, BATCH_SIZE);
    cr_assert_gt(packed, 0);
    return (size_t)packed;
}

static int send_all_events(struct broker *broker, enum batch_codec codec, uint64_t seed)
{
    static uint8_t batch[BATCH_SIZE];
    struct random random = random_seeded(seed);
    int batches = 0;
    for (int sent = 0, count; sent < EVENTS; sent += count, batches++) {
        size_t size = build_batch(&random, batch, codec, EVENTS - sent, &count);
        cr_assert_gt(count, 0);
        cr_assert_eq(kafka_wire_produce(&broker->wire, TOPIC, 0, batch, size), sent);
    }
    return batches;
}

/* Fails unless the message is the event, down to null and empty. */
static void compare_message(const struct test_event *event, const rd_kafka_message_t *message)
{
    cr_assert_eq(message->key == NULL, event->key == NULL, "null and empty keys differ");
    cr_assert_eq(message->key_len, event->key_size);
    cr_assert(event->key_size == 0 || memcmp(message->key, event->key, event->key_size) == 0);
    cr_assert_eq(message->payload == NULL, event->value == NULL, "null and empty values differ");
    cr_assert_eq(message->len, event->value_size);
    cr_assert(event->value_size == 0 || memcmp(message->payload, event->value, event->value_size) == 0);
    rd_kafka_timestamp_type_t type;
    cr_assert_eq(rd_kafka_message_timestamp(message, &type), event->timestamp_ms);
    cr_assert_eq(type, RD_KAFKA_TIMESTAMP_CREATE_TIME);

    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        headers = NULL;
    cr_assert_eq(headers ? rd_kafka_header_cnt(headers) : 0, event->header_count);
    for (size_t i = 0; i < event->header_count; i++) {
        const struct batch_pair *expected = &event->headers[i];
        const char *name;
        const void *value;
        size_t size;
        cr_assert_eq(rd_kafka_header_get_all(headers, i, &name, &value, &size), RD_KAFKA_RESP_ERR_NO_ERROR);
        cr_assert(strlen(name) == expected->key_size && memcmp(name, expected->key, expected->key_size) == 0);
        cr_assert_eq(value == NULL, expected->value == NULL);
        cr_assert_eq(size, expected->value_size);
        cr_assert(size == 0 || memcmp(value, expected->value, size) == 0);
    }
}

static void consume_all(const struct broker *broker, uint64_t seed)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", broker->bootstrap);
    set(conf, "check.crcs", "true");
    set(conf, "group.id", "proof");
    set(conf, "enable.auto.commit", "false");
    rd_kafka_t *consumer = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, TOPIC, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    cr_assert_eq(rd_kafka_assign(consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);

    struct random random = random_seeded(seed);
    for (int64_t offset = 0; offset < EVENTS; offset++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, PATIENCE_MS);
        cr_assert_not_null(message, "event %ld did not come", (long)offset);
        cr_assert_eq(message->err, RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_message_errstr(message));
        cr_assert_eq(message->offset, offset);
        struct test_event event = event_next(&random, EVENT_SIZE);
        compare_message(&event, message);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

static void check_our_batches(const struct codec *codec)
{
    struct broker broker = broker_start();
    cr_assert_gt(send_all_events(&broker, codec->codec, 22), 5);
    consume_all(&broker, 22);
    broker_stop(&broker);
}

Test(kafka_batch, what_we_build_its_consumer_reads, .timeout = 60)
{
    check_our_batches(&codecs[0]);
}

Test(kafka_batch, what_we_compress_with_lz4_its_consumer_reads, .timeout = 60)
{
    check_our_batches(&codecs[1]);
}

Test(kafka_batch, what_we_compress_with_zstd_its_consumer_reads, .timeout = 60)
{
    check_our_batches(&codecs[2]);
}

/* The consumer does look: a batch whose CRC is wrong by a bit is not delivered. */
Test(kafka_batch, what_we_damage_its_consumer_refuses, .timeout = 60)
{
    static uint8_t batch[BATCH_SIZE];
    struct broker broker = broker_start();
    struct random random = random_seeded(33);
    int count;
    size_t size = build_batch(&random, batch, BATCH_NONE, 20, &count);
    batch[size - 10] ^= 1;
    cr_assert_eq(kafka_wire_produce(&broker.wire, TOPIC, 0, batch, size), 0);

    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", broker.bootstrap);
    set(conf, "check.crcs", "true");
    set(conf, "group.id", "proof");
    rd_kafka_t *consumer = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, TOPIC, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    cr_assert_eq(rd_kafka_assign(consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, PATIENCE_MS);
    cr_assert_not_null(message);
    cr_assert_eq(message->err, RD_KAFKA_RESP_ERR__BAD_MSG, "%s", rd_kafka_err2str(message->err));
    rd_kafka_message_destroy(message);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    broker_stop(&broker);
}

/* ---- one key, one partition ---- */

Test(kafka_batch, a_key_goes_to_the_same_partition)
{
    struct random random = random_seeded(44);
    for (int i = 0; i < 5000; i++) {
        struct test_event event = event_next(&random, 300);
        int32_t partitions = 1 + (int32_t)random_below(&random, 1000);
        if (event.key)
            cr_assert_eq(
                (int32_t)murmur2_partition(event.key, event.key_size, (uint32_t)partitions),
                rd_kafka_msg_partitioner_murmur2(NULL, event.key, event.key_size, partitions, NULL, NULL));
    }
}
