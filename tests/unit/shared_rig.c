/* shared_rig.c: members of shared groups; see shared_rig.h. */
#include "tests/unit/shared_rig.h"

#include "base/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLENTY (UINT64_C(1) << 40)

/* ---- emitting ---- */

uint64_t rig_emit(struct peer *peer, uint64_t partition, const char *const *keys, long value, size_t count)
{
    size_t capacity = 256 + count * 128;
    uint8_t *bytes = malloc(capacity);
    CHECK(bytes);
    struct batch_builder builder;
    batch_builder_init(&builder, bytes, capacity);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        int size = snprintf(text, sizeof(text), "%ld", value + (long)i);
        const char *key = keys && keys[i][0] ? keys[i] : NULL;
        struct batch_pair header = {"h", 1, "original", 8};
        cr_assert_eq(batch_builder_append(&builder, 1700000000000, key, key ? strlen(key) : 0, text,
                                          (size_t)size, &header, 1),
                     0);
    }
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    Wire__EmitPart *parts[] = {&part};
    part.partition = partition;
    part.size = (uint32_t)size;
    Wire__Emit emit = WIRE__EMIT__INIT;
    emit.request = ++peer->emits;
    emit.parts = parts;
    emit.n_parts = 1;
    peer_send_attached(peer, FRAME_EMIT, &emit.base, bytes, size);
    free(bytes);
    fixture_settle(peer->fixture);
    const Wire__Emitted *answer = peer_expect_past(peer, FRAME_EMITTED);
    cr_assert_eq(answer->parts[0]->outcome, WIRE__OUTCOME__OK);
    return (uint64_t)answer->parts[0]->base_offset;
}

uint64_t rig_emit_plain(struct peer *peer, uint64_t partition, long value, size_t count)
{
    return rig_emit(peer, partition, NULL, value, count);
}

/* ---- listening ---- */

void rig_listen(struct rig_member *m, const struct rig_listen *listen)
{
    Wire__Listen message = WIRE__LISTEN__INIT;
    message.listener = m->id;
    message.topic = (char *)listen->topic;
    message.group = (char *)listen->group;
    message.kind = listen->kind || listen->ordered ? listen->kind : WIRE__GROUP_KIND__SHARED;
    message.lease_ms = listen->lease_ms;
    message.max_in_flight = listen->in_flight;
    message.from = listen->from ? listen->from : WIRE__FROM__EARLIEST;
    message.session_timeout_ms = listen->session_timeout_ms;
    message.credit = m->credit = listen->credit ? listen->credit : PLENTY;
    Wire__Lease *held = calloc(listen->held_count + 1, sizeof(*held));
    Wire__Lease **pointers = calloc(listen->held_count + 1, sizeof(Wire__Lease *));
    CHECK(held && pointers);
    for (size_t i = 0; i < listen->held_count; i++) {
        wire__lease__init(&held[i]);
        held[i].partition = listen->held[i].partition;
        held[i].offset = listen->held[i].offset;
        held[i].attempt = listen->held[i].attempt;
        pointers[i] = &held[i];
    }
    message.held = pointers;
    message.n_held = listen->held_count;
    m->ended = 1;
    m->bytes = 0;
    peer_send(m->peer, FRAME_LISTEN, &message.base);
    free(pointers);
    free(held);
    fixture_settle(m->peer->fixture);
    rig_take(m);
}

struct rig_member *rig_join(struct fixture *f, const struct rig_listen *listen)
{
    struct rig_member *m = calloc(1, sizeof(*m));
    CHECK(m);
    m->peer = peer_welcome(f);
    m->id = 1;
    rig_listen(m, listen);
    return m;
}

void rig_free(struct rig_member *m)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->last); i++)
        free(m->last[i].bytes);
    free(m);
}

/* ---- what comes ---- */

static void last_keep(struct rig_member *m, uint64_t partition, const uint8_t *bytes, size_t size)
{
    size_t i = 0;
    while (m->last[i].bytes && m->last[i].partition != partition)
        cr_assert_lt(++i, ARRAY_SIZE(m->last));
    uint8_t *copy = malloc(size);
    CHECK(copy);
    memcpy(copy, bytes, size);
    free(m->last[i].bytes);
    m->last[i].partition = partition;
    m->last[i].bytes = copy;
    m->last[i].size = size;
}

