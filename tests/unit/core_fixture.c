/* core_fixture.c: see core_fixture.h. */
#include "tests/unit/core_fixture.h"

#include "base/check.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the world the core asks things of ---- */

static void output_append(struct peer *peer, const uint8_t *bytes, size_t size)
{
    if (peer->output_size + size > peer->output_capacity) {
        peer->output_capacity = 2 * (peer->output_size + size);
        peer->output = realloc(peer->output, peer->output_capacity);
        CHECK(peer->output);
    }
    memcpy(peer->output + peer->output_size, bytes, size);
    peer->output_size += size;
    peer->unsent += size;
}

static void ops_send(void *owner, const uint8_t *head, size_t head_size, const struct slice *slices,
                     size_t slice_count)
{
    struct peer *peer = owner;
    output_append(peer, head, head_size);
    for (size_t i = 0; i < slice_count; i++)
        output_append(peer, slices[i].data, slices[i].size);
}

static void ops_close(void *owner)
{
    struct peer *peer = owner;
    peer->closing = true;
}

static void ops_pause(void *owner, bool paused)
{
    struct peer *peer = owner;
    peer->paused = paused;
}

static void ops_random(void *ctx, void *to, size_t size)
{
    struct fixture *f = ctx;
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)random_next(&f->random);
}

static void ops_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    struct fixture *f = ctx;
    (void)text;
    size_t used = strlen(f->log_ids);
    if (level >= LOG_LEVEL_WARN)
        snprintf(f->log_ids + used, sizeof(f->log_ids) - used, "%s ", id);
}

static const struct core_ops ops = {
    .send = ops_send, .close = ops_close, .pause = ops_pause, .random = ops_random, .log = ops_log};

/* ---- turns ---- */

static void turn_open(struct fixture *f)
{
    if (!f->in_turn)
        core_turn_begin(f->core, f->mono_us, f->wall_us);
    f->in_turn = true;
}

static void report_sent(struct fixture *f)
{
    for (struct peer *peer = f->peers; peer; peer = peer->next) {
        size_t unsent = peer->unsent;
        if (!unsent || peer->holds || !peer->connection)
            continue;
        peer->unsent = 0;
        turn_open(f);
        core_connection_sent(peer->connection, unsent);
    }
}

static bool anything_unsent(const struct fixture *f)
{
    for (const struct peer *peer = f->peers; peer; peer = peer->next)
        if (peer->unsent && !peer->holds && peer->connection)
            return true;
    return false;
}

void fixture_turn(struct fixture *f)
{
    do {
        turn_open(f);
        f->due_us = core_turn_end(f->core);
        f->in_turn = false;
        report_sent(f);
    } while (f->in_turn || anything_unsent(f));
}

static void time_to(struct fixture *f, int64_t mono_us)
{
    if (mono_us <= f->mono_us)
        return;
    f->wall_us += mono_us - f->mono_us;
    f->mono_us = mono_us;
}

/* What is finished by now is told, and what follows from that too. */
static void store_work(struct fixture *f)
{
    unsigned told;
    do {
        store_memory_advance(f->store, f->mono_us);
        turn_open(f);
        told = f->store->ops->poll(f->store, UINT_MAX);
        fixture_turn(f);
    } while (told);
}

void fixture_settle(struct fixture *f)
{
    fixture_turn(f);
    store_work(f);
    while (store_memory_next_due(f->store) != INT64_MAX) {
        time_to(f, store_memory_next_due(f->store));
        store_work(f);
    }
}

void fixture_run(struct fixture *f, int64_t us)
{
    int64_t end_us = f->mono_us + us;
    fixture_turn(f);
    store_work(f);
    for (;;) {
        int64_t store_us = store_memory_next_due(f->store);
        int64_t next_us = store_us < f->due_us ? store_us : f->due_us;
        if (next_us > end_us)
            break;
        time_to(f, next_us);
        store_work(f);
    }
    time_to(f, end_us);
    store_work(f);
}

/* ---- life ---- */

struct fixture *fixture_create(void)
{
    struct fixture *f = calloc(1, sizeof(*f));
    CHECK(f);
    f->config = core_config_default();
    f->store_options = store_memory_options_default(1);
    f->store_options.commit = (struct store_memory_delay){FIXTURE_COMMIT_US, FIXTURE_COMMIT_US};
    f->random = random_seeded(1);
    f->mono_us = 1000000;
    f->wall_us = FIXTURE_START_US;
    return f;
}

struct core *fixture_core(struct fixture *f)
{
    struct core *core = core_create(&f->config, &ops, f, f->store);
    cr_assert_not_null(core);
    return core;
}

