/* producers.c: idempotent producers: what each has stored per partition, so that nothing is stored twice.
 *
 * A producer numbers its batches per partition (id, epoch, sequence; Kafka's rules, sequences wrap at 2^31). The batch
 * header carries the numbers, so the state follows from the stored batches alone and survives every crash.
 *
 *   next in line → new     wholly at or below the last → duplicate: ok, not stored     a gap, or across → refused
 *
 * A higher epoch starts at sequence 0; a lower one is fenced. Rows idle for PRODUCER_EXPIRY_US of log time are forgotten,
 * by a rule that looks at the log alone (the time of the entry being applied). */
#include "broker/core/shard_internal.h"
#include "proto/state.pb-c.h"

#define SEQUENCE_MASK      0x7fffffffu
#define PRODUCER_IDS_AHEAD 1000u /* reserved at a time: a connection then costs no commit */

static bool producer_is(const void *producer, const void *key, size_t size)
{
    return memcmp(&((const struct producer *)producer)->key, key, size) == 0;
}

static struct producer *producer_add(struct shard *shard, const struct producer_key *key)
{
    struct producer *producer = core_alloc(sizeof(*producer));
    producer->row.kind = ROW_PRODUCER;
    producer->key = *key;
    table_add(&shard->producers, table_hash(key, sizeof(*key)), producer);
    return producer;
}

static struct producer *find(struct shard *shard, const struct producer_key *key)
{
    struct producer *producer =
        table_find(&shard->producers, table_hash(key, sizeof(*key)), producer_is, key, sizeof(*key));
    uint32_t idle = producer ? 0 : idle_find(&shard->idle, key);
    if (idle > 0) {
        producer = producer_add(shard, key);
        producer->idle = idle;
        idle_wake(&shard->idle, idle, &producer->state, &producer->used_us);
        producer->prepared = producer->state;
    }
    return producer;
}

struct producer *producer_find(struct shard *shard, int64_t producer_id, uint64_t partition)
{
    return find(shard, &(struct producer_key){(uint64_t)producer_id, partition});
}

static struct producer *producer_get(struct shard *shard, const struct producer_key *key)
{
    struct producer *producer = find(shard, key);
    return producer ? producer : producer_add(shard, key);
}

static int32_t sequence_last(const struct batch_header *header)
{
    return (int32_t)(((uint32_t)header->base_sequence + (uint32_t)header->last_offset_delta) & SEQUENCE_MASK);
}

/* How far `sequence` is ahead of `from`: small when ahead, near 2^31 when behind. */
static uint32_t sequence_distance(int32_t from, int32_t sequence)
{
    return ((uint32_t)sequence - (uint32_t)from) & SEQUENCE_MASK;
}

static bool sequence_behind(int32_t last, int32_t sequence)
{
    return sequence_distance(sequence, last) < (SEQUENCE_MASK >> 1);
}

enum sequence_verdict producer_judge(struct shard *shard, const struct emit_part *part,
                                     struct producer **ret_producer, int *ret_code)
{
    const struct batch_header *header = &part->header;
    struct producer_key key = {(uint64_t)header->producer_id, part->partition};
    *ret_code = WIRE_CRIER_ESEQUENCE;
    struct producer *producer = find(shard, &key);
    if (!producer && header->base_sequence != 0)
        return SEQUENCE_REFUSED; /* nothing is kept for those who never stored anything */
    if (!producer)
        producer = producer_get(shard, &key);
    const struct producer_state *last = &producer->prepared;
    *ret_producer = producer;
    if (last->exists && header->producer_epoch < last->epoch) {
        *ret_code = WIRE_CRIER_EFENCED;
        return SEQUENCE_REFUSED;
    }
    if (!last->exists || header->producer_epoch > last->epoch)
        return header->base_sequence == 0 ? SEQUENCE_NEW : SEQUENCE_REFUSED;
    int32_t expected = (int32_t)(((uint32_t)last->last_sequence + 1) & SEQUENCE_MASK);
    if (header->base_sequence == expected)
        return SEQUENCE_NEW;
    if (sequence_behind(last->last_sequence, header->base_sequence) &&
        sequence_behind(last->last_sequence, sequence_last(header)))
        return SEQUENCE_DUPLICATE;
    return SEQUENCE_REFUSED;
}

