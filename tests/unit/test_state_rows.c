/* test_state_rows.c: rows that are read in line say what the library's unpacking says, whatever is in the bytes. */
#include "base/check.h"
#include "base/random.h"
#include "proto/state_rows.h"

#include <criterion/criterion.h>
#include <string.h>

enum { ROUNDS = 4000, BYTES_MAX = 512 };

typedef const ProtobufCMessage *row_reader(const uint8_t *bytes, size_t size);

static const ProtobufCMessage *read_topic(const uint8_t *bytes, size_t size)
{
    static State__TopicRow row;
    static struct topic_row_parts parts;
    return topic_row_read(bytes, size, &row, &parts) ? &row.base : NULL;
}

static const ProtobufCMessage *read_partition(const uint8_t *bytes, size_t size)
{
    static State__PartitionRow row;
    return partition_row_read(bytes, size, &row) ? &row.base : NULL;
}

static const ProtobufCMessage *read_producer(const uint8_t *bytes, size_t size)
{
    static State__ProducerRow row;
    return producer_row_read(bytes, size, &row) ? &row.base : NULL;
}

static const ProtobufCMessage *read_position(const uint8_t *bytes, size_t size)
{
    static State__PositionRow row;
    return position_row_read(bytes, size, &row) ? &row.base : NULL;
}

/* If it was read in line, the library reads the same; a message's bytes are what is compared. */
static bool check_same(row_reader *read, const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                       size_t size)
{
    uint8_t copy[BYTES_MAX]; /* of exactly that size at the end: what lies behind is not read */
    uint8_t *at = memcpy(copy + sizeof(copy) - size, bytes, size);
    const ProtobufCMessage *row = read(at, size);
    if (!row)
        return false;
    ProtobufCMessage *library = protobuf_c_message_unpack(type, NULL, size, bytes);
    cr_assert_not_null(library, "the library refuses what was read in line");
    uint8_t ours[2 * BYTES_MAX], theirs[2 * BYTES_MAX];
    size_t our_size = protobuf_c_message_pack(row, ours);
    cr_assert_eq(our_size, protobuf_c_message_pack(library, theirs));
    cr_assert_eq(memcmp(ours, theirs, our_size), 0);
    protobuf_c_message_free_unpacked(library, NULL);
    return true;
}

/* A number of any size, often none. */
static uint64_t number(struct random *random)
{
    uint64_t width = random_below(random, 80);
    return width < 16 ? 0 : random_next(random) >> (width - 16);
}

static size_t pack_topic(struct random *random, uint8_t *to)
{
    State__TopicSettings settings = STATE__TOPIC_SETTINGS__INIT;
    settings.durability = random_below(random, 2);
    settings.retention_time_us = number(random);
    settings.retention_bytes = number(random);
    settings.retention_count = number(random);
    settings.retain_until_consumed = random_below(random, 2);
    settings.retry_first_ms = (uint32_t)number(random);
    settings.retry_max_ms = (uint32_t)number(random);
    settings.deliveries = (uint32_t)number(random);
    settings.ephemeral = random_below(random, 2);
    settings.quota_events = number(random);
    settings.quota_bytes = number(random);
    uint64_t partitions[TOPIC_ROW_PARTITIONS_MAX];
    char name[TOPIC_ROW_NAME_MAX + 1];
    State__TopicRow row = STATE__TOPIC_ROW__INIT;
    size_t length = random_below(random, sizeof(name));
    memset(name, 'a' + (int)random_below(random, 26), length);
    name[length] = '\0';
    row.name = name;
    row.n_partitions = random_below(random, TOPIC_ROW_PARTITIONS_MAX + 1);
    row.partitions = partitions;
    for (size_t i = 0; i < row.n_partitions; i++)
        partitions[i] = number(random);
    row.created_us = (int64_t)number(random);
    row.settings = random_below(random, 5) ? &settings : NULL;
    return state__topic_row__pack(&row, to);
}

