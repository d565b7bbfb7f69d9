/* session_shared.c: what a member of a shared group gets: events leased to it, in the batches they were emitted in.
 *
 * A member with credit and nothing at hand asks for events. What the shard leases to it is of one partition and lies in `leases`,
 * ascending, until it is sent; the cursor of that partition stands at the first of them, so that the lines, the cache and the
 * reads of delivery.c serve it like any other. A batch goes out whole, with the ranges that are the member's; what else of it is
 * leased to the member later needs no bytes (held).
 *
 * Happy path:  sharing_ask → SHARD_WANT → listener_leased → shared_deliver: held, cached or read → DELIVER → sharing_ask
 * Failures:    credit runs out: what is not sent is given back, it was no attempt. No batch has the event: the shard is told.
 *              The shard takes a lease back (UNLEASED): not sent yet, it is forgotten.
 *              The listener ends: what is not sent is given back; UNLISTEN gives back all, a lost connection leaves the rest
 *              leased for its session timeout. */
#include "broker/core/session_internal.h"

#define DELIVER_RANGES_MAX 2000u /* of one frame: they fit its header */
#define BATCHES_MAX        64u
#define LEASE_MS_MAX       43200000u
#define IN_FLIGHT_MAX      4096u

struct sharing {
    enum group_kind kind;
    int64_t lease_us;
    uint32_t in_flight_max;
    struct lease *held; /* what it was at before: until it has joined */
    size_t held_count;
    bool asked;
    struct cursor *cursor; /* of `leases`; NULL: there are none */
    struct lease *leases;  /* not sent yet, from `first` on */
    size_t first, count, capacity;
    struct held_batch { /* the last one sent, of each partition */
        UT_hash_handle hh;
        uint64_t partition, base, end;
    } * batches;
};

/* ---- LISTEN ---- */

const char *sharing_problem(const Wire__Listen *message)
{
    if (message->kind == WIRE__GROUP_KIND__ORDERED)
        return NULL;
    if (message->kind > WIRE__GROUP_KIND__KEY_ORDERED)
        return "a group is ordered, shared or key-ordered";
    if (!message->group[0])
        return "only a group can be shared";
    if (message->lease_ms > LEASE_MS_MAX || message->max_in_flight > IN_FLIGHT_MAX)
        return "a lease is at most 12 hours, and 4,096 events are in flight at most";
    struct lease *held = leases_read(message->held, message->n_held);
    free(held);
    return held ? NULL : "what is held makes no sense";
}

void sharing_create(struct listener *listener, const Wire__Listen *message)
{
    if (message->kind == WIRE__GROUP_KIND__ORDERED)
        return;
    struct sharing *sharing = listener->sharing = core_alloc(sizeof(*sharing));
    sharing->kind = (enum group_kind)message->kind;
    sharing->lease_us = message->lease_ms * INT64_C(1000);
    sharing->in_flight_max = message->max_in_flight;
    sharing->held = leases_read(message->held, message->n_held);
    sharing->held_count = message->n_held;
}

void sharing_join(const struct listener *listener, struct shard_request *join)
{
    const struct sharing *sharing = listener->sharing;
    join->group_kind = sharing->kind;
    join->lease_us = sharing->lease_us;
    join->in_flight_max = sharing->in_flight_max;
    join->leases = sharing->held;
    join->lease_count = sharing->held_count;
}

void sharing_begin(struct listener *listener)
{
    struct cursor *cursor;
    DL_FOREACH2(listener->cursors, cursor, next_own)
    cursor->next = UINT64_MAX; /* behind everything: only leases wake it */
    free(listener->sharing->held);
    listener->sharing->held = NULL;
    sharing_ask(listener);
}

/* ---- asking, giving back ---- */

void sharing_ask(struct listener *listener)
{
    struct sharing *sharing = listener->sharing;
    if (!sharing || sharing->asked || sharing->cursor || listener->state != LISTENER_ACTIVE ||
        listener->connection->session->draining || !listener_credit(listener))
        return;
    sharing->asked = true;
    struct shard_request want = {.kind = SHARD_WANT, .generation = listener->generation};
    shard_submit(listener->connection->session->shard, &want);
}

