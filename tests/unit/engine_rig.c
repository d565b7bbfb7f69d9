/* engine_rig.c: an engine on the bench. See engine_rig.h. */
#include "tests/unit/engine_rig.h"

#include "base/check.h"
#include "proto/batch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_US INT64_C(1000000)

/* ---- ops and callbacks ---- */

static void on_connect(void *ctx, unsigned endpoint)
{
    struct rig *rig = ctx;

    rig->connects++;
    rig->endpoint = endpoint;
}

static void on_disconnect(void *ctx)
{
    struct rig *rig = ctx;

    rig->disconnects++;
    rig->wire_size = 0;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    struct rig *rig = ctx;

    cr_assert_not_null(text);
    rig->connected = connected;
    rig->connection_code = code;
}

static void on_drain(void *ctx)
{
    ((struct rig *)ctx)->drains++;
}

static void on_released(void *ctx, crier_listener *listener)
{
    cr_assert_not_null(listener);
    ((struct rig *)ctx)->released++;
}

static const struct engine_ops ops = {.connect = on_connect,
                                      .disconnect = on_disconnect,
                                      .connection = on_connection,
                                      .drain = on_drain,
                                      .released = on_released};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct rig *rig = ctx;

    (void)bus;
    cr_assert_lt(rig->done_count, RIG_EVENTS_MAX);
    rig->done_codes[rig->done_count] = code;
    rig->done_offsets[rig->done_count++] = offset;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct rig *rig = ctx;

    (void)bus;
    cr_assert_lt(rig->event_count, RIG_EVENTS_MAX);
    snprintf(rig->events[rig->event_count], sizeof(rig->events[0]), "%.*s", (int)event->value_size,
             (const char *)event->value);
    rig->offsets[rig->event_count++] = event->offset;
    if (rig->handler_fails > 0 && --rig->handler_fails == 0)
        return rig->handler_result;
    return 0;
}

static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    struct rig *rig = ctx;

    (void)bus;
    cr_assert_str_eq(event->topic, "error");
    rig->error_count++;
    rig->error_code = event->error;
    snprintf(rig->error_text, sizeof(rig->error_text), "%.*s", (int)event->value_size,
             (const char *)event->value);
    return 0;
}

static void on_listener_released(void *ctx, int code, const char *text)
{
    struct rig *rig = ctx;

    cr_assert_not_null(text);
    rig->released_count++;
    rig->released_code = code;
}

static void on_listening(void *ctx)
{
    ((struct rig *)ctx)->listening_count++;
}

/* ---- life and turns ---- */

struct crier_options rig_options(void)
{
    struct crier_options options = crier_options_default();

    options.batch_size_max = 2048;
    options.buffer_size_max = 64 * 1024;
    options.reconnect_delay_ms_min = 100;
    options.reconnect_delay_ms_max = 400;
    options.listen_credit = 4096;
    return options;
}

void rig_init_endpoints(struct rig *rig, const struct crier_options *options, unsigned endpoint_count)
{
    struct engine_config config = {.options = options ? *options : rig_options(),
                                   .instance = "0123456789abcde",
                                   .seed = 1,
                                   .endpoint_count = endpoint_count};

    *rig = (struct rig){.now = START_US, .turn_dispatch_max = SIZE_MAX};
    rig->engine = engine_create(&config, &ops, rig);
    cr_assert_not_null(rig->engine);
    engine_start(rig->engine, rig->now);
}

void rig_init(struct rig *rig, const struct crier_options *options)
{
    rig_init_endpoints(rig, options, 1);
}

static void sent_free(struct sent *sent)
{
    protobuf_c_message_free_unpacked(sent->message, NULL);
    free(sent->attachment);
}

void rig_discard_taken(struct rig *rig)
{
    for (size_t i = 0; i < rig->sent_first; i++)
        sent_free(&rig->sent[i]);
    rig->sent_count -= rig->sent_first;
    memmove(rig->sent, rig->sent + rig->sent_first, rig->sent_count * sizeof(rig->sent[0]));
    rig->sent_first = 0;
}

