/* engine_emit.c: batches on their way out: taken from the stage, numbered, packed into EMIT frames.
 *
 * Role:     decides when a batch goes. An open batch is taken at once when nothing of its lane is in flight (a lone emit
 *           is fast), else when it is full or has lingered (a flood batches itself). Numbers it, and packs batches of
 *           different lanes into frames as far as the broker's grant allows.
 * Thread:   the I/O thread; engine_collect with the emit lock.
 * Owns:     the lanes' engine half, emit_frames, the scratch space of frame building.
 *
 * Happy path:  engine_collect -> lane_collect -> emit_lane_schedule -> emit_build -> output   (then engine_outcome.c)
 * Failures:    the grant is too small: CREDIT_WANT, and the lanes keep their places in line. The connection goes: what
 *              was in flight is sent again in order, byte for byte. No memory: the connection is dropped, nothing else. */
#include "client/engine_internal.h"

#include "base/check.h"
#include "client/atomic.h"
#include "client/emit_internal.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_PARTS_MAX      1024
#define FRAME_SIZE_TARGET    (1024u * 1024) /* a frame takes no more batches beyond this */
#define PART_HEADER_SIZE_MAX 46 /* an EmitPart: four tags, three u64, a u32, and its own tag and length */
#define EMIT_HEADER_SIZE_MAX 32 /* the rest of Emit */
#define GRANT_IDLE_US        (2 * INT64_C(1000000)) /* without an EMIT: the grant goes back */
#define MEMORY_IN_FLIGHT_MAX                                                                                 \
    1 /* without sequences the broker cannot keep the order of two when it refuses the first */

/* What goes into one frame. */
struct emit_scratch {
    struct emit_batch *batches[FRAME_PARTS_MAX];
    Wire__EmitPart parts[FRAME_PARTS_MAX];
    Wire__EmitPart *part_pointers[FRAME_PARTS_MAX];
};

void emit_init(struct engine *engine)
{
    struct list *lists[] = {&engine->lanes,           &engine->sendable[0],   &engine->sendable[1],
                            &engine->revisit,         &engine->lingering,     &engine->retrying,
                            &engine->unanswered,      &engine->failing,       &engine->settled,
                            &engine->topics_answered, &engine->topics_delayed};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        list_init(lists[i]);
    atomics_init(engine);
    engine->retry_due = engine->grant_due = ENGINE_NEVER;
    engine->retry_delay = ENGINE_RETRY_DELAY_US;
}

static void frames_free(struct engine *engine)
{
    struct list *link;

    while ((link = list_take(&engine->unanswered)))
        free(LIST_ENTRY(link, struct emit_frame, link));
    engine->unanswered_count = 0;
}

static void batches_release(struct engine *engine, struct list *batches)
{
    struct list *link;

    while ((link = list_take(batches)))
        stage_batch_release(&engine->stage, LIST_ENTRY(link, struct emit_batch, link));
}

void emit_finish(struct engine *engine)
{
    frames_free(engine);
    batches_release(engine, &engine->failing);
    batches_release(engine, &engine->settled);
    atomics_finish(engine);
    free(engine->scratch);
}

/* ---- which lanes may send ---- */

static unsigned in_flight_max(const struct emit_lane *lane)
{
    return lane->memory ? MEMORY_IN_FLIGHT_MAX : ENGINE_IN_FLIGHT_MAX;
}

static bool lane_is_free(const struct engine *engine, const struct emit_lane *lane)
{
    return engine_is_ready(engine) && !lane->refused && !lane->retry && lane->in_flight < in_flight_max(lane);
}

void emit_lane_schedule(struct engine *engine, struct emit_lane *lane)
{
    if (!lane_is_free(engine, lane))
        return;
    if (lane->unsent && !list_is_linked(&lane->sendable))
        list_append(&engine->sendable[lane->memory], &lane->sendable);
}

void emit_lane_changed(struct engine *engine, struct emit_lane *lane)
{
    emit_lane_schedule(engine, lane);
    if (!lane->unsent && lane->open_waits && !list_is_linked(&lane->revisit))
        list_append(&engine->revisit, &lane->revisit);
}

