/* seeds.c: one valid input for every kind of frame, and batches of every shape and codec. See fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"
#include "tests/support/events.h"

#include <string.h>

/* ---- batches ---- */

size_t seed_batch(unsigned number, uint8_t to[SEED_SIZE_MAX])
{
    static const enum batch_codec codecs[] = {BATCH_NONE, BATCH_LZ4, BATCH_ZSTD};
    static const int counts[] = {1, 3, 20};
    if (number >= ARRAY_SIZE(codecs) * ARRAY_SIZE(counts))
        return 0;
    uint8_t plain[SEED_SIZE_MAX];
    struct random random = random_seeded(number + 1);
    struct batch_builder builder;
    batch_builder_init(&builder, plain, sizeof(plain));
    for (int i = 0; i < counts[number % ARRAY_SIZE(counts)]; i++) {
        struct test_event event = event_next(&random, 120);
        if (event_append(&builder, &event) < 0)
            break;
    }
    size_t size =
        batch_builder_finish(&builder, number % 2 ? 42 : -1, number % 2 ? 1 : -1, number % 2 ? 7 : -1);
    enum batch_codec codec = codecs[number / ARRAY_SIZE(counts)];
    int64_t packed = codec == BATCH_NONE ? 0 : batch_compress(plain, size, codec, to, SEED_SIZE_MAX);
    CHECK(packed >= 0);
    if (packed > 0)
        return (size_t)packed;
    memcpy(to, plain, size);
    return size;
}

/* ---- frames ---- */

static size_t frame_put(uint8_t *to, enum frame_kind kind, const ProtobufCMessage *header,
                        const uint8_t *attachment, size_t attachment_size)
{
    size_t header_size = protobuf_c_message_pack(header, to + FRAME_PREFIX_SIZE);
    frame_prefix_encode(to, kind, header_size, attachment_size);
    if (attachment)
        memcpy(to + FRAME_PREFIX_SIZE + header_size, attachment, attachment_size);
    return FRAME_PREFIX_SIZE + header_size + attachment_size;
}

static size_t seed_hello(uint8_t *to)
{
    uint8_t instance[16] = {1, 2, 3};
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.version = 1;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.name = (char[]){"inventory"};
    hello.producer_id = 1234567890123;
    return frame_put(to, FRAME_HELLO, &hello.base, NULL, 0);
}

static size_t seed_emit(uint8_t *to)
{
    uint8_t batches[SEED_SIZE_MAX];
    Wire__EmitPart parts[2] = {WIRE__EMIT_PART__INIT, WIRE__EMIT_PART__INIT};
    Wire__EmitPart *list[2] = {&parts[0], &parts[1]};
    parts[0].partition = 1;
    parts[0].size = (uint32_t)seed_batch(0, batches);
    parts[1].partition = 70000;
    parts[1].size = (uint32_t)seed_batch(1, batches + parts[0].size);
    Wire__Emit emit = WIRE__EMIT__INIT;
    emit.request = 1;
    emit.n_parts = 2;
    emit.parts = list;
    return frame_put(to, FRAME_EMIT, &emit.base, batches, parts[0].size + parts[1].size);
}

static size_t seed_listen(uint8_t *to)
{
    Wire__Position position = WIRE__POSITION__INIT, *list[1] = {&position};
    position.partition = 3;
    position.offset = 1u << 20;
    Wire__Listen listen = WIRE__LISTEN__INIT;
    listen.listener = 1;
    listen.topic = (char[]){"orders.placed"};
    listen.group = (char[]){"billing"};
    listen.from = WIRE__FROM__TIME;
    listen.from_value = -5;
    listen.n_resume = 1;
    listen.resume = list;
    listen.credit = 4u << 20;
    return frame_put(to, FRAME_LISTEN, &listen.base, NULL, 0);
}

static size_t seed_deliver(uint8_t *to)
{
    uint8_t batch[SEED_SIZE_MAX];
    size_t size = seed_batch(4, batch);
    Wire__Range range = WIRE__RANGE__INIT, *list[1] = {&range};
    range.delta = 1;
    range.count = 2;
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    deliver.listener = 1;
    deliver.partition = 3;
    deliver.high_watermark = 100;
    deliver.n_ranges = 1;
    deliver.ranges = list;
    return frame_put(to, FRAME_DELIVER, &deliver.base, batch, size);
}

static size_t seed_topics(uint8_t *to)
{
    Wire__PartitionInfo partition = WIRE__PARTITION_INFO__INIT, *partitions[1] = {&partition};
    partition.id = 9;
    partition.high_watermark = 77;
    Wire__TopicInfo topic = WIRE__TOPIC_INFO__INIT, *topics_list[1] = {&topic};
    topic.name = (char[]){"orders"};
    topic.n_partitions = 1;
    topic.partitions = partitions;
    Wire__Topics topics = WIRE__TOPICS__INIT;
    topics.request = 5;
    topics.n_topics = 1;
    topics.topics = topics_list;
    return frame_put(to, FRAME_TOPICS, &topics.base, NULL, 0);
}

static size_t seed_error(uint8_t *to)
{
    Wire__Error error = WIRE__ERROR__INIT;
    error.code = -7;
    error.text = (char[]){"out of place"};
    return frame_put(to, FRAME_ERROR, &error.base, NULL, 0);
}

static size_t seed_commit(uint8_t *to)
{
    Wire__Position position = WIRE__POSITION__INIT, *list[2] = {&position, &position};
    position.offset = 12;
    Wire__Commit commit = WIRE__COMMIT__INIT;
    commit.request = 2;
    commit.generation = UINT64_MAX;
    commit.n_positions = 2;
    commit.positions = list;
    return frame_put(to, FRAME_COMMIT, &commit.base, NULL, 0);
}

size_t seed_frame(unsigned number, uint8_t to[SEED_SIZE_MAX])
{
    static size_t (*const makers[])(uint8_t *) = {seed_hello,  seed_emit,  seed_listen, seed_deliver,
                                                  seed_topics, seed_error, seed_commit};
    return number < ARRAY_SIZE(makers) ? makers[number](to) : 0;
}
