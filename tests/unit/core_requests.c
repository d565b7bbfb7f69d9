/* core_requests.c: what a peer of core_fixture.h asks for: emits, topics, listeners. */
#include "base/check.h"
#include "tests/unit/core_fixture.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        parts[i].delay_us = specs[i].delay_us;
        parts[i].at_us = specs[i].at_us;
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
    listen.again = spec->again;
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