/* ---- from the stage ---- */

static void lane_take_closed(struct emit_lane *lane)
{
    struct list *link;

    while ((link = list_take(&lane->closed))) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        list_append(&lane->batches, &batch->link);
        if (!lane->unsent)
            lane->unsent = batch;
    }
}

/* Is it time to send the open batch as it is? */
static bool lane_open_goes(const struct engine *engine, const struct emit_lane *lane)
{
    if (!lane_is_free(engine, lane) || lane->unsent)
        return false;
    return lane->in_flight == 0 || engine->now >= lane->linger_due ||
           lane->open->ticket < engine->stage.flush_ticket;
}

void emit_topic_want(struct engine *engine, struct emit_topic *topic)
{
    if (topic->state != EMIT_TOPIC_NEW)
        return;
    topic->state = EMIT_TOPIC_ASKED;
    if (request_topic(engine, topic) < 0)
        emit_topic_answered(engine, topic, CRIER_ENOMEM, "", NULL);
}

static void lane_collect(struct engine *engine, struct emit_lane *lane)
{
    if (lane->partition == LANE_UNROUTED) {
        emit_topic_want(engine, lane->topic);
        return;
    }
    if (!list_is_linked(&lane->all))
        list_append(&engine->lanes, &lane->all);
    lane_take_closed(lane);
    if (lane->open && lane->open->ticket != lane->linger_ticket) {
        lane->linger_ticket = lane->open->ticket;
        lane->linger_due = engine->now + engine->config.options.linger_us;
        list_remove(&lane->lingering);
    }
    if (lane->open && lane_open_goes(engine, lane)) {
        stage_close_open(lane);
        lane_take_closed(lane);
    }
    lane->open_waits = lane->open != NULL;
    if (!lane->open)
        list_remove(&lane->lingering);
    else if (!list_is_linked(&lane->lingering) && engine->now < lane->linger_due)
        list_append(&engine->lingering,
                    &lane->lingering); /* all linger equally long: in order of linger_due */
    emit_lane_schedule(engine, lane);
}

static void topics_apply(struct engine *engine)
{
    struct list *link;

    while ((link = list_take(&engine->topics_answered))) {
        struct emit_topic *topic = LIST_ENTRY(link, struct emit_topic, link);
        uint64_t *ids = topic->answer_ids;
        topic->answer_ids = NULL;
        topic->state = EMIT_TOPIC_KNOWN;
        emit_topic_moved(engine, topic, ids, topic->answer_code ? 0 : topic->answer_count);
        if (topic->answer_code == 0 && stage_topic_known(&engine->stage, topic, ids, topic->answer_count,
                                                         topic->answer_memory, &engine->failing) == 0)
            continue;
        topic->state = EMIT_TOPIC_NEW; /* the next emit asks again */
        stage_topic_failed(topic, topic->answer_code ? topic->answer_code : CRIER_ENOMEM, &engine->failing);
    }
}

static void lingering_collect(struct engine *engine, bool all)
{
    struct list due, *link;

    list_init(&due);
    if (all)
        list_move_all(&engine->lingering, &due);
    while (!list_is_empty(&engine->lingering) &&
           LIST_ENTRY(engine->lingering.next, struct emit_lane, lingering)->linger_due <= engine->now)
        list_append(&due, list_take(&engine->lingering));
    while ((link = list_take(&due)))
        lane_collect(engine, LIST_ENTRY(link, struct emit_lane, lingering));
}

struct engine_progress engine_collect(struct engine *engine, int64_t now_us)
{
    struct stage *stage = &engine->stage;
    struct list *link;