static void life_begin(struct fixture *f)
{
    char error[256] = "";
    f->core = fixture_core(f);
    int rc = core_recover(f->core, f->mono_us, f->wall_us, error, sizeof(error));
    cr_assert_eq(rc, 0, "recovery failed with %d: %s", rc, error);
    fixture_settle(f);
    cr_assert(core_ready(f->core), "the core is not ready after its first entry");
}

void fixture_start(struct fixture *f)
{
    cr_assert_eq(store_memory_open(&f->store_options, &f->store), 0);
    life_begin(f);
}

static void peers_forget(struct fixture *f)
{
    for (struct peer *peer = f->peers; peer; peer = peer->next)
        peer->connection = NULL;
}

struct store_memory_image *fixture_power_off(struct fixture *f)
{
    peers_forget(f); /* core_destroy closes them */
    struct store_memory_image *image = store_memory_crash(f->store);
    f->store = NULL;
    core_destroy(f->core);
    f->core = NULL;
    f->in_turn = false;
    return image;
}

void fixture_resume(struct fixture *f, struct store_memory_image *image)
{
    f->store_options.seed++;
    cr_assert_eq(store_memory_reopen(&f->store_options, image, &f->store), 0);
    life_begin(f);
}

void fixture_crash(struct fixture *f)
{
    fixture_resume(f, fixture_power_off(f));
}

void fixture_restart(struct fixture *f)
{
    fixture_settle(f);
    turn_open(f);
    f->store->ops->stop(f->store);
    fixture_turn(f);
    fixture_resume(f, fixture_power_off(f));
}

void fixture_destroy(struct fixture *f)
{
    if (f->core)
        store_memory_image_destroy(fixture_power_off(f));
    while (f->peers) {
        struct peer *peer = f->peers;
        f->peers = peer->next;
        protobuf_c_message_free_unpacked(peer->message, NULL);
        free(peer->output);
        free(peer);
    }
    free(f);
}

struct core_stats fixture_stats(struct fixture *f)
{
    struct core_stats stats;
    core_stats(f->core, &stats);
    return stats;
}

bool fixture_logged(const struct fixture *f, const char *id)
{
    return strstr(f->log_ids, id) != NULL;
}

/* ---- peers ---- */

struct peer *peer_open(struct fixture *f)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    CHECK(peer);
    peer->fixture = f;
    peer->next = f->peers;
    f->peers = peer;
    turn_open(f);
    peer->connection = core_connection_open(f->core, peer, "test");
    cr_assert_not_null(peer->connection);
    return peer;
}

struct peer *peer_welcome_again(struct fixture *f, uint64_t producer_id)
{
    struct peer *peer = peer_open(f);
    uint8_t instance[16] = {1};
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.version = 1;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.producer_id = producer_id;
    peer_send(peer, FRAME_HELLO, &hello.base);
    fixture_turn(f);
    if (!peer_has_frame(peer, FRAME_WELCOME))
        fixture_settle(f); /* producer ids are being reserved */
    const Wire__Welcome *welcome = peer_expect(peer, FRAME_WELCOME);
    peer->producer_id = welcome->producer_id;
    peer->grant = welcome->grant;
    return peer;
}

struct peer *peer_welcome(struct fixture *f)
{
    return peer_welcome_again(f, 0);
}

void peer_close(struct peer *peer)
{
    turn_open(peer->fixture);
    core_connection_close(peer->connection, "closed by the test");
    peer->connection = NULL;
}

void peer_release(struct peer *peer)
{
    peer->holds = false;
    fixture_turn(peer->fixture);
}

void peer_send_bytes(struct peer *peer, const uint8_t *bytes, size_t size)
{
    struct frame frame;
    struct buffer *buffer = buffer_create(size ? size : 1);
    CHECK(buffer);
    memcpy(buffer->data, bytes, size);
    turn_open(peer->fixture);
    core_connection_received(peer->connection);
    int64_t used = frame_decode(buffer->data, size, FRAME_SIZE_MAX, &frame);
    if (used < 0) {
        core_connection_bad(peer->connection, (int)used, buffer->data, size);
    } else {
        cr_assert_eq(used, (int64_t)size, "a test sends one frame at a time");
        core_connection_frame(peer->connection, &frame, (struct slice){buffer, buffer->data, size});
    }
    buffer_unref(buffer);
}