/* The event at this offset, in one of the batches at `bytes`. */
static bool event_find(const uint8_t *bytes, size_t size, uint64_t offset, struct rig_event *event)
{
    while (size) {
        struct batch_iterator iterator;
        struct batch_record record;
        cr_assert_eq(batch_iterator_init(&iterator, bytes, size, 1 << 24), 0);
        bool found = false;
        while (!found && batch_iterator_next(&iterator, &record) == 1)
            found = (uint64_t)record.offset == offset;
        if (found) {
            char text[32] = "";
            memcpy(text, record.value.data, record.value.size < 31 ? record.value.size : 31);
            event->value = strtol(text, NULL, 10);
            memset(event->key, 0, sizeof(event->key));
            if (record.key.data)
                memcpy(event->key, record.key.data, record.key.size);
        }
        size_t batch_size = iterator.header.size;
        batch_iterator_finish(&iterator);
        if (found)
            return true;
        bytes += batch_size;
        size -= batch_size;
    }
    return false;
}

static void take_deliver(struct rig_member *m, const Wire__Deliver *deliver)
{
    const uint8_t *bytes = m->peer->attachment;
    size_t size = m->peer->attachment_size;
    cr_assert_eq(deliver->held, size == 0);
    m->deliveries++;
    m->held_deliveries += deliver->held;
    cr_assert_gt(deliver->n_ranges, 0);
    for (size_t i = 0; deliver->held && i < ARRAY_SIZE(m->last); i++)
        if (m->last[i].bytes && m->last[i].partition == deliver->partition) {
            bytes = m->last[i].bytes;
            size = m->last[i].size;
        }
    for (size_t i = 0; i < deliver->n_ranges; i++) {
        for (uint32_t k = 0; k < deliver->ranges[i]->count; k++) {
            cr_assert_lt(m->got_count, RIG_EVENTS_MAX);
            struct rig_event *event = &m->got[m->got_count++];
            *event = (struct rig_event){.partition = deliver->partition,
                                        .offset = deliver->base_offset + deliver->ranges[i]->delta + k,
                                        .attempt = deliver->ranges[i]->attempt};
            cr_assert(event_find(bytes, size, event->offset, event), "offset %lu is not in its batches",
                      (unsigned long)event->offset);
        }
    }
    m->bytes += m->peer->attachment_size;
    const uint8_t *at = m->peer->attachment;
    for (size_t left = m->peer->attachment_size; left;) {
        struct batch_header header;
        int64_t batch = batch_header_decode(at, left, &header);
        cr_assert_gt(batch, 0);
        if ((size_t)batch == left)
            last_keep(m, deliver->partition, at, left);
        at += batch;
        left -= (size_t)batch;
    }
}

static void take_settled(struct rig_member *m, const Wire__Settled *settled)
{
    m->settled_code = settled->code;
    m->settled_request = settled->request;
    m->settled_refused = 0;
    for (size_t i = 0; i < settled->n_refused; i++)
        m->settled_refused += settled->refused[i]->count ? settled->refused[i]->count : 1;
}

void rig_take(struct rig_member *m)
{
    for (int kind; (kind = peer_next_kind(m->peer));) {
        const void *message = peer_expect(m->peer, (enum frame_kind)kind);
        if (kind == FRAME_DELIVER)
            take_deliver(m, message);
        else if (kind == FRAME_SETTLED)
            take_settled(m, message);
        else if (kind == FRAME_LISTENING)
            m->generation = ((const Wire__Listening *)message)->generation;
        else if (kind == FRAME_ENDED)
            m->ended = ((const Wire__Ended *)message)->code;
        else if (kind == FRAME_REDRIVEN)
            m->redriven = ((const Wire__Redriven *)message)->moved;
        else
            cr_assert(kind == FRAME_CREDIT || kind == FRAME_PING || kind == FRAME_PONG, "%s",
                      frame_kind_name((uint8_t)kind));
    }
}

struct rig_event rig_next(struct rig_member *m)
{
    rig_take(m);
    cr_assert_gt(m->got_count, 0, "nothing was delivered");
    struct rig_event event = m->got[0];
    memmove(m->got, m->got + 1, --m->got_count * sizeof(event));
    return event;
}

/* ---- what is said ---- */

struct said {
    Wire__Lease *block, **pointers;
};

static struct said said(const struct rig_event *events, size_t count)
{
    struct said said = {calloc(count + 1, sizeof(Wire__Lease)), calloc(count + 1, sizeof(Wire__Lease *))};
    CHECK(said.block && said.pointers);
    for (size_t i = 0; i < count; i++) {
        wire__lease__init(&said.block[i]);
        said.block[i].partition = events[i].partition;
        said.block[i].offset = events[i].offset;
        said.block[i].attempt = events[i].attempt;
        said.pointers[i] = &said.block[i];
    }
    return said;
}