static void tell(const struct listener *listener, enum shard_request_kind kind, const struct lease *leases,
                 size_t count)
{
    struct shard_request request = {
        .kind = kind, .generation = listener->generation, .leases = leases, .lease_count = count};
    shard_submit(listener->connection->session->shard, &request);
}

/* Nothing is left to be sent. */
static void leases_end(struct listener *listener)
{
    struct sharing *sharing = listener->sharing;
    sharing->first = sharing->count = 0;
    if (!sharing->cursor)
        return;
    sharing->cursor->next = UINT64_MAX;
    sharing->cursor = NULL;
}

static void give_back(struct listener *listener)
{
    const struct sharing *sharing = listener->sharing;
    if (sharing->first < sharing->count)
        tell(listener, SHARD_RETURN, sharing->leases + sharing->first, sharing->count - sharing->first);
    leases_end(listener);
}

void sharing_leave(struct listener *listener, struct shard_request *leave)
{
    give_back(listener);
    leave->lease_us = listener->unlistened ? 0 : listener->session_timeout_us;
}

void sharing_destroy(struct listener *listener)
{
    struct sharing *sharing = listener->sharing;
    if (!sharing)
        return;
    struct held_batch *batch, *next;
    HASH_ITER (hh, sharing->batches, batch, next) {
        HASH_DEL(sharing->batches, batch);
        free(batch);
    }
    free(sharing->held);
    free(sharing->leases);
    free(sharing);
}

void listener_leased(struct listener *listener, const struct shard_reply *reply)
{
    struct sharing *sharing = listener->sharing;
    struct cursor *cursor = listener_cursor(listener, reply->leases[0].partition);
    CHECK(cursor && !sharing->cursor);
    while (sharing->capacity < reply->lease_count)
        sharing->leases =
            core_grow(sharing->leases, sharing->capacity, &sharing->capacity, sizeof(struct lease));
    memcpy(sharing->leases, reply->leases, reply->lease_count * sizeof(struct lease));
    sharing->count = reply->lease_count;
    sharing->asked = false;
    sharing->cursor = cursor;
    cursor->next = sharing->leases[0].offset;
    cursor_wake(cursor);
}

static void lease_insert(struct sharing *sharing, size_t place, struct lease lease)
{
    sharing->leases = core_grow(sharing->leases, sharing->count, &sharing->capacity, sizeof(struct lease));
    struct lease *at = &sharing->leases[place];
    memmove(at + 1, at, (sharing->count - place) * sizeof(*at));
    *at = lease;
    sharing->count++;
}

static void lease_remove(struct sharing *sharing, size_t place)
{
    struct lease *at = &sharing->leases[place];
    sharing->count--;
    memmove(at, at + 1, (sharing->count - place) * sizeof(*at));
}

/* The member settled an earlier copy of it, and the entry was refused. Not sent yet, it is taken out of what is leased; when that
 * was all, its cursor's turn or the read under way finds nothing to send and asks for more. */
void listener_unleased(struct listener *listener, const struct shard_reply *reply)
{
    struct sharing *sharing = listener->sharing;
    const struct lease *lost = reply->leases;
    if (!sharing || !sharing->cursor || listener->generation != reply->generation)
        return;
    for (size_t i = sharing->first; i < sharing->count; i++) {
        struct lease *lease = &sharing->leases[i];
        if (lease->partition != lost->partition || lost->offset < lease->offset ||
            lost->offset >= lease->offset + lease->count)
            continue;
        struct lease behind = *lease;
        behind.offset = lost->offset + 1;
        behind.count = (uint32_t)(lease->offset + lease->count - behind.offset);
        lease->count = (uint32_t)(lost->offset - lease->offset);
        if (behind.count)
            lease_insert(sharing, i + 1, behind);
        if (!sharing->leases[i].count)
            lease_remove(sharing, i);
        return;
    }
}

/* ---- DELIVER ---- */

static struct held_batch *held_batch(struct sharing *sharing, uint64_t partition)
{
    struct held_batch *batch = NULL;
    HASH_FIND(hh, sharing->batches, &partition, sizeof(partition), batch);
    return batch;
}