void rig_finish(struct rig *rig)
{
    engine_destroy(rig->engine);
    rig->sent_first = rig->sent_count;
    rig_discard_taken(rig);
    free(rig->wire);
}

static const ProtobufCMessageDescriptor *type_of(uint8_t kind)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        [FRAME_HELLO] = &wire__hello__descriptor,
        [FRAME_EMIT] = &wire__emit__descriptor,
        [FRAME_LISTEN] = &wire__listen__descriptor,
        [FRAME_UNLISTEN] = &wire__unlisten__descriptor,
        [FRAME_CREDIT] = &wire__credit__descriptor,
        [FRAME_CREDIT_WANT] = &wire__credit_want__descriptor,
        [FRAME_CREDIT_RETURN] = &wire__credit_return__descriptor,
        [FRAME_COMMIT] = &wire__commit__descriptor,
        [FRAME_ACK] = &wire__ack__descriptor,
        [FRAME_NACK] = &wire__nack__descriptor,
        [FRAME_EXTEND] = &wire__extend__descriptor,
        [FRAME_REDRIVE] = &wire__redrive__descriptor,
        [FRAME_RELEASE] = &wire__release__descriptor,
        [FRAME_GROUP_LIST] = &wire__group_list__descriptor,
        [FRAME_GROUP_DESCRIBE] = &wire__group_describe__descriptor,
        [FRAME_GROUP_SEEK] = &wire__group_seek__descriptor,
        [FRAME_GROUP_DELETE] = &wire__group_delete__descriptor,
        [FRAME_TOPIC_CREATE] = &wire__topic_create__descriptor,
        [FRAME_TOPIC_ALTER] = &wire__topic_alter__descriptor,
        [FRAME_TOPIC_DESCRIBE] = &wire__topic_describe__descriptor,
        [FRAME_TOPIC_LIST] = &wire__topic_list__descriptor,
        [FRAME_PING] = &wire__ping__descriptor,
        [FRAME_PONG] = &wire__ping__descriptor,
        [FRAME_ERROR] = &wire__error__descriptor,
    };

    cr_assert_lt(kind, ARRAY_SIZE(types));
    cr_assert_not_null(types[kind], "a client does not send %s", frame_kind_name(kind));
    return types[kind];
}

static void frames_take(struct rig *rig)
{
    struct frame frame;
    int64_t used;
    size_t at = 0;

    while ((used = frame_decode(rig->wire + at, rig->wire_size - at, FRAME_SIZE_MAX, &frame)) > 0) {
        struct sent *sent = &rig->sent[rig->sent_count++];
        cr_assert_lt(rig->sent_count, RIG_SENT_MAX);
        sent->kind = frame.kind;
        sent->message = protobuf_c_message_unpack(type_of(frame.kind), NULL, frame.header_size, frame.header);
        cr_assert_not_null(sent->message);
        sent->attachment_size = frame.attachment_size;
        sent->attachment = malloc(frame.attachment_size + 1);
        if (frame.attachment_size)
            memcpy(sent->attachment, frame.attachment, frame.attachment_size);
        sent->frame_size = (size_t)used;
        at += (size_t)used;
    }
    cr_assert_eq(used, 0, "the engine sent bytes that are no frame");
    memmove(rig->wire, rig->wire + at, rig->wire_size - at);
    rig->wire_size -= at;
}

static void output_take(struct rig *rig)
{
    struct iovec pieces[8];
    size_t count;

    while ((count = engine_output(rig->engine, pieces, ARRAY_SIZE(pieces), rig->now)) > 0) {
        size_t size = 0;
        for (size_t i = 0; i < count; i++) {
            rig->wire = realloc(rig->wire, rig->wire_size + pieces[i].iov_len);
            memcpy(rig->wire + rig->wire_size, pieces[i].iov_base, pieces[i].iov_len);
            rig->wire_size += pieces[i].iov_len;
            size += pieces[i].iov_len;
        }
        engine_output_consumed(rig->engine, size);
    }
    if (rig->wire_size > 0)
        frames_take(rig);
}

