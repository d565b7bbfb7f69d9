/* ledger.c: see ledger.h. Here: frames, and what the end has to be. */
#include "tests/sim/ledger.h"

#include "base/bytes.h"
#include "base/check.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_US    INT64_C(30000000)
#define SESSION_US  INT64_C(10000000)
#define IN_FLIGHT   256
#define UNDERWAY_US 200000 /* a lease begins before its event is read and sent, at most so long ... */
#define READING_US  20000  /* ... and mostly not longer */

struct ledger_member {
    struct ledger_member *next;
    uint64_t tap;
    uint32_t listener, group, in_flight_max;
    int64_t lease_us, session_us;
};

struct ledger_request {
    struct ledger_request *next;
    uint64_t tap, request;
    uint8_t kind;
    uint32_t group;
    int64_t extended_until_us;
    int64_t lease_us;
    size_t count;
    struct settled {
        uint64_t partition, offset;
        uint32_t attempt;
        bool late; /* somebody had a later attempt when it came, and had not said that it failed */
    } events[];
};

void ledger_init(struct ledger *ledger, struct trace *trace, struct report *report)
{
    *ledger = (struct ledger){.trace = trace, .report = report};
    ledger->partitions = calloc(HISTORY_PARTITION_IDS, sizeof(*ledger->partitions));
    CHECK(ledger->partitions);
}

static void requests_free(struct ledger *ledger, uint64_t tap)
{
    for (struct ledger_request **at = &ledger->requests; *at;) {
        struct ledger_request *request = *at;
        if (tap && request->tap != tap) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        free(request);
    }
}

static void members_free(struct ledger *ledger, uint64_t tap, uint32_t listener)
{
    for (struct ledger_member **at = &ledger->members; *at;) {
        struct ledger_member *member = *at;
        if (tap && (member->tap != tap || (listener && member->listener != listener))) {
            at = &member->next;
            continue;
        }
        *at = member->next;
        free(member);
    }
}

void ledger_finish(struct ledger *ledger)
{
    requests_free(ledger, 0);
    members_free(ledger, 0, 0);
    for (size_t i = 0; i < ledger->partition_end; i++) {
        free(ledger->partitions[i].events);
        free(ledger->partitions[i].letters);
    }
    free(ledger->stored);
    free(ledger->partitions);
}

/* ---- values ---- */

void ledger_value_make(uint8_t *to, uint64_t number, uint32_t key, uint32_t size)
{
    uint64_t state = number ^ LEDGER_MAGIC;
    le64_put(to, LEDGER_MAGIC);
    le64_put(to + 8, number);
    le32_put(to + 16, key);
    le32_put(to + 20, size);
    for (uint32_t i = LEDGER_VALUE_MIN; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint8_t)(state >> 56);
    }
}

uint64_t ledger_value_read(const uint8_t *value, size_t size, uint32_t *ret_key)
{
    if (size < LEDGER_VALUE_MIN || le64_get(value) != LEDGER_MAGIC || le32_get(value + 20) != size)
        return UINT64_MAX;
    uint64_t number = le64_get(value + 8);
    *ret_key = le32_get(value + 16);
    uint8_t *expected = malloc(size);
    CHECK(expected);
    ledger_value_make(expected, number, *ret_key, (uint32_t)size);
    bool same = memcmp(expected, value, size) == 0;
    free(expected);
    return same ? number : UINT64_MAX;
}

struct ledger_state *ledger_state(struct ledger *ledger, uint64_t partition, uint64_t offset, uint32_t group)
{
    struct ledger_partition *of = partition < HISTORY_PARTITION_IDS ? &ledger->partitions[partition] : NULL;
    if (!of || of->kind != LEDGER_QUEUE || offset >= of->count)
        return NULL;
    return &of->events[offset].states[group];
}

/* ---- who has what ---- */

typedef void state_fn(struct ledger_state *state, int64_t value);

static void each_of(struct ledger *ledger, uint64_t tap, uint32_t listener, state_fn *fn, int64_t value)
{
    for (size_t i = 0; i < ledger->partition_end; i++)
        for (size_t k = 0; k < ledger->partitions[i].count; k++)
            for (uint32_t group = 0; group < LEDGER_GROUPS; group++) {
                struct ledger_state *state = &ledger->partitions[i].events[k].states[group];
                if (state->tap && (!tap || state->tap == tap) && (!listener || state->listener == listener))
                    fn(state, value);
            }
}