static void said_free(struct said said)
{
    free(said.block);
    free(said.pointers);
}

static int answer(struct rig_member *m)
{
    fixture_settle(m->peer->fixture);
    rig_take(m);
    cr_assert_eq(m->settled_request, m->requests, "there is no answer yet");
    return m->settled_code;
}

void rig_ack_send(struct rig_member *m, const struct rig_event *events, size_t count)
{
    struct said leases = said(events, count);
    Wire__Ack ack = WIRE__ACK__INIT;
    ack.request = ++m->requests;
    ack.listener = m->id;
    ack.leases = leases.pointers;
    ack.n_leases = count;
    peer_send(m->peer, FRAME_ACK, &ack.base);
    said_free(leases);
}

int rig_ack(struct rig_member *m, const struct rig_event *events, size_t count)
{
    rig_ack_send(m, events, count);
    return answer(m);
}

static void nack_send(struct rig_member *m, const struct rig_event *events, size_t count, uint64_t delay_ms,
                      const char *reason, bool reject)
{
    struct said leases = said(events, count);
    Wire__Nack nack = WIRE__NACK__INIT;
    nack.request = ++m->requests;
    nack.listener = m->id;
    nack.leases = leases.pointers;
    nack.n_leases = count;
    nack.delay_ms = delay_ms;
    nack.reason = (char *)reason;
    nack.reject = reject;
    peer_send(m->peer, FRAME_NACK, &nack.base);
    said_free(leases);
}

void rig_nack_send(struct rig_member *m, const struct rig_event *events, size_t count, uint64_t delay_ms)
{
    nack_send(m, events, count, delay_ms, "", false);
}

int rig_nack(struct rig_member *m, const struct rig_event *events, size_t count, uint64_t delay_ms)
{
    rig_nack_send(m, events, count, delay_ms);
    return answer(m);
}

int rig_reject(struct rig_member *m, const struct rig_event *event, const char *reason)
{
    nack_send(m, event, 1, 0, reason, true);
    return answer(m);
}

void rig_extend_send(struct rig_member *m, const struct rig_event *events, size_t count, uint32_t lease_ms)
{
    struct said leases = said(events, count);
    Wire__Extend extend = WIRE__EXTEND__INIT;
    extend.request = ++m->requests;
    extend.listener = m->id;
    extend.leases = leases.pointers;
    extend.n_leases = count;
    extend.lease_ms = lease_ms;
    peer_send(m->peer, FRAME_EXTEND, &extend.base);
    said_free(leases);
}

int rig_extend(struct rig_member *m, const struct rig_event *events, size_t count, uint32_t lease_ms)
{
    rig_extend_send(m, events, count, lease_ms);
    return answer(m);
}

/* ---- reading ---- */

static void read_batches(struct rig_read *read, uint64_t partition, const uint8_t *at, size_t left)
{
    while (left) {
        struct batch_iterator iterator;
        struct batch_record record;
        cr_assert_eq(batch_iterator_init(&iterator, at, left, 1 << 24), 0);
        while (batch_iterator_next(&iterator, &record) == 1) {
            cr_assert_lt(read->count, ARRAY_SIZE(read->events));
            struct rig_event *event = &read->events[read->count];
            event->partition = partition;
            event->offset = (uint64_t)record.offset;
            cr_assert(event_find(at, left, event->offset, event));
            const uint8_t *cursor = record.headers;
            struct batch_string name, value;
            char *text = read->headers[read->count];
            size_t used = 0;
            while (batch_record_header(&record, &cursor, &name, &value) == 1)
                used += (size_t)snprintf(text + used, 512 - used, "%.*s=%.*s\n", (int)name.size, name.data,
                                         (int)value.size, value.data);
            read->count++;
        }
        size_t size = iterator.header.size;
        batch_iterator_finish(&iterator);
        at += size;
        left -= size;
    }
}

void rig_read_all(struct fixture *f, const char *topic, struct rig_read *ret_read)
{
    struct peer *p = peer_welcome(f);
    ret_read->count = 0;
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = topic, .from = WIRE__FROM__EARLIEST});
    fixture_settle(f);
    for (int kind; (kind = peer_next_kind(p));) {
        const void *message = peer_expect(p, (enum frame_kind)kind);
        if (kind == FRAME_DELIVER)
            read_batches(ret_read, ((const Wire__Deliver *)message)->partition, p->attachment,
                         p->attachment_size);
    }
    peer_close(p);
    fixture_settle(f);
}