    engine->now = now_us;
    stage->woken = false;
    batches_release(engine, &engine->settled);
    if (engine->event_size_max)
        stage->event_size_max = engine->event_size_max;
    if (engine->log_changed)
        stage_forget_topics(stage, &engine->failing);
    engine->log_changed = false;
    topics_apply(engine);
    while ((link = list_take(&stage->fresh)))
        lane_collect(engine, LIST_ENTRY(link, struct emit_lane, fresh));
    while ((link = list_take(&engine->revisit)))
        lane_collect(engine, LIST_ENTRY(link, struct emit_lane, revisit));
    lingering_collect(engine, engine->flush_seen != stage->flush_ticket);
    engine->flush_seen = stage->flush_ticket;
    stage_inboxes_trim(stage);
    atomic_collect(engine);
    if (stage->drain_wanted && stage->pending_bytes <= stage->drain_below) {
        stage->drain_wanted = false;
        engine->drain_due = true;
    }
    if (engine->trim_due && stage->pending_bytes == 0)
        stage_spares_free(stage);
    engine->trim_due = false;
    engine->pending_seen = stage->pending_bytes;
    stage->stats.acked = engine->acked;
    stage->stats.failed = engine->failed;
    stage->stats.delivered = engine->delivered;
    stage->stats.reconnects = engine->reconnects;
    stage->stats.connected = engine->state == ENGINE_READY || engine->state == ENGINE_LEAVING;
    return (struct engine_progress){stage_oldest_ticket(stage), stage->pending_bytes};
}

/* ---- from batches to frames ---- */

static enum batch_codec codec_wanted(const struct engine *engine)
{
    return (enum batch_codec)engine->config.options.compression;
}

/* A smaller copy of a finished batch, if there is memory for one and it does become smaller. */
static void batch_shrink(const struct engine *engine, struct emit_batch *batch)
{
    uint8_t *space = malloc(batch->size), *fitted;
    int64_t size =
        space ? batch_compress(batch->data, batch->size, codec_wanted(engine), space, batch->size) : 0;

    if (size <= 0) {
        free(space);
        return;
    }
    fitted = realloc(space, (size_t)size);
    batch->data = fitted ? fitted : space;
    batch->size = (size_t)size;
}

/* Gives the batch its sequence and its final bytes. */
static void batch_finish(const struct engine *engine, struct emit_lane *lane, struct emit_batch *batch)
{
    if (batch->size > 0)
        return;
    batch->base_sequence = lane->memory ? -1 : lane->next_sequence;
    if (lane->memory) {
        batch->size = batch_builder_finish(&batch->builder, -1, -1, -1);
    } else {
        batch->size = batch_builder_finish(&batch->builder, (int64_t)engine->producer_id,
                                           (int16_t)engine->producer_epoch, batch->base_sequence);
        lane->next_sequence = sequence_after(batch->base_sequence, batch->builder.count);
    }
    batch->data = batch->builder.data;
    if (codec_wanted(engine) != BATCH_NONE)
        batch_shrink(engine, batch);
}

static void credit_want(struct engine *engine, size_t size)
{
    Wire__CreditWant want = WIRE__CREDIT_WANT__INIT;

    if (engine->grant_wanted >= engine->grant_used + size)
        return; /* asked already: the broker will grant at least that */
    engine->grant_wanted = engine->grant_used + size;
    want.bytes = size;
    engine_send(engine, FRAME_CREDIT_WANT, &want.base);
}

bool emit_has_grant(struct engine *engine, size_t size)
{
    size_t room = engine->grant > engine->grant_used ? engine->grant - engine->grant_used : 0;

    if (size > room)
        credit_want(engine, size);
    return size <= room;
}

void emit_frame_sent(struct engine *engine, struct emit_frame *frame, size_t size)
{
    frame->request = ++engine->emit_request;
    frame->end = engine->output.queued;
    engine->grant_used += size;
    engine->grant_due = engine->now + GRANT_IDLE_US;
    list_append(&engine->unanswered, &frame->link);
    engine->unanswered_count++;
}

/* Fills the scratch with the first unsent batch of as many lanes as fit one frame. Nothing has changed but the lanes'
 * places in line: those gathered are in `gathered`. Returns the number of parts; 0: nothing can go now. */
