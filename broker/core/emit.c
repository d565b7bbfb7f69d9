/* emit.c: emits: which of their batches are stored, which are not, and which were stored already.
 *
 * Happy path:  shard_emit → judged (topic, sequence) → offsets given, batch into the open entry → answered when it is durable
 * Failures:    a batch the session or the sequence rules refuse is answered for itself; its neighbours go on.
 *              No room in the store's queue: the emit waits in line; the producers' grants bound that line. */
#include "broker/core/shard_internal.h"

struct emit *emit_create(uint32_t part_count, uint32_t consumed_count)
{
    struct emit *emit = calloc(1, sizeof(*emit) + part_count * sizeof(emit->parts[0]));
    if (!emit)
        return NULL;
    emit->part_count = part_count;
    emit->consumed_count = consumed_count;
    if (consumed_count && !(emit->consumed = calloc(consumed_count, sizeof(*emit->consumed)))) {
        free(emit);
        return NULL;
    }
    return emit;
}

void emit_destroy(struct emit *emit)
{
    if (!emit)
        return;
    for (uint32_t i = 0; i < emit->part_count; i++)
        slice_unref(&emit->parts[i].batch);
    free(emit->consumed);
    free(emit);
}

void emit_answer(struct shard *shard, struct emit *emit)
{
    for (uint32_t i = 0; i < emit->part_count; i++) {
        shard->count_refused += emit->parts[i].outcome != EMIT_STORED;
        shard->count_duplicates += emit->parts[i].duplicate;
    }
    shard->output->emitted(shard->output_ctx, emit);
    emit_destroy(emit);
}

/* What a batch that was stored before was answered with. */
static bool part_recall(const struct producer *producer, struct emit_part *part)
{
    if (!producer_stored(&producer->state, &part->header, &part->base_offset))
        return false;
    producer_recall_schedule(producer, &part->header, &part->schedule);
    return true;
}

/* An emit whose entry was refused or is unknown: duplicates of what is stored are still stored. */
void emit_fail(struct shard *shard, struct emit *emit, enum emit_outcome outcome, int code)
{
    if (emit->atomic) {
        atomic_fail(shard, emit, outcome, code);
        return;
    }
    for (uint32_t i = 0; i < emit->part_count; i++) {
        struct emit_part *part = &emit->parts[i];
        if (part->code)
            continue;
        if (part->duplicate) {
            const struct producer *producer = producer_find(shard, part->header.producer_id, part->partition);
            if (producer && part_recall(producer, part))
                continue;
            part->duplicate = false;
        }
        part->outcome = outcome;
        part->code = code;
        part->base_offset = -1;
    }
    if (!emit->why)
        emit->why = error_text(code);
}

static void part_refuse(struct emit *emit, struct emit_part *part, int code)
{
    part->outcome = EMIT_REFUSED;
    part->code = code;
    part->base_offset = -1;
    if (!emit->why)
        emit->why = error_text(code);
}

/* Duplicates that waited learn their offset; what waited for a topic's deletion is refused by it. */
void emit_succeed(struct shard *shard, struct emit *emit)
{
    if (emit->atomic) {
        atomic_succeed(emit);
        return;
    }
    for (uint32_t i = 0; i < emit->part_count; i++) {
        struct emit_part *part = &emit->parts[i];
        if (part->going)
            part_refuse(emit, part, WIRE_CRIER_ENOTOPIC);
        if (!part->duplicate)
            continue;
        const struct producer *producer = producer_find(shard, part->header.producer_id, part->partition);
        if (producer)
            (void)part_recall(producer, part);
    }
}

/* ---- prepare ---- */

void emit_part_prepare(struct shard *shard, struct partition *partition, struct emit_part *part,
                       struct producer *producer)
{
    uint64_t base_offset =
        shard_add_batch(shard, partition, part->batch, (uint32_t)part->header.last_offset_delta + 1, 0);
    if (producer)
        producer_prepare(producer, part, base_offset, shard->gathering->number);
    part->base_offset = (int64_t)base_offset;
}

