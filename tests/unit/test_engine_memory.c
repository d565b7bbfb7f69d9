/* test_engine_memory.c: any one allocation of the engine fails, and still every event is told and stored once.
 *
 * The same hour of a client's life (topics, emits by key, a group that listens, a list of topics, the end) is lived again
 * and again, each time with the next allocation failing. The broker here is a small honest one: it numbers, tells
 * duplicates by their sequence, and allocates nothing, so that only the engine's memory fails. */
#include "base/check.h"
#include "client/engine.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"
#include "tests/support/allocation.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS    4 /* of the broker: 0 is topic "one", 1..3 are "three" */
#define EVENTS        24
#define STEPS_MAX     3000
#define WIRE_SIZE_MAX (1u << 20)

struct partition {
    int32_t sequence; /* expected next */
    int stored[EVENTS];
    int count;
};

struct life {
    struct engine *engine;
    int64_t now;
    bool connect_wanted, disconnected;
    struct partition partitions[PARTITIONS];
    int told[EVENTS], told_code[EVENTS]; /* per event: how often, and what */
    int heard, heard_wrong;
    int answers;
    bool released, delivered;
    bool assigned, given_back; /* partition 1 of the member */
    uint64_t position;         /* committed */
    struct {
        struct life *life;
        int number;
    } contexts[EVENTS];
    uint8_t wire[WIRE_SIZE_MAX]; /* from the engine */
    size_t wire_size;
    uint8_t batch[4096]; /* what is delivered: the numbers 0 .. 9 */
    size_t batch_size;
};

/* ---- what the engine calls ---- */

static void on_connect(void *ctx, unsigned endpoint)
{
    (void)endpoint;
    ((struct life *)ctx)->connect_wanted = true;
}

static void on_disconnect(void *ctx)
{
    ((struct life *)ctx)->disconnected = true;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    (void)ctx, (void)connected, (void)code, (void)text;
}

static void on_drain(void *ctx)
{
    (void)ctx;
}

static void on_released(void *ctx, crier_listener *listener)
{
    (void)listener;
    ((struct life *)ctx)->released = true;
}

static const struct engine_ops ops = {on_connect, on_disconnect, on_connection, on_drain, on_released};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    const __typeof__(((struct life *)NULL)->contexts[0]) *context = ctx;
    (void)bus, (void)offset;
    context->life->told[context->number]++;
    context->life->told_code[context->number] = code;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct life *life = ctx;
    (void)bus;
    life->heard_wrong += event->offset != (uint64_t)life->heard;
    life->heard++;
    return 0;
}

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    struct life *life = ctx;
    if (!answer->more)
        life->answers++;
}

/* ---- the broker ---- */

static void answer(struct life *life, enum frame_kind kind, const void *message, const uint8_t *data,
                   size_t size)
{
    static uint8_t frame[65536];
    size_t header = protobuf_c_message_get_packed_size(message), at = 0,
           total = FRAME_PREFIX_SIZE + header + size;
    if (life->disconnected)
        return;
    frame_prefix_encode(frame, kind, header, size);
    protobuf_c_message_pack(message, frame + FRAME_PREFIX_SIZE);
    if (size)
        memcpy(frame + FRAME_PREFIX_SIZE + header, data, size);
    while (at < total && !life->disconnected) {
        struct iovec space;
        if (engine_input(life->engine, &space) < 0) { /* as loop.c does: no memory to receive */
            life->disconnected = true;
            engine_disconnected(life->engine, life->now, CRIER_ENOMEM, "");
            return;
        }
        size_t part = total - at < space.iov_len ? total - at : space.iov_len;
        memcpy(space.iov_base, frame + at, part);
        engine_received(life->engine, part, life->now);
        at += part;
    }
}

static void broker_hello(struct life *life)
{
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    welcome.version = ENGINE_PROTOCOL_VERSION;
    welcome.producer_id = 5;
    welcome.grant = 1 << 24;
    answer(life, FRAME_WELCOME, &welcome, NULL, 0);
}

static void broker_topics(struct life *life, uint64_t request, const char *name)
{
    Wire__Topics topics = WIRE__TOPICS__INIT;
    Wire__TopicInfo info = WIRE__TOPIC_INFO__INIT, *infos = &info;
    Wire__PartitionInfo partitions[3], *pointers[3];
    bool three = strcmp(name, "three") == 0;
    for (unsigned i = 0; i < 3; i++) {
        wire__partition_info__init(&partitions[i]);
        partitions[i].id = three ? 1 + i : 0;
        pointers[i] = &partitions[i];
    }
    info.name = (char *)(uintptr_t)name;
    info.partitions = pointers;
    info.n_partitions = three ? 3 : 1;
    topics.request = request;
    topics.topics = &infos;
    topics.n_topics = 1;
    answer(life, FRAME_TOPICS, &topics, NULL, 0);
}