void rig_turn(struct rig *rig)
{
    engine_dispatch(rig->engine, rig->turn_dispatch_max, rig->now);
    rig->progress = engine_collect(rig->engine, rig->now);
    output_take(rig);
    rig->progress = engine_collect(rig->engine, rig->now); /* what output settled */
}

void rig_wait(struct rig *rig, int64_t us)
{
    int64_t end = rig->now + us, due;

    rig_turn(rig);
    while ((due = engine_due(rig->engine)) <= end) {
        rig->now = due > rig->now ? due : rig->now;
        engine_tick(rig->engine, rig->now);
        rig_turn(rig);
    }
    rig->now = end;
    rig_turn(rig);
}

/* ---- the connection ---- */

void rig_connect(struct rig *rig)
{
    engine_connected(rig->engine, rig->now);
    rig_turn(rig);
}

void rig_welcome(struct rig *rig, uint64_t grant)
{
    Wire__Welcome welcome = WIRE__WELCOME__INIT;

    rig_expect(rig, FRAME_HELLO);
    welcome.version = ENGINE_PROTOCOL_VERSION;
    welcome.feature_level = ENGINE_FEATURE_LEVEL;
    welcome.producer_id = RIG_PRODUCER;
    welcome.grant = grant;
    welcome.frame_size_max = rig->frame_size_max;
    welcome.ping_interval_ms = 5000;
    welcome.idle_timeout_ms = 15000;
    rig_receive(rig, FRAME_WELCOME, &welcome, NULL, 0);
}

void rig_ready(struct rig *rig, uint64_t grant)
{
    rig_connect(rig);
    rig_welcome(rig, grant);
    cr_assert(rig->connected);
}

void rig_cut(struct rig *rig)
{
    rig->wire_size = 0;
    engine_disconnected(rig->engine, rig->now, CRIER_ECONNECT, "cut");
    rig_turn(rig);
}

void rig_reconnect(struct rig *rig, uint64_t grant)
{
    unsigned connects = rig->connects;

    rig_wait(rig, 500000);
    cr_assert_eq(rig->connects, connects + 1);
    rig_ready(rig, grant);
}

void rig_receive_bytes(struct rig *rig, const uint8_t *bytes, size_t size, size_t piece)
{
    struct iovec space;

    while (size > 0) {
        size_t part = size < piece ? size : piece;
        cr_assert_eq(engine_input(rig->engine, &space), 0);
        cr_assert_gt(space.iov_len, 0);
        part = part < space.iov_len ? part : space.iov_len;
        memcpy(space.iov_base, bytes, part);
        engine_received(rig->engine, part, rig->now);
        bytes += part;
        size -= part;
    }
    rig_turn(rig);
}

void rig_receive(struct rig *rig, enum frame_kind kind, const void *message, const void *attachment,
                 size_t size)
{
    size_t header_size = protobuf_c_message_get_packed_size(message);
    uint8_t *frame = malloc(FRAME_PREFIX_SIZE + header_size + size);

    frame_prefix_encode(frame, kind, header_size, size);
    protobuf_c_message_pack(message, frame + FRAME_PREFIX_SIZE);
    if (size > 0)
        memcpy(frame + FRAME_PREFIX_SIZE + header_size, attachment, size);
    rig_receive_bytes(rig, frame, FRAME_PREFIX_SIZE + header_size + size, SIZE_MAX);
    free(frame);
}

/* ---- what was sent ---- */

struct sent rig_expect(struct rig *rig, enum frame_kind kind)
{
    cr_assert_lt(rig->sent_first, rig->sent_count, "%s was not sent, nor anything else",
                 frame_kind_name((uint8_t)kind));
    cr_assert_eq(rig->sent[rig->sent_first].kind, kind, "%s was sent instead of %s",
                 frame_kind_name(rig->sent[rig->sent_first].kind), frame_kind_name((uint8_t)kind));
    return rig->sent[rig->sent_first++];
}