/* Returns the number of the entry that decides about the part; 0: it is decided already. */
static uint64_t part_judge(struct shard *shard, struct emit *emit, struct emit_part *part)
{
    if (part->handed)
        return 0;
    if (part->code) { /* the session found it wanting */
        part->outcome = EMIT_REFUSED;
        part->base_offset = -1;
        return 0;
    }
    struct partition *partition = partition_find(shard, part->partition);
    if (partition && partition->topic->deleting && !emit->memory) {
        part->going = true;
        part->base_offset = -1;
        return partition->topic->change;
    }
    if (!partition || !partition->topic->applied || partition->topic->deleting ||
        partition->topic->reserved) {
        part_refuse(emit, part, WIRE_CRIER_ENOTOPIC);
        return 0;
    }
    if (partition->topic->ephemeral) { /* created since the session looked */
        part_refuse(emit, part, WIRE_CRIER_ENOTSUP);
        return 0;
    }
    struct producer *producer = NULL;
    if (part->header.producer_id >= 0) {
        int code = 0;
        switch (producer_judge(shard, part, &producer, &code)) {
        case SEQUENCE_REFUSED:
            part_refuse(emit, part, code);
            return 0;
        case SEQUENCE_DUPLICATE:
            part->duplicate = true;
            part->base_offset = -1;
            if (producer->entry > shard->entry_done)
                return producer->entry;
            CHECK(part_recall(producer, part));
            return 0;
        case SEQUENCE_NEW:
            break;
        }
    }
    if (part->over || shard->guarded) { /* what is stored already was told above */
        if (part->over && !emit->why)
            emit->why = emit->quota;
        part_refuse(emit, part, part->over ? WIRE_CRIER_EQUOTA : WIRE_CRIER_EFULL);
        return 0;
    }
    if (part->delay_us || part->at_us) {
        int code = schedule_judge(shard, part);
        if (code) {
            part_refuse(emit, part, code);
            return 0;
        }
        schedule_prepare(shard, part, producer);
    } else {
        emit_part_prepare(shard, partition, part, producer);
    }
    return shard->gathering->number;
}

/* Nothing is stored any more, but a resent batch may be stored already, or be in the entry nobody knows about: to say
 * "refused" about it would free its numbers. */
static void part_judge_read_only(struct shard *shard, struct emit *emit, struct emit_part *part)
{
    if (part->handed)
        return;
    if (part->code) {
        part_refuse(emit, part, part->code);
        return;
    }
    part_refuse(emit, part, WIRE_CRIER_EIO);
    if (part->header.producer_id < 0)
        return;
    part->outcome = EMIT_UNKNOWN;
    const struct producer *producer = producer_find(shard, part->header.producer_id, part->partition);
    if (producer && part_recall(producer, part)) {
        part->outcome = EMIT_STORED;
        part->code = 0;
        part->duplicate = true;
    }
}

static uint64_t parts_prepare(struct shard *shard, struct emit *emit)
{
    uint64_t decided_by = 0;
    for (uint32_t i = 0; i < emit->part_count; i++) {
        struct emit_part *part = &emit->parts[i];
        if (shard->read_only) {
            part_judge_read_only(shard, emit, part);
            continue;
        }
        uint64_t number = part_judge(shard, emit, part);
        if (number > decided_by)
            decided_by = number;
    }
    if (emit->memory)
        for (uint32_t i = 0; i < emit->part_count; i++)
            emit->parts[i].base_offset = -1;
    return decided_by;
}

static void emit_prepare(struct shard *shard, struct emit *emit)
{
    shard->count_emits++;
    uint64_t decided_by = emit->atomic ? atomic_prepare(shard, emit) : parts_prepare(shard, emit);
    if (decided_by == 0 || emit->memory)
        emit_answer(shard, emit);
    else
        entry_add_emit(entry_by_number(shard, decided_by), emit);
}

static size_t emit_size(const struct emit *emit)
{
    size_t size = 0;
    for (uint32_t i = 0; i < emit->part_count; i++)
        size += emit->parts[i].batch.size;
    return size;
}

static bool emit_has_room(struct shard *shard, const struct emit *emit)
{
    return schedules_ready(shard, emit) && entry_make_room(shard, emit_size(emit), emit->part_count);
}

void shard_emit(struct shard *shard, struct emit *emit)
{
    emit->next = NULL;
    if (!shard->waiting && emit_has_room(shard, emit)) {
        emit_prepare(shard, emit);
        return;
    }
    if (shard->waiting_last)
        shard->waiting_last->next = emit;
    else
        shard->waiting = emit;
    shard->waiting_last = emit;
}

void emit_run_waiting(struct shard *shard)
{
    while (shard->waiting && emit_has_room(shard, shard->waiting)) {
        struct emit *emit = shard->waiting;
        shard->waiting = emit->next;
        if (!shard->waiting)
            shard->waiting_last = NULL;
        emit_prepare(shard, emit);
    }
}
