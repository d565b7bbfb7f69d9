/* atomic.c: emits whose parts are stored together, in one entry, or not at all.
 *
 * Role:     judges the whole emit (its place in its producer's source, its partitions, the offsets it expects), and only
 *           then gives every part its offsets in the open entry, with the source's position and those of the ordered groups
 *           whose events it was made from (positions.c), so that they are there together or not at all.
 * Called:   emit.c, in the places where other emits are judged, answered and failed.
 *
 * Happy path:  atomic_prepare → source_judge → every part and position judged → all prepared → atomic_succeed
 * Failures:    one part that cannot be stored refuses all, and so does a position that is not where the emit says or is another
 *              member's to move by now: CRIER_EREVOKED. A duplicate, and an offset that was not as expected, are found in
 *              the prepared state, so they are told when that is durable; if it is refused they were not true, and the emit
 *              is refused with that entry's reason, to be sent again.
 * All parts live in one shard, for there is one; with more, CRIER_EXSHARD is for those that do not.
 * Thread: the core's. Pure. */
#include "broker/core/shard_internal.h"

static void outcome_set(struct emit *emit, enum emit_outcome outcome, int code)
{
    for (uint32_t i = 0; i < emit->part_count; i++) {
        struct emit_part *part = &emit->parts[i];
        part->outcome = outcome;
        part->code = code;
        part->duplicate = emit->duplicate && code == 0;
        if (code || emit->duplicate)
            part->base_offset = -1;
    }
    emit->outcome = outcome;
    emit->code = code;
    if (code && !emit->why)
        emit->why = error_text(code);
}

void atomic_succeed(struct emit *emit)
{
    outcome_set(emit, emit->code ? EMIT_REFUSED : EMIT_STORED, emit->code);
}

void atomic_fail(struct shard *shard, struct emit *emit, enum emit_outcome outcome, int code)
{
    if (emit->duplicate && source_stored(shard, emit))
        outcome_set(emit, EMIT_STORED, 0);
    else
        outcome_set(emit, emit->code ? EMIT_REFUSED : outcome, code);
}

/* 0, or the code; *ret_decided_by: the entry it was found by. */
static int parts_judge(struct shard *shard, struct emit *emit, uint64_t *ret_decided_by)
{
    for (uint32_t i = 0; i < emit->part_count; i++) {
        const struct emit_part *part = &emit->parts[i];
        const struct partition *partition = partition_find(shard, part->partition);
        if (!partition || !partition->topic->applied || partition->topic->reserved)
            return WIRE_CRIER_ENOTOPIC;
        if (partition->topic->deleting) {
            *ret_decided_by = topic_depends(shard, partition->topic);
            return WIRE_CRIER_ENOTOPIC;
        }
        if (partition->topic->ephemeral)
            return WIRE_CRIER_ENOTSUP;
        if (part->expects && part->expected_offset != partition->next_prepared) {
            *ret_decided_by = partition->entry > shard->entry_done ? partition->entry : 0;
            return WIRE_CRIER_EOFFSET;
        }
    }
    if (emit->quota) {
        emit->why = emit->quota;
        return WIRE_CRIER_EQUOTA;
    }
    return shard->guarded && emit->part_count ? WIRE_CRIER_EFULL : 0; /* positions go on */
}

/* The positions it moves, against the prepared state: they are its sender's to move, and where it says they are. */
static int consumed_judge(struct shard *shard, const struct emit *emit, uint64_t *ret_decided_by)
{
    for (uint32_t i = 0; i < emit->consumed_count; i++) {
        const struct consumed *consumed = &emit->consumed[i];
        const struct member *member = member_find(shard, consumed->generation);
        if (!member || member->worker || member->token.connection != emit->token.connection)
            return WIRE_CRIER_EREVOKED;
        const struct slot *slot = crew_slot(member->crew, consumed->partition);
        const struct partition *partition = partition_find(shard, consumed->partition);
        if (!slot || !partition || consumed->offset > partition->next ||
            consumed->offset <= consumed->previous)
            return WIRE_CRIER_EINVAL;
        if (slot->owner != member || slot->state == SLOT_STARTING)
            return WIRE_CRIER_EREVOKED;
        const struct group_position *position =
            position_find(shard, member->crew->group, consumed->partition);
        if (!position || !position->exists_prepared || position->offset_prepared != consumed->previous) {
            *ret_decided_by = position_depends(shard, position);
            return WIRE_CRIER_EREVOKED;
        }
    }
    return 0;
}

static void consumed_prepare(struct shard *shard, const struct emit *emit)
{
    for (uint32_t i = 0; i < emit->consumed_count; i++) {
        const struct consumed *consumed = &emit->consumed[i];
        const struct member *member = member_find(shard, consumed->generation);
        position_prepare(shard, member->crew->group, consumed->partition, consumed->offset);
    }
}

/* What the session found wanting. What is stored already is that all the same: a limit may have become smaller since. */
static int parts_code(const struct emit *emit)
{
    for (uint32_t i = 0; i < emit->part_count; i++)
        if (emit->parts[i].code)
            return emit->parts[i].code;
    return 0;
}

static int judge(struct shard *shard, struct emit *emit, uint64_t *ret_decided_by)
{
    struct source *source;
    switch (source_judge(shard, emit, &source)) {
    case SOURCE_FENCED:
        return WIRE_CRIER_EFENCED;
    case SOURCE_GAP:
        return WIRE_CRIER_ESEQUENCE;
    case SOURCE_DUPLICATE:
        emit->duplicate = true;
        *ret_decided_by = source_depends(shard, source);
        return 0;
    case SOURCE_NEW:
        break;
    }
    if (parts_code(emit))
        return parts_code(emit);
    int code = parts_judge(shard, emit, ret_decided_by);
    return code ? code : consumed_judge(shard, emit, ret_decided_by);
}

/* Nothing is stored any more, but this may be stored already, or be in the entry nobody knows about. */
static void judge_read_only(struct shard *shard, struct emit *emit)
{
    emit->duplicate = source_stored(shard, emit);
    outcome_set(emit, emit->duplicate ? EMIT_STORED : EMIT_UNKNOWN, emit->duplicate ? 0 : WIRE_CRIER_EIO);
}

uint64_t atomic_prepare(struct shard *shard, struct emit *emit)
{
    uint64_t decided_by = 0;
    if (emit->code || parts_code(emit) == WIRE_CRIER_EINVAL) {
        emit->code = WIRE_CRIER_EINVAL; /* it contradicts itself: its position says nothing */
    } else if (shard->read_only) {
        judge_read_only(shard, emit);
        return 0;
    } else {
        emit->code = judge(shard, emit, &decided_by);
    }
    if (emit->code || emit->duplicate) {
        if (!decided_by)
            atomic_succeed(emit);
        return decided_by;
    }
    source_prepare(shard, emit);
    for (uint32_t i = 0; i < emit->part_count; i++)
        emit_part_prepare(shard, partition_find(shard, emit->parts[i].partition), &emit->parts[i], NULL);
    consumed_prepare(shard, emit);
    return shard->gathering->number;
}