static void held_note(struct sharing *sharing, uint64_t partition, uint64_t base, uint64_t end)
{
    struct held_batch *batch = held_batch(sharing, partition);
    if (!batch) {
        batch = core_alloc(sizeof(*batch));
        batch->partition = partition;
        HASH_ADD(hh, sharing->batches, partition, sizeof(batch->partition), batch);
    }
    batch->base = base;
    batch->end = end;
}

/* A frame as it is put together. */
struct parcel {
    struct cursor *cursor;
    uint64_t base;
    struct slice slices[BATCHES_MAX];
    size_t slice_count, bytes;
    Wire__Range ranges[DELIVER_RANGES_MAX];
    size_t range_count;
};

static void parcel_begin(struct parcel *parcel, struct cursor *cursor)
{
    parcel->cursor = cursor;
    parcel->slice_count = parcel->bytes = parcel->range_count = 0;
}

static void parcel_send(struct parcel *parcel)
{
    struct cursor *cursor = parcel->cursor;
    struct listener *listener = cursor->listener;
    struct session *session = listener->connection->session;
    if (!parcel->range_count)
        return;
    Wire__Range *pointers[DELIVER_RANGES_MAX];
    for (size_t i = 0; i < parcel->range_count; i++)
        pointers[i] = &parcel->ranges[i];
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    deliver.listener = listener->id;
    deliver.partition = cursor->view->id;
    deliver.high_watermark = cursor->view->high_watermark;
    deliver.ranges = pointers;
    deliver.n_ranges = parcel->range_count;
    deliver.base_offset = parcel->base;
    deliver.held = parcel->slice_count == 0;
    connection_send(listener->connection, FRAME_DELIVER, &deliver.base, parcel->slices, parcel->slice_count);
    listener->delivered += parcel->bytes;
    session->count_batches += parcel->slice_count;
    session->count_bytes += parcel->bytes;
    parcel_begin(parcel, cursor);
}

static bool parcel_full(const struct parcel *parcel)
{
    return parcel->range_count == DELIVER_RANGES_MAX;
}

/* The first lease, or its part below `end`, goes into the parcel. */
static void parcel_range(struct parcel *parcel, struct sharing *sharing, uint64_t end)
{
    struct lease *lease = &sharing->leases[sharing->first];
    uint64_t there = lease->offset + lease->count < end ? lease->count : end - lease->offset;
    Wire__Range *last = parcel->range_count ? &parcel->ranges[parcel->range_count - 1] : NULL;
    if (!parcel->range_count && !parcel->slice_count)
        parcel->base = lease->offset;
    uint32_t delta = (uint32_t)(lease->offset - parcel->base);
    if (last && last->delta + last->count == delta && last->attempt == lease->attempt) {
        last->count += (uint32_t)there;
    } else {
        Wire__Range *range = &parcel->ranges[parcel->range_count++];
        wire__range__init(range);
        range->delta = delta;
        range->count = (uint32_t)there;
        range->attempt = lease->attempt;
    }
    lease->offset += there;
    lease->count -= (uint32_t)there;
    if (!lease->count)
        sharing->first++;
}

static bool lease_below(const struct sharing *sharing, uint64_t end)
{
    return sharing->first < sharing->count && sharing->leases[sharing->first].offset < end;
}

/* No batch has what is leased below `end`. */
static void leases_none(struct listener *listener, uint64_t end)
{
    struct sharing *sharing = listener->sharing;
    while (lease_below(sharing, end)) {
        struct lease *lease = &sharing->leases[sharing->first];
        struct lease none = *lease;
        if (none.offset + none.count > end)
            none.count = (uint32_t)(end - none.offset);
        tell(listener, SHARD_NONE, &none, 1);
        lease->offset += none.count;
        lease->count -= none.count;
        if (!lease->count)
            sharing->first++;
    }
}

/* Those in the batch the member has already. */
static void send_held(struct parcel *parcel, struct cursor *cursor, uint64_t end)
{
    struct sharing *sharing = cursor->listener->sharing;
    parcel_begin(parcel, cursor);
    while (lease_below(sharing, end)) {
        parcel_range(parcel, sharing, end);
        if (parcel_full(parcel))
            parcel_send(parcel);
    }
    parcel_send(parcel);
}

struct found {
    uint64_t base;
    uint32_t span;
    struct slice batch;
};

