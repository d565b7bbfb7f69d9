/* shared_settle.c: ACK, NACK and EXTEND: what counts, what does not, and how it gets into the log.
 *
 * What counts becomes a mark of the open entry; all marks of a group become one command when that is sealed. The item waits as
 * SETTLING: when the entry is durable, apply (shared_state.c) lets it go or fail; when it is refused, it is again what it was.
 *
 * Happy path:  shared_settle → judged → marks → shared_encode → durable → SETTLED
 * Failures:    an event that somebody else has by now, or that is settled otherwise, is named in the answer as not counting. One
 *              that is just being settled makes the whole request wait for that. A refused entry: nothing counts.
 * Thread: the core's. Pure. */
#include "broker/core/shared_internal.h"

/* ---- marks ---- */

static void mark_add(struct shard *shard, struct shared_mark mark)
{
    struct shard_entry *entry = shard_gather(shard);
    entry->marks = core_grow(entry->marks, entry->mark_count, &entry->mark_capacity, sizeof(mark));
    entry->marks[entry->mark_count++] = mark;
    mark.shared->entry = entry->number;
}

static void item_settle(struct shard *shard, struct item *item, enum item_outcome outcome)
{
    bool leased = item->state == ITEM_LEASED;
    item->holder = leased && item->worker ? item->worker->member->generation : 0;
    item_close(shard, item);
    item->state = ITEM_SETTLING;
    item->was_leased = leased;
    item->outcome = outcome;
    item->shared->settling++;
    mark_add(shard, (struct shared_mark){item->shared, item, item->offset, item->offset + 1});
    item->entry = shard->gathering->number;
    if (leased) /* somebody has room again */
        shared_stir_position(shard, item->shared->position);
}

void shared_mark_done(struct shard *shard, struct item *item)
{
    item_settle(shard, item, ITEM_DONE);
}

void shared_mark_none(struct shard *shard, struct shared *shared, uint64_t first, uint64_t end)
{
    mark_add(shard, (struct shared_mark){shared, NULL, first, end});
}

/* first · 2^(attempts - 1), at most max; the upper half of that is drawn. */
static int64_t backoff_us(struct shard *shard, const struct retry_policy *policy, uint32_t attempts)
{
    uint64_t us = (policy->first_ms ? policy->first_ms : RETRY_FIRST_MS) * UINT64_C(1000);
    uint64_t max_us = (policy->max_ms ? policy->max_ms : RETRY_MAX_MS) * UINT64_C(1000);
    for (uint32_t i = 1; i < attempts && us < max_us; i++)
        us *= 2;
    if (us > max_us)
        us = max_us;
    uint64_t random;
    shard->ops->random(shard->ops_ctx, &random, sizeof(random));
    return (int64_t)(us - us / 2 + random % (us / 2 + 1));
}

void shared_mark_failed(struct shard *shard, struct item *item, const struct failure *failure)
{
    const struct retry_policy *policy = &shared_partition(shard, item->shared)->topic->retry;
    struct retry retry = {.offset = item->offset, .attempts = item->attempts + 1};
    retry.dead = failure->reject || retry.attempts >= retry_deliveries(policy);
    retry.due_us = shard->time.now_us;
    if (!retry.dead)
        retry.due_us += failure->delay_us ? failure->delay_us : backoff_us(shard, policy, retry.attempts);
    if (retry.dead)
        retry.reason = core_strdup(failure->reason && failure->reason[0] ? failure->reason : "it failed");
    item_settle(shard, item, ITEM_FAILED);
    item->retry = retry;
}

/* ---- into the log ---- */

static int by_place(const void *a, const void *b)
{
    const struct shared_mark *left = a, *right = b;
    const struct group_position *one = left->shared->position, *other = right->shared->position;
    int order = one->key.group == other->key.group ? 0 : strcmp(one->key.group->name, other->key.group->name);
    if (order)
        return order;
    if (one->key.partition != other->key.partition)
        return one->key.partition < other->key.partition ? -1 : 1;
    return (left->first > right->first) - (left->first < right->first);
}