static size_t pack_partition(struct random *random, uint8_t *to)
{
    uint8_t id[16];
    memset(id, (int)random_below(random, 256), sizeof(id));
    State__PartitionRow row = STATE__PARTITION_ROW__INIT;
    row.topic = (ProtobufCBinaryData){random_below(random, 17), id};
    row.next_offset = number(random);
    row.log_start = number(random);
    row.bytes = number(random);
    return state__partition_row__pack(&row, to);
}

static size_t pack_producer(struct random *random, uint8_t *to)
{
    State__ProducerRow row = STATE__PRODUCER_ROW__INIT;
    row.epoch = (uint32_t)number(random);
    row.last_sequence = (uint32_t)number(random);
    row.last_base_sequence = (uint32_t)number(random);
    row.last_base_offset = number(random);
    row.last_used_us = (int64_t)number(random);
    return state__producer_row__pack(&row, to);
}

static size_t pack_position(struct random *random, uint8_t *to)
{
    State__PositionRow row = STATE__POSITION_ROW__INIT;
    row.offset = number(random);
    return state__position_row__pack(&row, to);
}

/* Some bytes changed, taken out, or put in. */
static size_t damage(struct random *random, uint8_t *bytes, size_t size)
{
    for (uint64_t count = 1 + random_below(random, 3); count > 0 && size > 0; count--) {
        size_t at = random_below(random, size);
        uint64_t how = random_below(random, 4);
        if (how == 0) {
            size = at;
        } else if (how == 1 && size < BYTES_MAX - 1) {
            memmove(bytes + at + 1, bytes + at, size++ - at);
            bytes[at] = (uint8_t)(random_below(random, 2) ? 0x80 : random_next(random));
        } else {
            bytes[at] = (uint8_t)(how == 2 ? random_next(random) : bytes[at] ^ 1u << random_below(random, 8));
        }
    }
    return size;
}

static void check_rows(size_t (*pack)(struct random *random, uint8_t *to), row_reader *read,
                       const ProtobufCMessageDescriptor *type)
{
    struct random random = random_seeded(20260);
    unsigned damaged = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t bytes[BYTES_MAX];
        size_t size = pack(&random, bytes);
        CHECK(size < BYTES_MAX);
        cr_assert(check_same(read, type, bytes, size), "what crier writes is read in line");
        size = damage(&random, bytes, size);
        damaged += check_same(read, type, bytes, size);
    }
    cr_assert_gt(damaged, ROUNDS / 50, "damage that still is a message was among it");
    cr_assert_lt(damaged, ROUNDS);
}

Test(state_rows, topics_are_what_the_library_says)
{
    check_rows(pack_topic, read_topic, &state__topic_row__descriptor);
}

Test(state_rows, partitions_are_what_the_library_says)
{
    check_rows(pack_partition, read_partition, &state__partition_row__descriptor);
}

Test(state_rows, producers_are_what_the_library_says)
{
    check_rows(pack_producer, read_producer, &state__producer_row__descriptor);
}

Test(state_rows, positions_are_what_the_library_says)
{
    check_rows(pack_position, read_position, &state__position_row__descriptor);
}

Test(state_rows, what_is_not_read_in_line_is_left_to_the_library)
{
    uint8_t bytes[BYTES_MAX];
    State__TopicSettings settings = STATE__TOPIC_SETTINGS__INIT;
    settings.dead_letter = (char *)(uintptr_t) "lost";
    uint64_t partitions[TOPIC_ROW_PARTITIONS_MAX + 1] = {0};
    State__TopicRow topic = STATE__TOPIC_ROW__INIT;
    topic.settings = &settings;
    cr_assert_null(read_topic(bytes, state__topic_row__pack(&topic, bytes)), "a dead-letter topic");
    topic.settings = NULL;
    topic.partitions = partitions;
    topic.n_partitions = TOPIC_ROW_PARTITIONS_MAX + 1;
    cr_assert_null(read_topic(bytes, state__topic_row__pack(&topic, bytes)), "many partitions");
    State__RecentSchedule recent = STATE__RECENT_SCHEDULE__INIT, *pointer = &recent;
    State__ProducerRow producer = STATE__PRODUCER_ROW__INIT;
    producer.n_recent = 1;
    producer.recent = &pointer;
    cr_assert_null(read_producer(bytes, state__producer_row__pack(&producer, bytes)), "schedules");
}