/* What of these batches is leased, as far as credit goes; at least the first one. */
static void send_found(struct parcel *parcel, struct cursor *cursor, const struct found *found, size_t count)
{
    struct listener *listener = cursor->listener;
    struct sharing *sharing = listener->sharing;
    parcel_begin(parcel, cursor);
    for (size_t i = 0; i < count && sharing->first < sharing->count; i++) {
        uint64_t end = found[i].base + found[i].span;
        leases_none(listener, found[i].base);
        if (!lease_below(sharing, end))
            continue;
        if (parcel->slice_count &&
            (parcel->bytes + found[i].batch.size > DELIVER_FRAME_BYTES || parcel_full(parcel)))
            parcel_send(parcel);
        if (listener->delivered + parcel->bytes >= listener->credit)
            break;
        if (!parcel->slice_count)
            parcel->base = found[i].base;
        parcel->slices[parcel->slice_count++] = found[i].batch;
        parcel->bytes += found[i].batch.size;
        held_note(sharing, cursor->view->id, found[i].base, end);
        while (lease_below(sharing, end) && !parcel_full(parcel))
            parcel_range(parcel, sharing, end);
        if (lease_below(sharing, end)) { /* more ranges than a frame holds: they need no bytes */
            parcel_send(parcel);
            send_held(parcel, cursor, end);
        }
    }
    parcel_send(parcel);
}

/* False: what is first is not in the cache. */
static bool send_cached(struct parcel *parcel, struct cursor *cursor)
{
    const struct tail *tail = &cursor->view->tail;
    const struct sharing *sharing = cursor->listener->sharing;
    uint32_t place = tail_find(tail, cursor->next);
    if (place == UINT32_MAX)
        return false;
    struct found found[BATCHES_MAX];
    size_t count = 0, lease = sharing->first;
    while (count < BATCHES_MAX && place < tail->count && lease < sharing->count) {
        const struct cached_batch *cached = tail_at(tail, place);
        uint64_t end = cached->base_offset + cached->span;
        if (sharing->leases[lease].offset >= end) { /* others have all of this one */
            place = tail_find(tail, sharing->leases[lease].offset);
            continue;
        }
        found[count++] = (struct found){cached->base_offset, cached->span, cached->batch};
        while (lease < sharing->count && sharing->leases[lease].offset + sharing->leases[lease].count <= end)
            lease++;
        place++;
    }
    cursor->listener->connection->session->count_cached += count;
    send_found(parcel, cursor, found, count);
    return true;
}

/* Something was sent: the cursor stands at what is next; or it is asked for more, or given back. */
static void shared_go_on(struct cursor *cursor)
{
    struct listener *listener = cursor->listener;
    struct sharing *sharing = listener->sharing;
    if (sharing->first == sharing->count) {
        leases_end(listener);
        sharing_ask(listener);
        return;
    }
    cursor->next = sharing->leases[sharing->first].offset;
    if (listener_credit(listener))
        cursor_wake(cursor);
    else
        give_back(listener);
}

void shared_deliver(struct cursor *cursor)
{
    struct session *session = cursor->listener->connection->session;
    struct sharing *sharing = cursor->listener->sharing;
    struct parcel parcel;
    cursor_sleep(cursor);
    leases_none(cursor->listener, cursor->view->log_start);
    if (sharing->first < sharing->count)
        cursor->next = sharing->leases[sharing->first].offset;
    const struct held_batch *held = held_batch(sharing, cursor->view->id);
    if (held && cursor->next >= held->base && lease_below(sharing, held->end))
        send_held(&parcel, cursor, held->end);
    else if (sharing->first < sharing->count && !send_cached(&parcel, cursor)) {
        cursor_read(session, cursor);
        return;
    }
    shared_go_on(cursor);
}

void shared_read_back(struct cursor *cursor, const struct store_read *read)
{
    struct parcel parcel;
    struct found found[STORE_READ_BATCHES_MAX];
    for (uint32_t i = 0; i < read->count; i++)
        found[i] =
            (struct found){read->batches[i].base_offset, read->batches[i].span, read->batches[i].batch};
    leases_none(cursor->listener, read->count ? cursor->view->log_start : read->until);
    send_found(&parcel, cursor, found, read->count);
    shared_go_on(cursor);
}