bool producer_stored(const struct producer_state *state, const struct batch_header *header,
                     int64_t *ret_base_offset)
{
    *ret_base_offset = -1;
    if (!state->exists || state->epoch != header->producer_epoch ||
        !sequence_behind(state->last_sequence, sequence_last(header)))
        return false;
    if (state->last_base_sequence == header->base_sequence)
        *ret_base_offset = (int64_t)state->last_base_offset;
    return true;
}

static struct producer_state state_after(const struct batch_header *header, uint64_t base_offset)
{
    return (struct producer_state){.exists = true,
                                   .epoch = header->producer_epoch,
                                   .last_sequence = sequence_last(header),
                                   .last_base_sequence = header->base_sequence,
                                   .last_base_offset = base_offset};
}

void producer_prepare(struct producer *producer, const struct emit_part *part, uint64_t base_offset,
                      uint64_t entry)
{
    producer->prepared = state_after(&part->header, base_offset);
    producer->entry = entry;
}

static void producer_drop(struct shard *shard, struct producer *producer)
{
    CHECK(!producer->state.exists && !producer->row.flush);
    table_remove(&shard->producers, table_hash(&producer->key, sizeof(producer->key)), producer);
    free(producer->recent);
    free(producer);
}

void producer_set_back(struct shard *shard, int64_t producer_id, uint64_t partition)
{
    struct producer *producer = producer_find(shard, producer_id, partition);
    if (!producer)
        return;
    producer->prepared = producer->state;
    producer->entry = 0; /* nothing prepared is left, so there is nothing to wait for */
    if (!producer->state.exists && !producer->row.flush)
        producer_drop(shard, producer);
}

/* Out of the order of last use. */
static void unlink_use(struct shard *shard, struct producer *producer)
{
    if (producer->idle)
        idle_leave(&shard->idle, producer->idle);
    else
        DL_DELETE(shard->producers_lru, producer);
    producer->idle = 0;
}

void producer_apply(struct shard *shard, const struct batch_header *header, uint64_t partition,
                    uint64_t base_offset, int64_t time_us)
{
    struct producer *producer =
        producer_get(shard, &(struct producer_key){(uint64_t)header->producer_id, partition});
    shard_row_will_change(shard, &producer->row);
    if (producer->state.exists)
        unlink_use(shard, producer);
    if (header->producer_epoch != producer->state.epoch)
        producer->recent_count = 0;
    producer->state = state_after(header, base_offset);
    producer->used_us = time_us;
    DL_APPEND(shard->producers_lru, producer);
    if (producer->entry <= shard->entry_done)
        producer->prepared = producer->state;
}

void producer_schedule_add(struct producer *producer, const struct recent_schedule *recent)
{
    if (!producer->recent)
        producer->recent = core_alloc(RECENT_SCHEDULES_MAX * sizeof(*recent));
    if (producer->recent_count == RECENT_SCHEDULES_MAX)
        memmove(producer->recent, producer->recent + 1, --producer->recent_count * sizeof(*recent));
    producer->recent[producer->recent_count++] = *recent;
}

/* The command stands behind the batches of its entry: one of the same producer's may be further already. */
void producer_apply_schedule(struct shard *shard, const struct batch_header *header, uint64_t partition,
                             const struct schedule_key *key, int64_t time_us)
{
    struct producer *producer =
        producer_get(shard, &(struct producer_key){(uint64_t)header->producer_id, partition});
    int64_t base_offset;
    if (producer->state.exists && header->producer_epoch < producer->state.epoch)
        return;
    if (!producer_stored(&producer->state, header, &base_offset))
        producer_apply(shard, header, partition, UINT64_MAX, time_us);
    producer_schedule_add(producer, &(struct recent_schedule){header->base_sequence, *key});
}