static void give_back(struct ledger_state *state, int64_t value)
{
    (void)value;
    state->tap = 0;
}

static void orphan(struct ledger_state *state, int64_t until_us)
{
    if (until_us < state->until_us)
        state->until_us = until_us;
}

static struct ledger_member *member_find(const struct ledger *ledger, uint64_t tap, uint32_t listener)
{
    struct ledger_member *member = ledger->members;
    while (member && (member->tap != tap || member->listener != listener))
        member = member->next;
    return member;
}

void ledger_leaves(struct ledger *ledger, uint64_t tap, int64_t now_us)
{
    for (const struct ledger_member *member = ledger->members; member; member = member->next)
        if (member->tap == tap)
            each_of(ledger, tap, member->listener, orphan, now_us + member->session_us);
}

void ledger_gone(struct ledger *ledger, uint64_t tap, int64_t now_us)
{
    ledger_leaves(ledger, tap, now_us);
    members_free(ledger, tap, 0);
    requests_free(ledger, tap);
}

void ledger_restart(struct ledger *ledger)
{
    each_of(ledger, 0, 0, give_back, 0);
    members_free(ledger, 0, 0);
    requests_free(ledger, 0);
}

/* ---- to the broker ---- */

static void up_listen(struct ledger *ledger, uint64_t tap, const Wire__Listen *message)
{
    unsigned group;
    if (sscanf(message->group, "h%u", &group) != 1 || group >= LEDGER_GROUPS)
        return;
    struct ledger_member *member = calloc(1, sizeof(*member));
    CHECK(member);
    *member = (struct ledger_member){
        .next = ledger->members, .tap = tap, .listener = message->listener, .group = group};
    member->in_flight_max = message->max_in_flight ? message->max_in_flight : IN_FLIGHT;
    member->lease_us = message->lease_ms ? message->lease_ms * INT64_C(1000) : LEASE_US;
    member->session_us =
        message->session_timeout_ms ? message->session_timeout_ms * INT64_C(1000) : SESSION_US;
    ledger->members = member;
    for (size_t i = 0; i < message->n_held; i++) { /* whether it has them again nobody says */
        struct ledger_state *state =
            ledger_state(ledger, message->held[i]->partition, message->held[i]->offset, group);
        if (state && state->attempt == message->held[i]->attempt)
            state->tap = 0;
    }
}

static void request_note(struct ledger *ledger, uint64_t tap, struct ledger_request *request,
                         Wire__Lease **leases, int64_t now_us, bool reject)
{
    const struct ledger_member *member = ledger->members;
    while (member && member->tap != tap)
        member = member->next;
    request->tap = tap;
    request->group = member ? member->group : LEDGER_GROUPS;
    if (request->lease_us == 0)
        request->lease_us = member ? member->lease_us : LEASE_US;
    request->extended_until_us = now_us + request->lease_us;
    for (size_t i = 0; member && i < request->count; i++) {
        struct settled *settled = &request->events[i];
        struct ledger_state *state =
            ledger_state(ledger, leases[i]->partition, leases[i]->offset, member->group);
        CHECK(state && leases[i]->count <= 1); /* our members name what they were given, one by one */
        *settled = (struct settled){leases[i]->partition, leases[i]->offset, leases[i]->attempt, false};
        settled->late = state->tap && !state->done && !state->dead && state->attempt > settled->attempt &&
                        !state->failing && state->until_us > now_us;
        state->rejected |= reject;
        state->acked |= request->kind == FRAME_ACK;
        if (state->attempt != settled->attempt || !state->tap)
            continue;
        if (request->kind == FRAME_EXTEND && request->extended_until_us < state->until_us)
            state->until_us = request->extended_until_us;
        else if (request->kind == FRAME_ACK)
            state->tap = 0;
        else if (request->kind == FRAME_NACK)
            state->failing = true;
    }
    request->next = ledger->requests;
    ledger->requests = request;
}