void peer_send_attached(struct peer *peer, enum frame_kind kind, const ProtobufCMessage *header,
                        const uint8_t *attachment, size_t attachment_size)
{
    size_t header_size = header ? protobuf_c_message_get_packed_size(header) : 0;
    size_t size = FRAME_PREFIX_SIZE + header_size + attachment_size;
    uint8_t *bytes = malloc(size);
    CHECK(bytes);
    frame_prefix_encode(bytes, kind, header_size, attachment_size);
    if (header)
        protobuf_c_message_pack(header, bytes + FRAME_PREFIX_SIZE);
    if (attachment_size)
        memcpy(bytes + FRAME_PREFIX_SIZE + header_size, attachment, attachment_size);
    peer_send_bytes(peer, bytes, size);
    free(bytes);
}

void peer_send(struct peer *peer, enum frame_kind kind, const ProtobufCMessage *header)
{
    peer_send_attached(peer, kind, header, NULL, 0);
}

/* ---- what the core has said ---- */

static const ProtobufCMessageDescriptor *const headers[] = {
    [FRAME_WELCOME] = &wire__welcome__descriptor,     [FRAME_EMITTED] = &wire__emitted__descriptor,
    [FRAME_LISTENING] = &wire__listening__descriptor, [FRAME_ENDED] = &wire__ended__descriptor,
    [FRAME_DELIVER] = &wire__deliver__descriptor,     [FRAME_CREDIT] = &wire__credit__descriptor,
    [FRAME_COMMITTED] = &wire__committed__descriptor, [FRAME_TOPICS] = &wire__topics__descriptor,
    [FRAME_PING] = &wire__ping__descriptor,           [FRAME_PONG] = &wire__ping__descriptor,
    [FRAME_GOAWAY] = &wire__goaway__descriptor,       [FRAME_ERROR] = &wire__error__descriptor,
    [FRAME_ASSIGN] = &wire__assign__descriptor,       [FRAME_GROUPS] = &wire__groups__descriptor};

/* The next frame that was not taken yet; false: none. */
static bool frame_peek(const struct peer *peer, size_t at, struct frame *ret_frame, size_t *ret_size)
{
    int64_t size = frame_decode(peer->output + at, peer->output_size - at, FRAME_SIZE_MAX, ret_frame);
    cr_assert_geq(size, 0, "the core sent bytes that are no frame");
    *ret_size = (size_t)size;
    return size > 0;
}

void *peer_expect(struct peer *peer, enum frame_kind kind)
{
    struct frame frame;
    size_t size = 0;
    cr_assert(frame_peek(peer, peer->seen, &frame, &size), "expected %s, there is no frame",
              frame_kind_name((uint8_t)kind));
    protobuf_c_message_free_unpacked(peer->message, NULL);
    peer->message = NULL;
    cr_assert(frame.kind < ARRAY_SIZE(headers) && headers[frame.kind], "the core sent a frame of kind %u",
              frame.kind);
    peer->message = protobuf_c_message_unpack(headers[frame.kind], NULL, frame.header_size, frame.header);
    cr_assert_not_null(peer->message, "the core sent a %s that cannot be read", frame_kind_name(frame.kind));
    if (frame.kind != kind && frame.kind == FRAME_ERROR)
        cr_assert_fail("expected %s, got ERROR: %s", frame_kind_name((uint8_t)kind),
                       ((const Wire__Error *)peer->message)->text);
    cr_assert_eq((int)frame.kind, (int)kind, "expected %s, got %s", frame_kind_name((uint8_t)kind),
                 frame_kind_name(frame.kind));
    peer->attachment = frame.attachment;
    peer->attachment_size = frame.attachment_size;
    peer->seen += size;
    return peer->message;
}

void *peer_expect_beyond_credit(struct peer *peer, enum frame_kind kind)
{
    struct frame frame;
    size_t size = 0;
    while (frame_peek(peer, peer->seen, &frame, &size) && frame.kind == FRAME_CREDIT)
        peer->grant = ((const Wire__Credit *)peer_expect(peer, FRAME_CREDIT))->total;
    return peer_expect(peer, kind);
}

void *peer_expect_past(struct peer *peer, enum frame_kind kind)
{
    struct frame frame;
    size_t size = 0;
    while (frame_peek(peer, peer->seen, &frame, &size) && frame.kind != kind &&
           (frame.kind == FRAME_CREDIT || frame.kind == FRAME_DELIVER || frame.kind == FRAME_PING ||
            frame.kind == FRAME_PONG))
        peer->seen += size;
    return peer_expect(peer, kind);
}

size_t peer_frame_count(const struct peer *peer, enum frame_kind kind)
{
    struct frame frame;
    size_t size = 0, count = 0;
    for (size_t at = peer->seen; frame_peek(peer, at, &frame, &size); at += size)
        count += frame.kind == kind;
    return count;
}

