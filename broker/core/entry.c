/* entry.c: the entry one turn gathers: opened, filled, handed to the store, and what follows when the store is done.
 *
 * Happy path:  shard_gather → shard_add_part ... → entry_seal → store append → entry_done → shard_apply → answers,
 *              batches to the session
 * Failures:    disk full: prepared state goes back to what is applied and the append epoch is raised; the answers say
 *              refused. I/O error: the answers say unknown, and the shard is read-only from then on. */
#include "broker/core/shard_internal.h"

static void entry_done(struct store_append *append, void *ctx);

static struct shard_entry *entry_begin(struct shard *shard)
{
    struct shard_entry *entry = shard->entries_free;
    if (entry)
        shard->entries_free = entry->next;
    else
        entry = core_alloc(sizeof(*entry));
    entry->next = NULL;
    entry->shard = shard;
    entry->number = ++shard->entry_number;
    return entry;
}

static void entry_recycle(struct shard_entry *entry)
{
    CHECK(!entry->emits && !entry->parked);
    for (size_t i = 0; i < entry->part_count; i++)
        slice_unref(&entry->parts[i].payload);
    entry->part_count = entry->position_count = entry->source_count = entry->topic_count = 0;
    entry->scheduled_count = entry->ended_count = 0;
    entry->change_count = entry->move_count = entry->mark_count = entry->kind_count = 0;
    entry->size = 0;
    entry->next = entry->shard->entries_free;
    entry->shard->entries_free = entry;
}

void entry_free(struct shard_entry *entry)
{
    free(entry->parts);
    free(entry->positions);
    free(entry->sources);
    free(entry->topics);
    free(entry->changes);
    free(entry->moves);
    free(entry->scheduled);
    free(entry->ended);
    free(entry->marks);
    free(entry->kinds);
    free(entry);
}

struct shard_entry *shard_gather(struct shard *shard)
{
    if (!shard->gathering)
        shard->gathering = entry_begin(shard);
    return shard->gathering;
}

void shard_add_part(struct shard *shard, const struct entry_part *part)
{
    struct shard_entry *entry = shard_gather(shard);
    entry->parts = core_grow(entry->parts, entry->part_count, &entry->part_capacity, sizeof(entry->parts[0]));
    entry->parts[entry->part_count] = *part;
    slice_ref(part->payload);
    entry->part_count++;
    entry->size += part->payload.size;
}

void shard_add_command(struct shard *shard, enum command command, const uint8_t *bytes, size_t size)
{
    struct buffer *buffer = buffer_create(size ? size : 1);
    CHECK(buffer);
    memcpy(buffer->data, bytes, size);
    struct entry_part part = {
        .kind = PART_COMMAND, .command = (uint16_t)command, .payload = {buffer, buffer->data, size}};
    shard_add_part(shard, &part);
    buffer_unref(buffer);
}

uint64_t shard_add_batch(struct shard *shard, struct partition *partition, struct slice batch, uint32_t span,
                         uint8_t flags)
{
    uint64_t base_offset = partition->next_prepared;
    batch_patch(batch.data, (int64_t)base_offset, 0);
    struct entry_part part = {.kind = PART_DATA,
                              .flags = flags,
                              .span = span,
                              .partition = partition->id,
                              .base_offset = base_offset,
                              .payload = batch};
    shard_add_part(shard, &part);
    partition->next_prepared = base_offset + span;
    partition->entry = shard->gathering->number;
    shard->count_events += span;
    shard->count_bytes += batch.size;
    return base_offset;
}

bool shard_has_room(const struct shard *shard)
{
    return shard->in_flight_count < SHARD_IN_FLIGHT_MAX && !shard->stopping;
}

bool entry_make_room(struct shard *shard, size_t size, uint32_t parts)
{
    struct shard_entry *entry = shard->gathering;
    if (!entry || entry->part_count == 0)
        return true;
    if (entry->size + size <= SHARD_ENTRY_SIZE && entry->part_count + parts <= SHARD_ENTRY_PARTS)
        return true;
    if (!shard_has_room(shard))
        return false;
    entry_seal(shard);
    return true;
}