static uint32_t frame_gather(struct engine *engine, bool memory, struct list *gathered,
                             size_t *ret_attachment_size)
{
    size_t size = FRAME_PREFIX_SIZE + EMIT_HEADER_SIZE_MAX, attachment = 0;
    size_t room = engine->grant > engine->grant_used ? engine->grant - engine->grant_used : 0;
    uint32_t count = 0;
    struct list *link;

    while (count < FRAME_PARTS_MAX && size < FRAME_SIZE_TARGET &&
           (link = list_take(&engine->sendable[memory]))) {
        struct emit_lane *lane = LIST_ENTRY(link, struct emit_lane, sendable);
        struct emit_batch *batch = lane->unsent;
        size_t needed;
        if (!lane_is_free(engine, lane))
            continue; /* it is scheduled again when it is */
        batch_finish(engine, lane, batch);
        needed = batch->size + PART_HEADER_SIZE_MAX;
        if (FRAME_PREFIX_SIZE + EMIT_HEADER_SIZE_MAX + needed > engine->frame_size_max) {
            emit_refuse_unsent(engine, batch, CRIER_ETOOBIG);
            continue;
        }
        if (size + needed > room || size + needed > engine->frame_size_max) {
            list_prepend(&engine->sendable[memory], link);
            if (count == 0)
                credit_want(engine, size + needed);
            break;
        }
        size += needed;
        attachment += batch->size;
        engine->scratch->batches[count++] = batch;
        list_append(gathered, link);
    }
    *ret_attachment_size = attachment;
    return count;
}

/* The frame's head: prefix and header, malloc'ed. NULL: no memory. */
static uint8_t *frame_head(struct engine *engine, bool memory, uint32_t count, size_t attachment_size,
                           size_t *ret_size)
{
    struct emit_scratch *scratch = engine->scratch;
    Wire__Emit emit = WIRE__EMIT__INIT;
    size_t header_size;
    uint8_t *head;

    for (uint32_t i = 0; i < count; i++) {
        wire__emit_part__init(&scratch->parts[i]);
        scratch->parts[i].partition = scratch->batches[i]->lane->partition_id;
        scratch->parts[i].size = (uint32_t)scratch->batches[i]->size;
        scratch->parts[i].heard = scratch->batches[i]->heard;
        scratch->parts[i].delay_us = scratch->batches[i]->time.delay_us;
        scratch->parts[i].at_us = scratch->batches[i]->time.at_us;
        scratch->part_pointers[i] = &scratch->parts[i];
    }
    emit.request = engine->emit_request + 1;
    emit.durability = memory ? WIRE__DURABILITY__MEMORY : WIRE__DURABILITY__DURABLE;
    emit.n_parts = count;
    emit.parts = scratch->part_pointers;
    header_size = wire__emit__get_packed_size(&emit);
    if (!(head = malloc(FRAME_PREFIX_SIZE + header_size)))
        return NULL;
    frame_prefix_encode(head, FRAME_EMIT, header_size, attachment_size);
    wire__emit__pack(&emit, head + FRAME_PREFIX_SIZE);
    *ret_size = FRAME_PREFIX_SIZE + header_size;
    return head;
}

/* From here on the batches are in flight. */
static void frame_commit(struct engine *engine, struct emit_frame *frame, struct list *gathered)
{
    struct list *link;

    for (uint32_t i = 0; i < frame->part_count; i++) {
        struct emit_batch *batch = frame->parts[i];
        struct emit_lane *lane = batch->lane;
        batch->in_flight = true;
        lane->in_flight++;
        lane->unsent =
            batch->link.next == &lane->batches ? NULL : LIST_ENTRY(batch->link.next, struct emit_batch, link);
    }
    while ((link = list_take(gathered)))
        emit_lane_changed(engine, LIST_ENTRY(link, struct emit_lane, sendable));
}