bool rig_sent_nothing(struct rig *rig)
{
    rig_turn(rig);
    return rig->sent_first == rig->sent_count;
}

/* ---- emitting ---- */

int rig_emit_raw(struct rig *rig, const char *topic, const void *value, size_t size,
                 const struct crier_emit_options *options)
{
    bool wake;
    int rc = engine_emit(rig->engine, topic, value, size, options, 1000, &wake);

    rig_turn(rig);
    return rc;
}

int rig_emit(struct rig *rig, const char *topic, const char *value, const char *key)
{
    struct crier_emit_options options = crier_emit_options_default();

    options.key = key;
    options.key_size = key ? strlen(key) : 0;
    options.done = on_done;
    options.ctx = rig;
    return rig_emit_raw(rig, topic, value, strlen(value), &options);
}

void rig_topics(struct rig *rig, const struct sent *describe, uint32_t partitions)
{
    rig_topics_from(rig, describe, RIG_PARTITION, partitions);
}

void rig_topics_from(struct rig *rig, const struct sent *describe, uint64_t first_id, uint32_t partitions)
{
    const Wire__TopicDescribe *asked = (const Wire__TopicDescribe *)describe->message;
    Wire__Topics topics = WIRE__TOPICS__INIT;
    Wire__TopicInfo info = WIRE__TOPIC_INFO__INIT, *infos = &info;
    Wire__PartitionInfo *list = calloc(partitions, sizeof(*list));
    Wire__PartitionInfo **pointers = calloc(partitions, sizeof(Wire__PartitionInfo *));

    for (uint32_t i = 0; i < partitions; i++) {
        wire__partition_info__init(&list[i]);
        list[i].id = first_id + i;
        pointers[i] = &list[i];
    }
    info.name = asked->name;
    info.partitions = pointers;
    info.n_partitions = partitions;
    topics.request = asked->request;
    topics.topics = &infos;
    topics.n_topics = 1;
    rig_receive(rig, FRAME_TOPICS, &topics, NULL, 0);
    free(pointers);
    free(list);
}