/* Hands the open entry to the store. */
void entry_seal(struct shard *shard)
{
    struct shard_entry *entry = shard->gathering;
    CHECK(entry && shard_has_room(shard));
    positions_encode(shard, entry);
    sources_encode(shard, entry);
    schedules_encode(shard, entry);
    shared_encode(shard, entry);
    shard->gathering = NULL;
    entry->append = (struct store_append){.done = entry_done,
                                          .ctx = entry,
                                          .type = ENTRY_NORMAL,
                                          .epoch = shard->epoch,
                                          .term = 1,
                                          .append_time_us = shard->time.now_us,
                                          .parts = entry->parts,
                                          .part_count = (uint32_t)entry->part_count};
    if (shard->in_flight_last)
        shard->in_flight_last->next = entry;
    else
        shard->in_flight = entry;
    shard->in_flight_last = entry;
    shard->in_flight_count++;
    int rc = shard->store->ops->append(shard->store, &entry->append);
    CHECK(rc == 0); /* the store's queue is larger than SHARD_IN_FLIGHT_MAX */
}

struct shard_entry *entry_by_number(struct shard *shard, uint64_t number)
{
    if (shard->gathering && shard->gathering->number == number)
        return shard->gathering;
    for (struct shard_entry *entry = shard->in_flight; entry; entry = entry->next)
        if (entry->number == number)
            return entry;
    return NULL;
}

void entry_add_emit(struct shard_entry *entry, struct emit *emit)
{
    emit->next = NULL;
    if (entry->emits_last)
        entry->emits_last->next = emit;
    else
        entry->emits = emit;
    entry->emits_last = emit;
}

/* ---- parked requests ---- */

static char *strdup_or_null(const char *text)
{
    return text ? core_strdup(text) : NULL;
}

struct parked *parked_create(const struct shard_request *request)
{
    struct parked *parked = core_alloc(sizeof(*parked));
    parked->request = *request;
    parked->request.name = strdup_or_null(request->name);
    parked->request.group = strdup_or_null(request->group);
    parked->request.member = strdup_or_null(request->member);
    if (request->position_count) {
        size_t size = request->position_count * sizeof(struct position);
        struct position *positions = core_alloc(size);
        memcpy(positions, request->positions, size);
        parked->request.positions = positions;
    }
    parked->request.retry.dead_letter = strdup_or_null(request->retry.dead_letter);
    parked->request.reason = strdup_or_null(request->reason);
    if (request->lease_count) {
        size_t size = request->lease_count * sizeof(struct lease);
        struct lease *leases = core_alloc(size);
        memcpy(leases, request->leases, size);
        parked->request.leases = leases;
    }
    return parked;
}

void shard_park(struct shard *shard, uint64_t number, const struct shard_request *request)
{
    struct shard_entry *entry = entry_by_number(shard, number);
    CHECK(entry);
    struct parked *parked = parked_create(request); /* LL_APPEND names it more than once */
    LL_APPEND(entry->parked, parked);
}

void parked_destroy(struct parked *parked)
{
    free((char *)parked->request.name);
    free((char *)parked->request.group);
    free((char *)parked->request.member);
    if (parked->request.position_count)
        free((struct position *)parked->request.positions);
    free((char *)parked->request.retry.dead_letter);
    free((char *)parked->request.reason);
    if (parked->request.lease_count)
        free((struct lease *)parked->request.leases);
    free(parked);
}

/* ---- completion ---- */

static void entry_answer(struct shard *shard, struct shard_entry *entry, enum emit_outcome outcome, int code)
{
    struct emit *emit = entry->emits;
    entry->emits = entry->emits_last = NULL;
    while (emit) {
        struct emit *next = emit->next;
        if (code)
            emit_fail(shard, emit, outcome, code);
        else
            emit_succeed(shard, emit);
        emit_answer(shard, emit);
        emit = next;
    }
    shard->answering = entry;
    while (entry->parked) { /* an answer may end a connection, whose JOIN further behind is canceled then */
        struct parked *parked = entry->parked;
        entry->parked = parked->next;
        if (code || parked->request.kind == SHARD_COMMIT)
            shard_reply_code(shard, &parked->request, code);
        else
            shard_request_run(shard, &parked->request);
        parked_destroy(parked);
    }
    shard->answering = NULL;
}