/* Builds one frame. false: nothing can go now. */
static bool frame_build(struct engine *engine, bool memory)
{
    struct list gathered;
    size_t attachment_size, head_size;
    uint32_t count;
    struct emit_frame *frame;
    uint8_t *head = NULL;

    list_init(&gathered);
    if ((count = frame_gather(engine, memory, &gathered, &attachment_size)) == 0)
        return false;
    frame = malloc(sizeof(*frame) + count * sizeof(frame->parts[0]));
    if (!frame || output_reserve(&engine->output, 1 + count) < 0 ||
        !(head = frame_head(engine, memory, count, attachment_size, &head_size))) {
        free(frame);
        list_move_all(&engine->sendable[memory], &gathered); /* back in line, in front */
        list_move_all(&gathered, &engine->sendable[memory]);
        engine_fail(engine, CRIER_ENOMEM, "out of memory for an EMIT frame");
        return false;
    }
    frame->atomic = NULL;
    frame->part_count = count;
    memcpy(frame->parts, engine->scratch->batches, count * sizeof(frame->parts[0]));
    output_add(&engine->output, head, head_size, head);
    for (uint32_t i = 0; i < count; i++)
        output_add(&engine->output, frame->parts[i]->data, frame->parts[i]->size, NULL);
    emit_frame_sent(engine, frame, head_size + attachment_size);
    frame_commit(engine, frame, &gathered);
    return true;
}

static bool lanes_build(struct engine *engine)
{
    bool built;

    if (list_is_empty(&engine->sendable[0]) && list_is_empty(&engine->sendable[1]))
        return false;
    if (!engine->scratch && !(engine->scratch = malloc(sizeof(*engine->scratch)))) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for an EMIT frame");
        return false;
    }
    built = frame_build(engine, false);
    if (engine->unanswered_count < ENGINE_UNANSWERED_MAX && !engine->broken)
        built |= frame_build(engine, true);
    return built;
}

void emit_build(struct engine *engine)
{
    bool built = true;

    if (engine->producer_renew && engine->unanswered_count == 0)
        engine_fail(engine, CRIER_ESEQUENCE,
                    "the broker has lost count of this producer: beginning a new epoch");
    while (built && !engine->broken && !engine->producer_renew &&
           engine->unanswered_count < ENGINE_UNANSWERED_MAX && engine->output.size < ENGINE_OUTPUT_HIGH) {
        built = lanes_build(engine);
        if (engine->unanswered_count < ENGINE_UNANSWERED_MAX && !engine->broken)
            built |= atomic_frame_build(engine);
    }
}

/* ---- the connection ---- */

void emit_ready(struct engine *engine, const Wire__Welcome *welcome)
{
    bool same_id = engine->producer_known && engine->producer_id == welcome->producer_id;
    bool same = same_id && engine->producer_epoch == (uint16_t)welcome->producer_epoch;

    engine->producer_id = welcome->producer_id;
    engine->producer_epoch = (uint16_t)welcome->producer_epoch;
    engine->event_size_max = welcome->event_size_max;
    engine->grant = welcome->grant;
    engine->producer_known = true;
    engine->producer_renew = false;
    for (struct list *link = engine->lanes.next; link != &engine->lanes; link = link->next) {
        struct emit_lane *lane = LIST_ENTRY(link, struct emit_lane, all);
        if (!same && !lane->memory)
            emit_lane_renumber(engine, lane); /* the old numbers mean nothing any more */
        if (!list_is_linked(&lane->revisit))
            list_append(&engine->revisit, &lane->revisit);
    }
    atomic_ready(engine, !same_id, welcome->source_position);
}

void emit_disconnected(struct engine *engine)
{
    struct list *link;

    if (engine->unanswered_count > 0)
        engine->producer_renew =
            false; /* the old id is needed to tell duplicates apart; it will be noticed again */
    frames_free(engine);
    engine->emit_request = 0;
    engine->grant = engine->grant_used = engine->grant_wanted = 0;
    engine->grant_due = ENGINE_NEVER;
    for (link = engine->lanes.next; link != &engine->lanes; link = link->next) {
        struct emit_lane *lane = LIST_ENTRY(link, struct emit_lane, all);
        list_remove(&lane->sendable);
        list_remove(&lane->revisit);
        list_remove(&lane->lingering);
        list_remove(&lane->retrying);
        emit_lane_disconnected(engine, lane);
    }
    atomic_disconnected(engine);
    engine->retry_due = list_is_empty(&engine->topics_delayed) ? ENGINE_NEVER : engine->retry_due;
}