void rig_know(struct rig *rig, const char *topic, uint32_t partitions)
{
    struct sent sent;

    cr_assert_eq(rig_emit(rig, topic, "first", NULL), 0);
    sent = rig_expect(rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(rig, &sent, partitions);
    sent = rig_expect(rig, FRAME_EMIT);
    rig_emitted(rig, &sent, WIRE__OUTCOME__OK, 0, 0);
    rig->done_count = 0;
}

void rig_emitted(struct rig *rig, const struct sent *emit, Wire__Outcome outcome, int code,
                 int64_t base_offset)
{
    const Wire__Emit *asked = (const Wire__Emit *)emit->message;
    Wire__Emitted emitted = WIRE__EMITTED__INIT;
    Wire__EmittedPart part = WIRE__EMITTED_PART__INIT;
    Wire__EmittedPart **parts = calloc(asked->n_parts, sizeof(Wire__EmittedPart *));

    part.outcome = outcome;
    part.code = code;
    part.base_offset = base_offset;
    for (size_t i = 0; i < asked->n_parts; i++)
        parts[i] = &part;
    emitted.request = asked->request;
    emitted.parts = parts;
    emitted.n_parts = asked->n_parts;
    rig_receive(rig, FRAME_EMITTED, &emitted, NULL, 0);
    free(parts);
}

static const uint8_t *part_data(const struct sent *emit, size_t part, struct batch_header *header)
{
    const Wire__Emit *asked = (const Wire__Emit *)emit->message;
    const uint8_t *data = emit->attachment;

    cr_assert_lt(part, asked->n_parts);
    for (size_t i = 0; i < part; i++)
        data += asked->parts[i]->size;
    cr_assert_eq(batch_header_decode(data, asked->parts[part]->size, header), asked->parts[part]->size);
    cr_assert(batch_crc_matches(data, asked->parts[part]->size));
    return data;
}

const char *rig_value(const struct sent *emit, size_t part, int index)
{
    static char value[256];
    struct batch_header header;
    const uint8_t *data = part_data(emit, part, &header);
    struct batch_iterator walk;
    struct batch_record record = {0};

    cr_assert_eq(batch_iterator_init(&walk, data, header.size, 1 << 20), 0);
    for (int i = 0; i <= index; i++)
        cr_assert_eq(batch_iterator_next(&walk, &record), 1);
    snprintf(value, sizeof(value), "%.*s", (int)record.value.size, (const char *)record.value.data);
    batch_iterator_finish(&walk);
    return value;
}

int32_t rig_sequence(const struct sent *emit, size_t part)
{
    struct batch_header header;

    part_data(emit, part, &header);
    return header.base_sequence;
}

int32_t rig_count(const struct sent *emit, size_t part)
{
    struct batch_header header;

    part_data(emit, part, &header);
    return header.count;
}

uint64_t rig_request(const struct sent *emit)
{
    return ((const Wire__Emit *)emit->message)->request;
}

/* ---- listening ---- */

crier_listener *rig_listen(struct rig *rig, const char *topic, const struct crier_listen_options *options)
{
    struct crier_listen_options copy = options ? *options : crier_listen_options_default();
    crier_listener *listener;

    copy.released = on_listener_released;
    copy.listening = on_listening;
    cr_assert_eq(engine_listener_create(rig->engine, topic, &copy, on_event, rig, &listener), 0);
    engine_listen(rig->engine, listener);
    rig_turn(rig);
    return listener;
}

crier_listener *rig_listen_error(struct rig *rig)
{
    crier_listener *listener;

    cr_assert_eq(engine_listener_create(rig->engine, "error", NULL, on_error, rig, &listener), 0);
    engine_listen(rig->engine, listener);
    return listener;
}

uint32_t rig_listening(struct rig *rig, uint64_t next, uint64_t high_watermark)
{
    struct sent sent = rig_expect(rig, FRAME_LISTEN);
    const Wire__Listen *asked = (const Wire__Listen *)sent.message;
    Wire__Listening listening = WIRE__LISTENING__INIT;
    Wire__ListenPartition partition = WIRE__LISTEN_PARTITION__INIT, *partitions = &partition;

    partition.partition = RIG_PARTITION;
    partition.next = next;
    partition.high_watermark = high_watermark;
    listening.listener = asked->listener;
    listening.partitions = &partitions;
    listening.n_partitions = 1;
    listening.generation = asked->group[0] ? RIG_GENERATION : 0;
    rig_receive(rig, FRAME_LISTENING, &listening, NULL, 0);
    return asked->listener;
}

uint8_t *rig_batch(uint64_t base_offset, int count, size_t *ret_size)
{
    size_t capacity = BATCH_HEADER_SIZE + (size_t)count * (BATCH_RECORD_OVERHEAD_MAX + 32);
    uint8_t *data = malloc(capacity);
    struct batch_builder builder;
    char value[32];

    batch_builder_init(&builder, data, capacity);
    for (int i = 0; i < count; i++) {
        int size = snprintf(value, sizeof(value), "%llu", (unsigned long long)base_offset + (unsigned)i);
        cr_assert_eq(batch_builder_append(&builder, 1000, NULL, 0, value, (size_t)size, NULL, 0), 0);
    }
    *ret_size = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(data, (int64_t)base_offset, 0);
    return data;
}

void rig_deliver_bytes(struct rig *rig, uint32_t listener, uint64_t high_watermark, const uint8_t *bytes,
                       size_t size)
{
    Wire__Deliver deliver = WIRE__DELIVER__INIT;

    deliver.listener = listener;
    deliver.partition = RIG_PARTITION;
    deliver.high_watermark = high_watermark;
    rig_receive(rig, FRAME_DELIVER, &deliver, bytes, size);
}

void rig_deliver(struct rig *rig, uint32_t listener, uint64_t base_offset, int count)
{
    size_t size;
    uint8_t *batch = rig_batch(base_offset, count, &size);

    rig_deliver_bytes(rig, listener, base_offset + (uint64_t)count, batch, size);
    free(batch);
}
