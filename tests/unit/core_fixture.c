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
    core_stop(f->core);
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

void peer_instance(struct peer *peer, uint8_t to[16])
{
    uint32_t number = 1;
    for (const struct peer *older = peer->next; older; older = older->next)
        number++;
    memset(to, 0, 16);
    memcpy(to, &number, sizeof(number));
}

static struct peer *welcome(struct fixture *f, uint64_t producer_id, const char *name)
{
    struct peer *peer = peer_open(f);
    uint8_t instance[16];
    Wire__Hello hello = WIRE__HELLO__INIT;
    peer_instance(peer, instance);
    hello.version = 1;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.producer_id = producer_id;
    hello.name = (char *)name;
    peer_send(peer, FRAME_HELLO, &hello.base);
    fixture_turn(f);
    if (!peer_has_frame(peer, FRAME_WELCOME))
        fixture_settle(f); /* producer ids are being reserved */
    const Wire__Welcome *welcome = peer_expect(peer, FRAME_WELCOME);
    peer->producer_id = welcome->producer_id;
    peer->grant = welcome->grant;
    return peer;
}

struct peer *peer_welcome_again(struct fixture *f, uint64_t producer_id)
{
    return welcome(f, producer_id, "");
}

struct peer *peer_welcome(struct fixture *f)
{
    return welcome(f, 0, "");
}

struct peer *peer_welcome_named(struct fixture *f, const char *name)
{
    return welcome(f, 0, name);
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
    [FRAME_ASSIGN] = &wire__assign__descriptor,       [FRAME_GROUPS] = &wire__groups__descriptor,
    [FRAME_INSPECTED] = &wire__inspected__descriptor, [FRAME_SCHEDULES] = &wire__schedules__descriptor,
    [FRAME_SETTLED] = &wire__settled__descriptor,     [FRAME_REDRIVEN] = &wire__redriven__descriptor};

/* The next frame that was not taken yet; false: none. */
static bool frame_peek(const struct peer *peer, size_t at, struct frame *ret_frame, size_t *ret_size)
{
    int64_t size = frame_decode(peer->output + at, peer->output_size - at, FRAME_SIZE_MAX, ret_frame);
    cr_assert_geq(size, 0, "the core sent bytes that are no frame");
    *ret_size = (size_t)size;
    return size > 0;
}

int peer_next_kind(const struct peer *peer)
{
    struct frame frame;
    size_t size = 0;
    return frame_peek(peer, peer->seen, &frame, &size) ? frame.kind : 0;
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

void *peer_expect_anywhere(struct peer *peer, enum frame_kind kind)
{
    struct frame frame;
    size_t size = 0;
    while (frame_peek(peer, peer->seen, &frame, &size) && frame.kind != kind && frame.kind != FRAME_ERROR)
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