void emit_forget(struct engine *engine)
{
    engine->producer_known = false;
    engine->log_changed = true;
    atomic_forget(engine);
}

void emit_credit(struct engine *engine, uint64_t total)
{
    if (total > engine->grant)
        engine->grant = total;
}

/* ---- topics ---- */

/* Copies the partitions of an answer. false: no memory, or there are none. */
static bool topic_answer_keep(struct emit_topic *topic, const Wire__TopicInfo *info)
{
    topic->answer_count = (uint32_t)info->n_partitions;
    topic->answer_memory = info->durability == WIRE__DURABILITY__MEMORY;
    if (info->n_partitions == 0 || !(topic->answer_ids = malloc(info->n_partitions * sizeof(uint64_t))))
        return false;
    for (size_t i = 0; i < info->n_partitions; i++)
        topic->answer_ids[i] = info->partitions[i]->id;
    return true;
}

void emit_topic_answered(struct engine *engine, struct emit_topic *topic, int code, const char *text,
                         const Wire__TopicInfo *info)
{
    (void)text;
    if (code == 0 && (!info || !topic_answer_keep(topic, info)))
        code = CRIER_ENOMEM;
    topic->answer_code = code;
    if (code == 0 || !error_retriable(code) || engine->state == ENGINE_DROPPED) {
        list_append(&engine->topics_answered, &topic->link);
        return;
    }
    list_append(&engine->topics_delayed, &topic->link);
    emit_retry_arm(engine);
}

/* ---- time ---- */

int64_t emit_due(const struct engine *engine)
{
    int64_t due = time_min(engine->retry_due, engine->grant_due);

    if (!list_is_empty(&engine->revisit) || !list_is_empty(&engine->settled) ||
        !list_is_empty(&engine->failing) || !list_is_empty(&engine->topics_answered) || engine->drain_due ||
        atomic_is_waiting(engine))
        return 0;
    if (engine_is_ready(engine) && !list_is_empty(&engine->lingering))
        due = time_min(due, LIST_ENTRY(engine->lingering.next, struct emit_lane, lingering)->linger_due);
    return due;
}

/* Nothing was sent for a while: what the broker keeps ready for a busy sender, others can use. It answers with what it can lend
 * for a lone emit. */
static void grant_give_back(struct engine *engine)
{
    Wire__CreditReturn message = WIRE__CREDIT_RETURN__INIT;
    uint64_t unused = engine->grant - engine->grant_used;

    engine->grant_due = ENGINE_NEVER;
    if (engine->unanswered_count > 0)
        engine->grant_due = engine->now + GRANT_IDLE_US;
    if (engine->unanswered_count > 0 || engine->grant_wanted > engine->grant || unused == 0)
        return;
    message.bytes = unused;
    engine->grant_used += unused;
    engine_send(engine, FRAME_CREDIT_RETURN, &message.base);
}

void emit_tick(struct engine *engine)
{
    struct list *link;

    if (engine->now >= engine->grant_due)
        grant_give_back(engine);

    if (engine->now < engine->retry_due)
        return;
    engine->retry_due = ENGINE_NEVER;
    atomic_retry(engine);
    while ((link = list_take(&engine->retrying))) {
        struct emit_lane *lane = LIST_ENTRY(link, struct emit_lane, retrying);
        lane->retry = false;
        emit_lane_changed(engine, lane);
    }
    while ((link = list_take(&engine->topics_delayed))) {
        struct emit_topic *topic = LIST_ENTRY(link, struct emit_topic, link);
        topic->state = EMIT_TOPIC_NEW;
        emit_topic_want(engine, topic);
        if (!list_is_empty(&engine->topics_delayed) && engine->retry_due != ENGINE_NEVER)
            break; /* no memory even to ask: later */
    }
}

bool emit_is_settled(const struct engine *engine)
{
    return engine->pending_seen == 0;
}