/* The marks of one partition as a message has them. */
struct events_block {
    State__SharedEvents message;
    struct ranges done;
};

static void events_pack(struct events_block *block, const struct shared_mark *marks, size_t count)
{
    State__SharedEvents *message = &block->message;
    state__shared_events__init(message);
    message->partition = marks[0].shared->position->key.partition;
    State__SharedRetry *retries = core_alloc((count + 1) * sizeof(*retries));
    message->retries = core_alloc((count + 1) * sizeof(State__SharedRetry *));
    for (size_t i = 0; i < count; i++) {
        const struct item *item = marks[i].item;
        if (!item || item->outcome == ITEM_DONE) {
            ranges_add(&block->done, marks[i].first, marks[i].end);
            continue;
        }
        State__SharedRetry *retry = &retries[message->n_retries];
        retry_pack(&item->retry, retry);
        message->retries[message->n_retries++] = retry;
    }
    message->retries[message->n_retries] = retries; /* so that it is found again, also when there are none */
    message->done = core_alloc((2 * block->done.count + 1) * sizeof(uint64_t));
    message->n_done = done_pack(block->done.at, block->done.count, 0, message->done);
}

static void events_packed(struct events_block *block)
{
    free(block->message.retries[block->message.n_retries]);
    free(block->message.retries);
    free(block->message.done);
    ranges_finish(&block->done);
}

/* One command: the marks are one group's. */
static void progress_encode(struct shard *shard, const struct shared_mark *marks, size_t count)
{
    struct events_block *blocks = core_alloc(count * sizeof(*blocks));
    State__SharedEvents **pointers = core_alloc(count * sizeof(State__SharedEvents *));
    State__SharedProgress command = STATE__SHARED_PROGRESS__INIT;
    command.group = marks[0].shared->position->key.group->name;
    command.events = pointers;
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && marks[end].shared == marks[i].shared;)
            end++;
        events_pack(&blocks[command.n_events], &marks[i], end - i);
        pointers[command.n_events] = &blocks[command.n_events].message;
        command.n_events++;
    }
    size_t size = state__shared_progress__get_packed_size(&command);
    uint8_t *bytes = core_alloc(size);
    state__shared_progress__pack(&command, bytes);
    shard_add_command(shard, COMMAND_SHARED_PROGRESS, bytes, size);
    free(bytes);
    for (size_t i = 0; i < command.n_events; i++)
        events_packed(&blocks[i]);
    free(pointers);
    free(blocks);
}

void shared_encode(struct shard *shard, struct shard_entry *entry)
{
    const struct shared_mark *marks = entry->marks;
    if (!entry->mark_count)
        return;
    qsort(entry->marks, entry->mark_count, sizeof(*marks), by_place);
    for (size_t i = 0, end; i < entry->mark_count; i = end) {
        const struct group *group = marks[i].shared->position->key.group;
        for (end = i + 1; end < entry->mark_count && marks[end].shared->position->key.group == group;)
            end++;
        progress_encode(shard, &marks[i], end - i);
    }
}

/* Nobody's name is on it any more, and others may get it at the same attempt: if it has been leased to the member once more and is
 * not sent yet, it must not be. */
static void holder_tell(struct shard *shard, const struct item *item)
{
    const struct member *member = item->holder ? member_find(shard, item->holder) : NULL;
    if (!member)
        return;
    struct lease lease = {item->shared->position->key.partition, item->offset, 1, item->attempts + 1};
    struct shard_reply reply = {.kind = SHARD_UNLEASED,
                                .token = member->token,
                                .generation = member->generation,
                                .leases = &lease,
                                .lease_count = 1};
    shard->output->reply(shard->output_ctx, &reply);
}