static int event_number(const struct batch_record *record)
{
    char text[16];
    snprintf(text, sizeof(text), "%.*s", (int)record->value.size, (const char *)record->value.data);
    return atoi(text);
}

static void broker_store(struct life *life, uint64_t id, const uint8_t *data, size_t size,
                         Wire__EmittedPart *part)
{
    struct partition *partition = &life->partitions[id];
    struct batch_header header;
    struct batch_iterator walk;
    struct batch_record record;
    cr_assert_lt(id, PARTITIONS);
    cr_assert_eq(batch_header_decode(data, size, &header), (int64_t)size);
    cr_assert(batch_crc_matches(data, size));
    wire__emitted_part__init(part);
    if (header.base_sequence + header.count <= partition->sequence) {
        part->duplicate = true;
        part->base_offset = -1;
        return;
    }
    if (header.base_sequence != partition->sequence) {
        part->outcome = WIRE__OUTCOME__REFUSED;
        part->code = CRIER_ESEQUENCE;
        return;
    }
    part->base_offset = partition->count;
    partition->sequence += header.count;
    cr_assert_eq(batch_iterator_init(&walk, data, size, 1 << 20), 0);
    while (batch_iterator_next(&walk, &record) > 0)
        partition->stored[partition->count++] = event_number(&record);
    batch_iterator_finish(&walk);
}

static void broker_emit(struct life *life, const Wire__Emit *emit, const uint8_t *data)
{
    Wire__Emitted emitted = WIRE__EMITTED__INIT;
    Wire__EmittedPart parts[PARTITIONS], *pointers[PARTITIONS];
    cr_assert_leq(emit->n_parts, PARTITIONS);
    for (size_t i = 0; i < emit->n_parts; i++) {
        broker_store(life, emit->parts[i]->partition, data, emit->parts[i]->size, &parts[i]);
        data += emit->parts[i]->size;
        pointers[i] = &parts[i];
    }
    emitted.request = emit->request;
    emitted.parts = pointers;
    emitted.n_parts = emit->n_parts;
    answer(life, FRAME_EMITTED, &emitted, NULL, 0);
}

/* Once in a connection, while events flow: partition 2 in exchange for 1. */
static void broker_assign(struct life *life, uint32_t listener)
{
    Wire__Assign assign = WIRE__ASSIGN__INIT;
    Wire__ListenPartition added = WIRE__LISTEN_PARTITION__INIT, *all_added = &added;
    uint64_t revoked = 1;
    if (life->assigned)
        return;
    life->assigned = true;
    added.partition = 2;
    assign.listener = listener;
    assign.generation = 1;
    assign.added = &all_added;
    assign.n_added = 1;
    assign.revoked = &revoked;
    assign.n_revoked = 1;
    answer(life, FRAME_ASSIGN, &assign, NULL, 0);
}

/* A member that begins with partition 0, where the events are, and 1, where none are. */
static void broker_listen(struct life *life, const Wire__Listen *listen)
{
    Wire__Listening listening = WIRE__LISTENING__INIT;
    Wire__ListenPartition partition = WIRE__LISTEN_PARTITION__INIT, other = partition;
    Wire__ListenPartition *partitions[] = {&partition, &other};
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    partition.next = listen->n_resume && listen->resume[0]->offset > life->position
                         ? listen->resume[0]->offset
                         : life->position;
    partition.high_watermark = 10;
    listening.listener = listen->listener;
    other.partition = 1;
    listening.partitions = partitions;
    listening.n_partitions = 2;
    listening.generation = 1;
    life->assigned = false;
    answer(life, FRAME_LISTENING, &listening, NULL, 0);
    deliver.listener = listen->listener;
    deliver.high_watermark = 10;
    answer(life, FRAME_DELIVER, &deliver, life->batch, life->batch_size);
    if (life->position == 10) /* no COMMIT will follow */
        broker_assign(life, listen->listener);
}