bool peer_has_frame(const struct peer *peer, enum frame_kind kind)
{
    return peer_frame_count(peer, kind) > 0;
}

void peer_expect_nothing(const struct peer *peer)
{
    struct frame frame;
    size_t size = 0;
    cr_assert_not(frame_peek(peer, peer->seen, &frame, &size), "expected nothing, got %s",
                  frame_kind_name(frame.kind));
}

void peer_expect_error(struct peer *peer, int code)
{
    fixture_turn(peer->fixture);
    const Wire__Error *error = peer_expect_beyond_credit(peer, FRAME_ERROR);
    cr_assert_eq(error->code, code, "expected %s, got %s: %s", error_name(code), error_name(error->code),
                 error->text);
    cr_assert(error->text[0], "an ERROR says why");
    cr_assert(peer->closing, "ERROR is followed by the end of the connection");
}

/* ---- emitting ---- */

size_t batch_make(uint8_t *to, size_t capacity, const struct batch_spec *spec)
{
    struct batch_builder builder;
    batch_builder_init(&builder, to, capacity);
    char *value = calloc(1, spec->value_size + 64);
    CHECK(value);
    memset(value, 'v', spec->value_size + 1);
    for (int32_t i = 0; i < (spec->count ? spec->count : 1); i++) {
        int length = snprintf(value, 64, "%lld/%d/%d", (long long)spec->producer_id, spec->epoch,
                              (int)(((uint32_t)spec->sequence + (uint32_t)i) & INT32_MAX));
        if (spec->value_size > (size_t)length)
            value[length] = 'v';
        size_t size = spec->value_size > (size_t)length ? spec->value_size : (size_t)length;
        int rc = batch_builder_append(&builder, 1700000000000, NULL, 0, value, size, NULL, 0);
        cr_assert_eq(rc, 0, "the batch does not fit %zu bytes", capacity);
    }
    free(value);
    bool sequenced = spec->producer_id > 0;
    size_t size = batch_builder_finish(&builder, sequenced ? spec->producer_id : -1,
                                       sequenced ? spec->epoch : -1, sequenced ? spec->sequence : -1);
    if (spec->damaged)
        to[size - 1] ^= 1;
    return size;
}

static uint8_t *emit_make(const struct peer *peer, const struct batch_spec *specs, size_t count,
                          Wire__Emit *ret_emit, size_t *ret_attachment_size)
{
    size_t capacity = 0, used = 0;
    for (size_t i = 0; i < count; i++)
        capacity += 256 + (size_t)(specs[i].count ? specs[i].count : 1) * (specs[i].value_size + 64);
    uint8_t *attachment = malloc(capacity);
    Wire__EmitPart *parts = calloc(count, sizeof(*parts));
    Wire__EmitPart **pointers = calloc(count, sizeof(Wire__EmitPart *));
    CHECK(attachment && parts && pointers);
    for (size_t i = 0; i < count; i++) {
        wire__emit_part__init(&parts[i]);
        parts[i].partition = specs[i].partition;
        parts[i].size = (uint32_t)batch_make(attachment + used, capacity - used, &specs[i]);
        used += parts[i].size;
        pointers[i] = &parts[i];
    }
    wire__emit__init(ret_emit);
    ret_emit->request = peer->emits + 1;
    ret_emit->durability = specs[0].memory ? WIRE__DURABILITY__MEMORY : WIRE__DURABILITY__DURABLE;
    ret_emit->parts = pointers;
    ret_emit->n_parts = count;
    *ret_attachment_size = used;
    return attachment;
}

static void emit_free(Wire__Emit *emit, uint8_t *attachment)
{
    free(emit->parts[0]);
    free(emit->parts);
    free(attachment);
}

void peer_emit(struct peer *peer, const struct batch_spec *specs, size_t count)
{
    Wire__Emit emit;
    size_t attachment_size = 0;
    uint8_t *attachment = emit_make(peer, specs, count, &emit, &attachment_size);
    peer->emits++;
    peer->emitted_bytes += FRAME_PREFIX_SIZE + wire__emit__get_packed_size(&emit) + attachment_size;
    peer_send_attached(peer, FRAME_EMIT, &emit.base, attachment, attachment_size);
    emit_free(&emit, attachment);
}

size_t emit_frame_size(const struct peer *peer, const struct batch_spec *specs, size_t count)
{
    Wire__Emit emit;
    size_t attachment_size = 0;
    uint8_t *attachment = emit_make(peer, specs, count, &emit, &attachment_size);
    size_t size = FRAME_PREFIX_SIZE + wire__emit__get_packed_size(&emit) + attachment_size;
    emit_free(&emit, attachment);
    return size;
}