/* Prepared state of what this entry would have done goes back to what is applied. */
static void entry_set_back(struct shard *shard, struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->part_count; i++) {
        const struct entry_part *part = &entry->parts[i];
        if (part->kind != PART_DATA)
            continue;
        struct partition *partition = partition_find(shard, part->partition);
        CHECK(partition); /* nothing is prepared on a topic after its deletion */
        partition->next_prepared = partition->next;
        partition->entry = 0;
        struct batch_header header;
        if (batch_header_decode(part->payload.data, part->payload.size, &header) > 0 &&
            header.producer_id >= 0)
            producer_set_back(shard, header.producer_id, part->partition);
    }
    for (size_t i = 0; i < entry->topic_count; i++)
        topic_remove(shard, entry->topics[i]);
    entry->topic_count = 0;
    topic_changes_set_back(entry);
    retention_set_back(shard, entry);
    positions_set_back(shard, entry);
    sources_set_back(shard, entry);
    schedules_set_back(shard, entry);
    shared_set_back(shard, entry);
    if (shard->producer_entry == entry->number)
        shard->producer_entry = 0;
}

/* The first refusal of an epoch: everything submitted since stands on it and will be refused too. */
static void epoch_end(struct shard *shard, int code)
{
    for (struct shard_entry *entry = shard->in_flight; entry; entry = entry->next)
        entry_set_back(shard, entry);
    struct shard_entry *open = shard->gathering;
    if (open) {
        shard->gathering = NULL;
        entry_set_back(shard, open);
        entry_answer(shard, open, EMIT_REFUSED, code);
        entry_recycle(open);
    }
    shard->epoch++;
}

static int code_of_status(int status)
{
    switch (status) {
    case STORE_EFULL:
        return WIRE_CRIER_EFULL;
    case STORE_EREFUSED:
        return WIRE_CRIER_EFULL; /* the refusal it stands on; sending it again is right */
    default:
        return WIRE_CRIER_EIO;
    }
}

static void entry_failed(struct shard *shard, struct shard_entry *entry, uint64_t epoch, int status)
{
    int code = code_of_status(status);
    bool unknown = status == STORE_EIO;
    if (code == WIRE_CRIER_EIO && !shard->read_only) {
        shard->read_only = true;
        shard_log(shard, LOG_LEVEL_ERROR, "SHARD-READ-ONLY",
                  "the disk failed (entry %llu): emits are refused until a restart; reads go on",
                  (unsigned long long)entry->number);
    }
    if (epoch == shard->epoch) {
        if (code == WIRE_CRIER_EFULL && !shard->full) /* once, not for each that is tried again */
            shard_log(shard, LOG_LEVEL_WARN, "SHARD-FULL",
                      "no space for the log: emits are refused until there is");
        shard->full |= code == WIRE_CRIER_EFULL;
        entry_set_back(shard, entry);
        epoch_end(shard, code);
    }
    entry_answer(shard, entry, unknown ? EMIT_UNKNOWN : EMIT_REFUSED, code);
}

static void entry_stored(struct shard *shard, struct shard_entry *entry)
{
    struct store_entry applied = {.type = entry->append.type,
                                  .index = entry->append.index,
                                  .term = entry->append.term,
                                  .append_time_us = entry->append.append_time_us,
                                  .parts = entry->parts,
                                  .part_count = (uint32_t)entry->part_count};
    int rc = shard_apply(shard, &applied);
    CHECK(rc == 0);
    if (shard->full)
        shard_log(shard, LOG_LEVEL_INFO, "SHARD-SPACE", "there is space again: emits are taken");
    shard->full = false;
    if (entry->number == shard->ready_entry)
        shard->ready = true;
    entry_answer(shard, entry, EMIT_STORED, 0);
    for (size_t i = 0; i < entry->part_count; i++) {
        const struct entry_part *part = &entry->parts[i];
        if (part->kind != PART_DATA)
            continue;
        struct durable_part durable = {part->partition, part->base_offset, part->span, part->payload};
        shard->output->durable(shard->output_ctx, &durable);
        const struct partition *partition = partition_find(shard, part->partition);
        if (partition && partition->topic->shared_crews)
            shared_data(shard, partition->topic);
    }
}

static void entry_done(struct store_append *append, void *ctx)
{
    struct shard_entry *entry = ctx;
    struct shard *shard = entry->shard;
    CHECK(entry == shard->in_flight); /* completions come in order */
    shard->in_flight = entry->next;
    if (!shard->in_flight)
        shard->in_flight_last = NULL;
    shard->in_flight_count--;
    shard->entry_done = entry->number;
    if (append->status == STORE_OK)
        entry_stored(shard, entry);
    else
        entry_failed(shard, entry, append->epoch, append->status);
    entry_recycle(entry);
    emit_run_waiting(shard);
}