/* It is again what it was; but what was leased has nobody's name on it: whoever comes with its outcome is right. */
static void mark_set_back(struct shard *shard, const struct shared_mark *mark)
{
    struct item *item = mark->item;
    mark->shared->entry = 0; /* whatever is still on its way of this epoch is set back, too */
    if (!item) {
        if (mark->shared->frontier > mark->first)
            mark->shared->frontier = mark->first;
        return;
    }
    bool done_leased = item->was_leased && item->outcome == ITEM_DONE;
    item_close(shard, item);
    if (!item->dead)
        holder_tell(shard, item);
    if (done_leased) {
        item_orphan(shard, item, INT64_MAX);
    } else if (item->dead) {
        item_wait(shard, item, shard->mono_us + 1000000); /* its dead letter is tried again */
    } else {
        item_open(shard, item);
        shared_stir_position(shard, mark->shared->position);
    }
}

void shared_set_back(struct shard *shard, struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->mark_count; i++)
        mark_set_back(shard, &entry->marks[i]);
    entry->mark_count = 0;
    for (size_t i = 0; i < entry->kind_count; i++) {
        entry->kinds[i]->kind_prepared = entry->kinds[i]->kind;
        entry->kinds[i]->kind_entry = 0;
    }
    entry->kind_count = 0;
}

uint64_t shared_depends(const struct shard *shard, const struct group *group)
{
    uint64_t depends_on = group->kind_entry;
    for (const struct group_position *position = group->positions; position; position = position->next)
        if (!position->deleted && position->shared && position->shared->entry > depends_on)
            depends_on = position->shared->entry;
    return depends_on > shard->entry_done ? depends_on : 0;
}

/* ---- judged ---- */

enum verdict { COUNTS, IS_SO, REFUSED, WAITS };

static enum verdict judge_ack(const struct item *item, const struct lease *lease)
{
    return item->state == ITEM_LEASED && item->attempts + 1 > lease->attempt ? REFUSED : COUNTS;
}

static enum verdict judge_nack(const struct item *item, const struct worker *worker,
                               const struct lease *lease)
{
    if (item->attempts >= lease->attempt)
        return IS_SO; /* that attempt has failed already */
    bool others = item->state == ITEM_LEASED && item->worker && item->worker != worker;
    return others || item->attempts + 1 != lease->attempt ? REFUSED : COUNTS;
}

static enum verdict judge_extend(const struct item *item, const struct worker *worker,
                                 const struct lease *lease)
{
    bool own = item->state == ITEM_LEASED && (!item->worker || item->worker == worker);
    return own && item->attempts + 1 == lease->attempt ? COUNTS : REFUSED;
}

struct settling {
    struct shard *shard;
    const struct shard_request *request;
    struct worker *worker;
    struct shared *shared; /* of the lease at hand */
};

static enum verdict judge(const struct settling *settling, const struct lease *lease, uint64_t offset,
                          struct item **ret_item)
{
    const struct shared *shared = settling->shared;
    enum shard_request_kind kind = settling->request->kind;
    struct item *item = *ret_item = item_find(shared, offset);
    if (offset >= shared_partition(settling->shard, shared)->next)
        return REFUSED;
    if (!item) { /* done; or it was leased before a restart, and nobody has looked so far since */
        if (shared_done(shared, offset))
            return kind == SHARD_ACK ? IS_SO : REFUSED;
        return kind == SHARD_EXTEND || shared->items.count >= 2 * SHARED_OPEN_MAX ? REFUSED : COUNTS;
    }
    if (item->state == ITEM_SETTLING)
        return WAITS;
    if (kind == SHARD_ACK)
        return judge_ack(item, lease);
    return kind == SHARD_NACK ? judge_nack(item, settling->worker, lease)
                              : judge_extend(item, settling->worker, lease);
}

static void count(const struct settling *settling, uint64_t offset, struct item *item)
{
    struct shard *shard = settling->shard;
    const struct shard_request *request = settling->request;
    if (!item)
        item = item_create(shard, settling->shared, offset);
    if (request->kind == SHARD_ACK) {
        shared_mark_done(shard, item);
    } else if (request->kind == SHARD_NACK) {
        struct failure failure = {request->lease_us, request->reason, request->reject};
        shared_mark_failed(shard, item, &failure);
    } else {
        int64_t lease_us = request->lease_us ? request->lease_us : settling->worker->lease_us;
        item_lease(shard, item, settling->worker, lease_us);
        item->claimed = true;
    }
}