struct outcome peer_outcome(struct peer *peer)
{
    const Wire__Emitted *emitted = peer_expect_beyond_credit(peer, FRAME_EMITTED);
    cr_assert_eq(emitted->n_parts, 1);
    const Wire__EmittedPart *part = emitted->parts[0];
    return (struct outcome){(int)part->outcome, part->code, part->base_offset, part->duplicate};
}

struct outcome peer_emit_one(struct peer *peer, struct batch_spec spec)
{
    peer_emit(peer, &spec, 1);
    fixture_settle(peer->fixture);
    return peer_outcome(peer);
}

/* ---- topics and listening ---- */

int peer_topic_code(struct peer *peer, const char *name, uint32_t partitions)
{
    Wire__TopicCreate create = WIRE__TOPIC_CREATE__INIT;
    create.request = 1;
    create.name = (char *)name;
    create.partitions = partitions;
    peer_send(peer, FRAME_TOPIC_CREATE, &create.base);
    fixture_settle(peer->fixture);
    return ((const Wire__Topics *)peer_expect_beyond_credit(peer, FRAME_TOPICS))->code;
}

uint64_t peer_topic(struct peer *peer, const char *name, uint32_t partitions)
{
    cr_assert_eq(peer_topic_code(peer, name, partitions), 0);
    const Wire__Topics *topics = peer->message;
    cr_assert_eq(topics->n_topics, 1);
    cr_assert_str_eq(topics->topics[0]->name, name);
    cr_assert_eq(topics->topics[0]->n_partitions, partitions ? partitions : 1);
    return topics->topics[0]->partitions[0]->id;
}

void peer_listen(struct peer *peer, const struct listen_spec *spec)
{
    Wire__Listen listen = WIRE__LISTEN__INIT;
    Wire__Position resume = WIRE__POSITION__INIT, *resumes = &resume;
    listen.listener = spec->id;
    listen.topic = (char *)spec->topic;
    if (spec->group)
        listen.group = (char *)spec->group;
    listen.from = spec->from;
    listen.from_value = spec->from_value;
    listen.credit = spec->credit ? spec->credit : 1u << 30;
    listen.create = spec->create;
    resume.partition = spec->resume_partition;
    resume.offset = spec->resume_offset;
    listen.resume = &resumes;
    listen.n_resume = spec->resume_offset ? 1 : 0;
    peer_send(peer, FRAME_LISTEN, &listen.base);
}

void peer_unlisten(struct peer *peer, uint32_t id)
{
    Wire__Unlisten unlisten = WIRE__UNLISTEN__INIT;
    unlisten.listener = id;
    peer_send(peer, FRAME_UNLISTEN, &unlisten.base);
}

void peer_credit(struct peer *peer, uint32_t id, uint64_t total)
{
    Wire__Credit credit = WIRE__CREDIT__INIT;
    credit.listener = id;
    credit.total = total;
    peer_send(peer, FRAME_CREDIT, &credit.base);
}

void peer_commit(struct peer *peer, uint64_t request, uint32_t id, uint64_t generation, uint64_t partition,
                 uint64_t offset)
{
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    position.partition = partition;
    position.offset = offset;
    Wire__Commit commit = WIRE__COMMIT__INIT;
    commit.request = request;
    commit.listener = id;
    commit.generation = generation;
    commit.positions = &positions;
    commit.n_positions = 1;
    peer_send(peer, FRAME_COMMIT, &commit.base);
}

const Wire__Deliver *peer_delivered(struct peer *peer, uint64_t *ret_first, uint64_t *ret_next)
{
    const Wire__Deliver *deliver = peer_expect_beyond_credit(peer, FRAME_DELIVER);
    const uint8_t *at = peer->attachment, *end = at + peer->attachment_size;
    uint64_t next = UINT64_MAX;
    *ret_first = *ret_next = deliver->skip_to;
    while (at < end) {
        struct batch_header header;
        int64_t size = batch_header_decode(at, (size_t)(end - at), &header);
        cr_assert_gt(size, 0, "a DELIVER carries whole batches");
        cr_assert(batch_crc_matches(at, (size_t)size));
        if (next == UINT64_MAX)
            *ret_first = (uint64_t)header.base_offset;
        else
            cr_assert_eq((uint64_t)header.base_offset, next, "batches follow each other");
        next = (uint64_t)header.base_offset + (uint64_t)header.last_offset_delta + 1;
        *ret_next = next;
        at += size;
    }
    return deliver;
}