static void broker_frame(struct life *life, const struct frame *frame, const ProtobufCMessage *message)
{
    Wire__Ended ended = WIRE__ENDED__INIT;
    Wire__Committed committed = WIRE__COMMITTED__INIT;
    switch (frame->kind) {
    case FRAME_HELLO:
        broker_hello(life);
        break;
    case FRAME_TOPIC_DESCRIBE:
        broker_topics(life, ((const Wire__TopicDescribe *)message)->request,
                      ((const Wire__TopicDescribe *)message)->name);
        break;
    case FRAME_TOPIC_LIST:
        broker_topics(life, ((const Wire__TopicList *)message)->request, "one");
        break;
    case FRAME_EMIT:
        broker_emit(life, (const Wire__Emit *)message, frame->attachment);
        break;
    case FRAME_LISTEN:
        broker_listen(life, (const Wire__Listen *)message);
        break;
    case FRAME_COMMIT:
        life->position = ((const Wire__Commit *)message)->positions[0]->offset;
        committed.request = ((const Wire__Commit *)message)->request;
        answer(life, FRAME_COMMITTED, &committed, NULL, 0);
        broker_assign(life, ((const Wire__Commit *)message)->listener);
        break;
    case FRAME_RELEASE:
        life->given_back = ((const Wire__Release *)message)->partitions[0] == 1;
        break;
    case FRAME_UNLISTEN:
        ended.listener = ((const Wire__Unlisten *)message)->listener;
        answer(life, FRAME_ENDED, &ended, NULL, 0);
        break;
    default:
        break;
    }
}

static const ProtobufCMessageDescriptor *type_of(uint8_t kind)
{
    static const ProtobufCMessageDescriptor *const types[FRAME_ERROR + 1] = {
        [FRAME_HELLO] = &wire__hello__descriptor,
        [FRAME_EMIT] = &wire__emit__descriptor,
        [FRAME_LISTEN] = &wire__listen__descriptor,
        [FRAME_UNLISTEN] = &wire__unlisten__descriptor,
        [FRAME_CREDIT] = &wire__credit__descriptor,
        [FRAME_CREDIT_WANT] = &wire__credit_want__descriptor,
        [FRAME_CREDIT_RETURN] = &wire__credit_return__descriptor,
        [FRAME_COMMIT] = &wire__commit__descriptor,
        [FRAME_RELEASE] = &wire__release__descriptor,
        [FRAME_TOPIC_DESCRIBE] = &wire__topic_describe__descriptor,
        [FRAME_TOPIC_LIST] = &wire__topic_list__descriptor,
    };
    cr_assert_not_null(types[kind]);
    return types[kind];
}