static struct ledger_request *request_create(uint8_t kind, uint64_t number, size_t count)
{
    struct ledger_request *request = calloc(1, sizeof(*request) + count * sizeof(struct settled));
    CHECK(request);
    request->kind = kind;
    request->request = number;
    request->count = count;
    return request;
}

static void *unpack(const ProtobufCMessageDescriptor *type, const uint8_t *header, size_t size)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, size, header);
    CHECK(message); /* both ends are ours */
    return message;
}

void ledger_up(struct ledger *ledger, uint64_t tap, const struct frame *frame, int64_t now_us)
{
    void *message = NULL;
    struct ledger_request *request;
    switch (frame->kind) {
    case FRAME_LISTEN:
        message = unpack(&wire__listen__descriptor, frame->header, frame->header_size);
        up_listen(ledger, tap, message);
        break;
    case FRAME_UNLISTEN:
        message = unpack(&wire__unlisten__descriptor, frame->header, frame->header_size);
        each_of(ledger, tap, ((const Wire__Unlisten *)message)->listener, give_back, 0);
        break;
    case FRAME_ACK: {
        Wire__Ack *ack = message = unpack(&wire__ack__descriptor, frame->header, frame->header_size);
        request = request_create(FRAME_ACK, ack->request, ack->n_leases);
        request_note(ledger, tap, request, ack->leases, now_us, false);
        break;
    }
    case FRAME_NACK: {
        Wire__Nack *nack = message = unpack(&wire__nack__descriptor, frame->header, frame->header_size);
        request = request_create(FRAME_NACK, nack->request, nack->n_leases);
        request_note(ledger, tap, request, nack->leases, now_us, nack->reject);
        break;
    }
    case FRAME_EXTEND: {
        Wire__Extend *extend = message = unpack(&wire__extend__descriptor, frame->header, frame->header_size);
        request = request_create(FRAME_EXTEND, extend->request, extend->n_leases);
        request->lease_us = extend->lease_ms * INT64_C(1000);
        request_note(ledger, tap, request, extend->leases, now_us, false);
        break;
    }
    default:
        break;
    }
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- to a member ---- */

/* Everything before it with its key is done or dead, and nobody has another one of them. */
static void check_key(struct ledger *ledger, uint64_t partition, uint64_t offset, uint32_t group)
{
    const struct ledger_partition *of = &ledger->partitions[partition];
    uint32_t key = of->events[offset].key;
    if (group != LEDGER_KEY_GROUP || key == 0)
        return;
    for (uint64_t i = of->begin[group]; i < of->count; i++) {
        const struct ledger_state *state = &of->events[i].states[group];
        if (of->events[i].key != key || i == offset)
            continue;
        if (i < offset && i >= of->log_start && !state->done && !state->dead)
            report_add(ledger->report, 8,
                       "partition %llu: %llu is delivered, and %llu of the same key before it is not done",
                       (unsigned long long)partition, (unsigned long long)offset, (unsigned long long)i);
    }
}

/* Somebody else has said that it is done, when it was on its way to the member: on the disk it is not yet. */
static bool ack_is_underway(const struct ledger *ledger, uint32_t group, uint64_t partition, uint64_t offset)
{
    for (const struct ledger_request *request = ledger->requests; request; request = request->next)
        for (size_t i = 0; request->kind == FRAME_ACK && request->group == group && i < request->count; i++)
            if (request->events[i].partition == partition && request->events[i].offset == offset)
                return true;
    return false;
}

static uint32_t member_has(const struct ledger *ledger, const struct ledger_member *member, int64_t now_us)
{
    uint32_t count = 0;
    for (size_t i = 0; i < ledger->partition_end; i++)
        for (size_t k = 0; k < ledger->partitions[i].count; k++) {
            const struct ledger_state *state = &ledger->partitions[i].events[k].states[member->group];
            count += state->tap == member->tap && state->listener == member->listener && !state->done &&
                     !state->failing && state->until_us > now_us + UNDERWAY_US &&
                     !ack_is_underway(ledger, member->group, i, k);
        }
    return count;
}

static void lease(struct ledger *ledger, const struct ledger_member *member, uint64_t partition,
                  uint64_t offset, uint32_t attempt, int64_t now_us)
{
    struct ledger_state *state = ledger_state(ledger, partition, offset, member->group);
    unsigned long long p = partition, o = offset;
    trace_add(ledger->trace, TRACE_SHARED_LEASED, partition, offset, attempt);
    if (!state) {
        report_add(ledger->report, 7, "group h%u: partition %llu offset %llu is delivered, and is not there",
                   member->group, p, o);
        return;
    }
    if (attempt <= state->attempts) { /* it ran out on its way here: its outcome will not count */
        trace_add(ledger->trace, TRACE_SHARED_STALE, partition, offset, attempt);
        return;
    }
    if (state->done && now_us - state->done_us <= UNDERWAY_US) { /* it was on its way when it was done */
        trace_add(ledger->trace, TRACE_SHARED_STALE, partition, offset, attempt);
        return;
    }
    if (state->done || state->dead)
        report_add(ledger->report, 5, "group h%u: partition %llu offset %llu is %s, and is delivered again",
                   member->group, p, o, state->done ? "done" : "dead");
    if (attempt != state->attempts + 1)
        report_add(ledger->report, 9,
                   "group h%u: attempt %u of partition %llu offset %llu follows %u failures", member->group,
                   attempt, p, o, state->attempts);
    if (state->tap && state->tap != member->tap && state->attempt == attempt &&
        state->until_us - now_us > state->lease_us / 2 + READING_US && !state->failing)
        report_add(ledger->report, 10,
                   "group h%u: two members have attempt %u of partition %llu offset %llu, for %lld us more",
                   member->group, attempt, p, o, (long long)(state->until_us - now_us));
    check_key(ledger, partition, offset, member->group);
    bool again =
        state->tap == member->tap && state->listener == member->listener && state->attempt == attempt;
    int64_t extended_until_us = again && state->extended_until_us > now_us ? state->extended_until_us : 0;
    state->tap = member->tap;
    state->listener = member->listener;
    state->attempt = attempt;
    state->since_us = now_us;
    state->lease_us = member->lease_us;
    state->until_us = now_us + member->lease_us;
    if (extended_until_us &&
        extended_until_us < state->until_us) /* it came when this was leased, and not sent yet */
        state->until_us = extended_until_us;
    state->extended_until_us = extended_until_us;
    state->failing = false;
}

static void down_deliver(struct ledger *ledger, uint64_t tap, const Wire__Deliver *message, int64_t now_us)
{
    const struct ledger_member *member = member_find(ledger, tap, message->listener);
    if (!member)
        return;
    trace_add(ledger->trace, TRACE_SHARED_DELIVER, tap, member->group, message->n_ranges);
    for (size_t i = 0; i < message->n_ranges; i++)
        for (uint32_t k = 0; k < message->ranges[i]->count; k++)
            lease(ledger, member, message->partition, message->base_offset + message->ranges[i]->delta + k,
                  message->ranges[i]->attempt, now_us);
    uint32_t has = member_has(ledger, member, now_us);
    if (has > member->in_flight_max)
        report_add(ledger->report, 12, "group h%u: a member has %u events and wants %u at most",
                   member->group, has, member->in_flight_max);
}

static bool refused(const Wire__Settled *message, const struct settled *event)
{
    for (size_t i = 0; i < message->n_refused; i++) {
        const Wire__Lease *lease = message->refused[i];
        uint32_t count = lease->count ? lease->count : 1;
        if (lease->partition == event->partition && event->offset >= lease->offset &&
            event->offset < lease->offset + count)
            return true;
    }
    return false;
}

static void settled(struct ledger *ledger, const struct ledger_request *request, const struct settled *event)
{
    struct ledger_state *state = ledger_state(ledger, event->partition, event->offset, request->group);
    unsigned long long p = event->partition, o = event->offset;
    trace_add(ledger->trace, TRACE_SHARED_SETTLED, request->kind, event->partition, event->offset);
    if (request->kind == FRAME_ACK && !state->done)
        report_add(ledger->report, 1, "group h%u: partition %llu offset %llu is said to be done, and is not",
                   request->group, p, o);
    if (request->kind == FRAME_NACK && !state->done && !state->dead && state->attempts < event->attempt)
        report_add(ledger->report, 1,
                   "group h%u: attempt %u of partition %llu offset %llu is said to have failed, and has not",
                   request->group, event->attempt, p, o);
    if (request->kind == FRAME_ACK && event->late && state->tap && state->attempt > event->attempt)
        report_add(ledger->report, 10,
                   "group h%u: attempt %u of partition %llu offset %llu counts, and %u is out",
                   request->group, event->attempt, p, o, state->attempt);
    if (request->kind == FRAME_EXTEND && state->tap && state->attempt == event->attempt) {
        state->tap =
            request->tap; /* of an ACK that was refused nobody is left: whoever asks for more time has it */
        state->until_us = state->extended_until_us = request->extended_until_us;
        state->since_us = request->extended_until_us - request->lease_us;
        state->lease_us = request->lease_us;
    }
}

static void down_settled(struct ledger *ledger, uint64_t tap, const Wire__Settled *message)
{
    struct ledger_request **at = &ledger->requests;
    while (*at && ((*at)->tap != tap || (*at)->request != message->request))
        at = &(*at)->next;
    struct ledger_request *request = *at;
    if (!request) {
        report_add(ledger->report, 6, "request %llu is settled, and nobody has made it",
                   (unsigned long long)message->request);
        return;
    }
    *at = request->next;
    trace_add(ledger->trace, TRACE_SHARED_ANSWER, request->kind, tap, (uint64_t)-message->code);
    for (size_t i = 0; i < request->count && request->group < LEDGER_GROUPS; i++) {
        if (message->code == 0 && !refused(message, &request->events[i]))
            settled(ledger, request, &request->events[i]);
        else if (message->code == 0)
            trace_add(ledger->trace, TRACE_SHARED_REFUSED, request->kind, request->events[i].partition,
                      request->events[i].offset);
    }
    free(request);
}

void ledger_down(struct ledger *ledger, uint64_t tap, uint8_t kind, const uint8_t *header, size_t size,
                 int64_t now_us)
{
    void *message = NULL;
    if (kind == FRAME_DELIVER) {
        message = unpack(&wire__deliver__descriptor, header, size);
        down_deliver(ledger, tap, message, now_us);
    } else if (kind == FRAME_SETTLED) {
        message = unpack(&wire__settled__descriptor, header, size);
        down_settled(ledger, tap, message);
    } else if (kind == FRAME_ENDED) {
        message = unpack(&wire__ended__descriptor, header, size);
        uint32_t listener = ((const Wire__Ended *)message)->listener;
        if (member_find(ledger, tap, listener))
            each_of(ledger, tap, listener, give_back, 0);
        members_free(ledger, tap, listener);
    }
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- the end ---- */

bool ledger_begun(const struct ledger *ledger, uint32_t topic, uint32_t group)
{
    for (size_t i = 0; i < ledger->partition_end; i++)
        if (ledger->partitions[i].kind == LEDGER_QUEUE && ledger->partitions[i].topic == topic &&
            ledger->partitions[i].begun[group])
            return true;
    return false;
}

static uint64_t first_open(const struct ledger_partition *of, uint32_t group)
{
    uint64_t from = of->begin[group] > of->log_start ? of->begin[group] : of->log_start;
    while (of->begun[group] && from < of->count && of->events[from].states[group].done)
        from++;
    return of->begun[group] && from < of->count ? from : UINT64_MAX;
}

bool ledger_open(const struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->partition_end; i++)
        for (uint32_t group = 0; group < LEDGER_GROUPS && ledger->partitions[i].kind == LEDGER_QUEUE; group++)
            if (first_open(&ledger->partitions[i], group) != UINT64_MAX)
                return true;
    return false;
}

void ledger_open_report(const struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->partition_end; i++)
        for (uint32_t group = 0; group < LEDGER_GROUPS && ledger->partitions[i].kind == LEDGER_QUEUE;
             group++) {
            const struct ledger_partition *of = &ledger->partitions[i];
            uint64_t offset = first_open(of, group);
            if (offset != UINT64_MAX)
                report_add(
                    ledger->report, 13,
                    "group h%u: partition %zu offset %llu of %zu is never done (%u failures, dead: %d)",
                    group, i, (unsigned long long)offset, of->count,
                    of->events[offset].states[group].attempts, of->events[offset].states[group].dead);
        }
}