void producer_recall_schedule(const struct producer *producer, const struct batch_header *header,
                              struct schedule_key *ret_key)
{
    *ret_key = (struct schedule_key){0};
    if (header->producer_epoch != producer->state.epoch)
        return;
    for (uint32_t i = 0; i < producer->recent_count; i++)
        if (producer->recent[i].base_sequence == header->base_sequence)
            *ret_key = producer->recent[i].key;
}

static void expire(struct shard *shard, struct producer *producer)
{
    shard_row_will_change(shard, &producer->row); /* the flush deletes the row, and then this */
    unlink_use(shard, producer);
    producer->state = (struct producer_state){0};
    producer->recent_count = 0;
    if (producer->entry <= shard->entry_done)
        producer->prepared = producer->state;
}

void producers_expire(struct shard *shard, int64_t time_us)
{
    struct producer_key key;
    while (idle_before(&shard->idle, time_us - PRODUCER_EXPIRY_US, &key))
        expire(shard, find(shard, &key));
    while (shard->producers_lru && shard->producers_lru->used_us < time_us - PRODUCER_EXPIRY_US)
        expire(shard, shard->producers_lru);
}

uint32_t producers_count(const struct shard *shard)
{
    return shard->producers.count + shard->idle.asleep;
}

void producer_flushed_away(struct shard *shard, struct producer *producer)
{
    if (!producer->state.exists && !producer->prepared.exists && producer->entry <= shard->entry_done)
        producer_drop(shard, producer);
}

void producer_free_all(struct shard *shard)
{
    uint32_t at = 0;
    for (struct producer *producer; (producer = table_next(&shard->producers, &at));) {
        free(producer->recent);
        free(producer);
    }
    table_finish(&shard->producers);
    idle_finish(&shard->idle);
}

/* ---- ids ---- */

void producer_ids_reserve(struct shard *shard)
{
    State__AllocateProducer command = STATE__ALLOCATE_PRODUCER__INIT;
    command.producer_id = shard->self.next_producer_id - 1 + PRODUCER_IDS_AHEAD;
    uint8_t bytes[32];
    size_t size = state__allocate_producer__pack(&command, bytes);
    shard_add_command(shard, COMMAND_ALLOCATE_PRODUCER, bytes, size);
    shard->producer_entry = shard->gathering->number;
}

void producer_ids_applied(struct shard *shard, uint64_t last)
{
    if (shard->serving) { /* ours: in replay they belonged to an earlier life */
        shard->producer_next = shard->self.next_producer_id;
        shard->producer_reserved = last + 1;
    }
    shard->self.next_producer_id = last + 1;
    shard->producer_entry = 0;
}

static void producer_id_reply(struct shard *shard, const struct shard_request *request, uint64_t id)
{
    if (request->name) {
        source_claim(shard, request, id);
        return;
    }
    struct shard_reply reply = {
        .kind = SHARD_PRODUCER_ID, .request_kind = request->kind, .token = request->token, .producer_id = id};
    shard->output->reply(shard->output_ctx, &reply);
}

void producers_request(struct shard *shard, const struct shard_request *request)
{
    if (request->producer_id &&
        request->producer_id < shard->producer_next) { /* ids ascend: it was given out here */
        producer_id_reply(shard, request, request->producer_id);
        return;
    }
    if (shard->producer_next == shard->producer_reserved) {
        if (shard->read_only) {
            shard_reply_code(shard, request, WIRE_CRIER_EIO);
            return;
        }
        if (!shard->producer_entry)
            producer_ids_reserve(shard);
        shard_park(shard, shard->producer_entry, request);
        return;
    }
    producer_id_reply(shard, request, shard->producer_next++);
}