/* Takes what the engine sends and answers it. Returns whether there was anything. */
static bool broker_turn(struct life *life)
{
    struct iovec pieces[16];
    struct frame frame;
    size_t count, at = 0;
    int64_t used;
    while ((count = engine_output(life->engine, pieces, 16, life->now)) > 0) {
        size_t size = 0;
        for (size_t i = 0; i < count; i++) {
            cr_assert_lt(life->wire_size + pieces[i].iov_len, WIRE_SIZE_MAX);
            memcpy(life->wire + life->wire_size, pieces[i].iov_base, pieces[i].iov_len);
            life->wire_size += pieces[i].iov_len;
            size += pieces[i].iov_len;
        }
        engine_output_consumed(life->engine, size);
    }
    while (!life->disconnected &&
           (used = frame_decode(life->wire + at, life->wire_size - at, FRAME_SIZE_MAX, &frame)) > 0) {
        ProtobufCMessage *message =
            protobuf_c_message_unpack(type_of(frame.kind), NULL, frame.header_size, frame.header);
        at += (size_t)used;
        broker_frame(life, &frame, message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    memmove(life->wire, life->wire + at, life->wire_size - at);
    life->wire_size -= at;
    return at > 0;
}

/* ---- a life ---- */

static void turn(struct life *life)
{
    if (engine_due(life->engine) <= life->now)
        engine_tick(life->engine, life->now);
    if (life->disconnected) {
        life->disconnected = false;
        life->wire_size = 0;
    }
    if (life->connect_wanted) {
        life->connect_wanted = false;
        engine_connected(life->engine, life->now);
    }
    engine_dispatch(life->engine, 3, life->now);
    engine_collect(life->engine, life->now);
    if (!broker_turn(life) && !engine_dispatch_pending(life->engine))
        life->now += 20000;
}

static void emit(struct life *life, int number)
{
    struct crier_emit_options options = crier_emit_options_default();
    char value[16], key[4];
    bool wake;
    int size = snprintf(value, sizeof(value), "%d", number), rc;
    life->contexts[number].life = life;
    life->contexts[number].number = number;
    options.key_size = (size_t)snprintf(key, sizeof(key), "%d", number % 5);
    options.key = key;
    options.done = on_done;
    options.ctx = &life->contexts[number];
    do
        rc = engine_emit(life->engine, number % 2 ? "three" : "one", value, (size_t)size, &options, 1000,
                         &wake);
    while (rc == CRIER_ENOMEM); /* nothing was emitted: the caller's to repeat */
    cr_assert_eq(rc, 0);
}

static struct crier_options options_for_test(void)
{
    struct crier_options options = crier_options_default();
    options.batch_size_max = 1024;
    options.compression = CRIER_COMPRESSION_LZ4;
    return options;
}

static void batch_make(struct life *life)
{
    struct batch_builder builder;
    batch_builder_init(&builder, life->batch, sizeof(life->batch));
    for (int i = 0; i < 10; i++)
        cr_assert_eq(batch_builder_append(&builder, 0, NULL, 0, "x", 1, NULL, 0), 0);
    life->batch_size = batch_builder_finish(&builder, -1, -1, -1);
}

static bool life_is_complete(const struct life *life)
{
    int told = 0;
    for (int i = 0; i < EVENTS; i++)
        told += life->told[i] > 0;
    return told == EVENTS && life->answers == 1 &&
           (life->released || (life->heard >= 10 && life->position == 10 && life->given_back));
}

/* Lives it with the allocation after `skip` others failing (UINT32_MAX: none). Returns the steps it took. */
static int live(struct life *life, unsigned skip)
{
    struct engine_config config = {.options = options_for_test(), .seed = 3, .endpoint_count = 1};
    struct crier_listen_options group = crier_listen_options_default();
    crier_listener *listener;
    int steps = 0;
    memset(life, 0, sizeof(*life));
    life->now = 1000000;
    batch_make(life);
    life->engine = engine_create(&config, &ops, life);
    cr_assert_not_null(life->engine);
    group.group = "g";
    cr_assert_eq(engine_listener_create(life->engine, "one", &group, on_event, life, &listener), 0);
    if (skip != UINT32_MAX)
        allocation_fail_after(skip);
    engine_start(life->engine, life->now);
    engine_listen(life->engine, listener);
    for (int i = 0; i < EVENTS; i++) {
        emit(life, i);
        if (i % 3 == 0)
            turn(life);
        if (i == EVENTS / 2 && engine_topic_list(life->engine, on_answer, life, life->now) < 0)
            cr_assert_eq(engine_topic_list(life->engine, on_answer, life, life->now), 0);
    }
    while (!life_is_complete(life) && steps++ < STEPS_MAX)
        turn(life);
    return steps;
}

static void check(const struct life *life, unsigned skip)
{
    int total = 0;
    for (int i = 0; i < EVENTS; i++)
        cr_assert_eq(life->told[i], 1, "allocation %u: event %d was told %d times", skip, i, life->told[i]);
    for (int p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = &life->partitions[p];
        for (int i = 1; i < partition->count; i++)
            cr_assert_lt(partition->stored[i - 1], partition->stored[i], "allocation %u: order", skip);
        total += partition->count;
    }
    int acked = 0;
    for (int i = 0; i < EVENTS; i++)
        acked += life->told_code[i] == 0;
    cr_assert_eq(total, acked, "allocation %u: %d stored, %d acked", skip, total, acked);
    cr_assert_eq(life->heard_wrong, 0, "allocation %u: heard out of order or twice", skip);
}

/* Did the failure that was ordered happen? If not, it meets one of these. */
static bool failure_was_hit(void)
{
    for (int i = 0; i < 2000; i++) {
        void *volatile block = malloc(1);
        if (!block)
            return false;
        free(block);
    }
    return true;
}

Test(engine_memory, whichever_allocation_fails_every_event_is_told_once_and_stored_once)
{
    static struct life life;
    unsigned skip = 0, released = 0;
    bool hit = true;
    long out;
    while (hit) {
        out = allocation_out();
        int steps = live(&life, skip);
        cr_assert_leq(steps, STEPS_MAX, "allocation %u: it never ended", skip);
        check(&life, skip);
        released += life.released; /* the listener itself could not be had: told, not forgotten */
        cr_assert(life.released || life.heard == 10, "allocation %u: %d heard", skip, life.heard);
        engine_destroy(life.engine);
        hit = failure_was_hit();
        allocation_never_fail();
        cr_assert_eq(allocation_out(), out, "allocation %u: something was not freed", skip);
        skip++;
    }
    cr_assert_gt(skip, 100, "a life has only %u allocations: this tested little", skip);
    cr_assert_leq(released, 2);
    live(&life, UINT32_MAX);
    check(&life, UINT32_MAX);
    for (int i = 0; i < EVENTS; i++)
        cr_assert_eq(life.told_code[i], 0);
    engine_destroy(life.engine);
}