/* The partition of a lease for the member's group; NULL: it is not of its topic. */
static struct shared *lease_shared(struct shard *shard, const struct member *member,
                                   const struct lease *lease)
{
    if (!crew_slot(member->crew, lease->partition))
        return NULL;
    struct group_position *position = position_find(shard, member->crew->group, lease->partition);
    return position && position->shared && position->shared->open ? position->shared : NULL;
}

/* The last entry that something named is being settled by; 0: none. */
static uint64_t waits_for(struct settling *settling, const struct member *member)
{
    const struct shard_request *request = settling->request;
    uint64_t entry = 0;
    for (size_t i = 0; i < request->lease_count; i++) {
        const struct lease *lease = &request->leases[i];
        settling->shared = lease_shared(settling->shard, member, lease);
        if (!settling->shared->settling)
            continue;
        for (uint32_t k = 0; k < lease->count; k++) {
            struct item *item;
            if (judge(settling, lease, lease->offset + k, &item) == WAITS && item->entry > entry)
                entry = item->entry;
        }
    }
    return entry;
}

struct refused {
    struct lease *leases;
    size_t count, capacity;
};

static void refuse(struct refused *refused, const struct lease *lease, uint64_t offset)
{
    struct lease *last = refused->count ? &refused->leases[refused->count - 1] : NULL;
    if (last && last->partition == lease->partition && last->offset + last->count == offset &&
        last->attempt == lease->attempt) {
        last->count++;
        return;
    }
    refused->leases = core_grow(refused->leases, refused->count, &refused->capacity, sizeof(struct lease));
    refused->leases[refused->count++] = (struct lease){lease->partition, offset, 1, lease->attempt};
}

static void settled(struct shard *shard, const struct shard_request *request, const struct lease *refused,
                    size_t refused_count)
{
    struct shard_reply reply = {.kind = SHARD_SETTLED,
                                .request_kind = request->kind,
                                .token = request->token,
                                .generation = request->generation,
                                .leases = refused,
                                .lease_count = refused_count};
    shard->output->reply(shard->output_ctx, &reply);
}

/* True: something was marked, so the answer waits for the open entry. */
static bool count_all(struct settling *settling, const struct member *member, struct refused *refused)
{
    const struct shard_request *request = settling->request;
    bool marked = false;
    for (size_t i = 0; i < request->lease_count; i++) {
        const struct lease *lease = &request->leases[i];
        settling->shared = lease_shared(settling->shard, member, lease);
        for (uint32_t k = 0; k < lease->count; k++) {
            struct item *item;
            enum verdict verdict = judge(settling, lease, lease->offset + k, &item);
            if (verdict == COUNTS)
                count(settling, lease->offset + k, item);
            else if (verdict == REFUSED)
                refuse(refused, lease, lease->offset + k);
            marked |= verdict == COUNTS && request->kind != SHARD_EXTEND;
        }
    }
    return marked;
}

void shared_settle(struct shard *shard, const struct shard_request *request)
{
    if (request->written) {
        settled(shard, request, request->leases, request->lease_count);
        return;
    }
    const struct member *member = member_find(shard, request->generation);
    int code = !member || !member->worker || !member->joined ? WIRE_CRIER_EFENCED
               : shard->read_only                            ? WIRE_CRIER_EIO
                                                             : 0;
    for (size_t i = 0; !code && i < request->lease_count; i++)
        if (!lease_shared(shard, member, &request->leases[i]))
            code = WIRE_CRIER_EINVAL;
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    struct settling settling = {shard, request, member->worker, NULL};
    uint64_t entry = waits_for(&settling, member);
    if (entry) {
        shard_park(shard, entry, request);
        return;
    }
    struct refused refused = {0};
    if (count_all(&settling, member, &refused)) {
        struct shard_request written = *request;
        written.written = true;
        written.leases = refused.leases;
        written.lease_count = refused.count;
        shard_park(shard, shard->gathering->number, &written);
    } else {
        settled(shard, request, refused.leases, refused.count);
    }
    free(refused.leases);
}
