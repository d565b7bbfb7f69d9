/* schedules.c: events with a time: stored, and what their commands and rows do; see schedules.h.
 *
 * Happy path:  schedule_judge → schedule_prepare (event and command into the open entry) → apply_schedules → … the window,
 *              the firing … → schedule_leave → apply_end_schedules → the row is deleted
 * Failures:    the first one of a folder makes the topic, and waits for it; when that is refused, so is it. An entry that is
 *              refused gives its schedules their places back. A schedule whose topic has been deleted ends when it is due. */
#include "broker/core/schedules.h"

#include "base/bytes.h"

#define RETRY_US 1000000

/* ---- places ---- */

struct schedule *schedule_find(struct shard *shard, const struct schedule_key *key)
{
    struct schedule *schedule = NULL;
    HASH_FIND(hh, shard->schedules->all, key, sizeof(*key), schedule);
    return schedule;
}

struct schedule *schedule_add(struct shard *shard, const struct schedule_key *key)
{
    struct schedule *schedule = core_alloc(sizeof(*schedule));
    schedule->row.kind = ROW_SCHEDULE;
    schedule->key = *key;
    schedule->timer = (struct heap_node){.number = key->number, .place = HEAP_NOWHERE};
    HASH_ADD(hh, shard->schedules->all, key, sizeof(schedule->key), schedule);
    DL_APPEND(shard->schedules->outside, schedule);
    return schedule;
}

static void timer_add(struct heap *heap, struct schedule *schedule)
{
    CHECK(heap_reserve(heap));
    heap_add(heap, &schedule->timer);
}

static void place_left(struct schedules *schedules, struct schedule *schedule)
{
    switch (schedule->place) {
    case SCHEDULE_OUTSIDE:
        DL_DELETE(schedules->outside, schedule);
        break;
    case SCHEDULE_WAITING:
        heap_remove(&schedules->waiting, &schedule->timer);
        break;
    case SCHEDULE_READING:
        schedules->ahead_bytes -= schedule->size;
        break;
    case SCHEDULE_READY:
        heap_remove(&schedules->ready, &schedule->timer);
        schedules->ahead_bytes -= schedule->size;
        slice_unref(&schedule->batch);
        break;
    default:
        break;
    }
}

void schedule_enter(struct shard *shard, struct schedule *schedule, enum schedule_place place,
                    int64_t wake_us)
{
    static const unsigned legal[SCHEDULE_PLACES] = {
        [SCHEDULE_OUTSIDE] = 1u << SCHEDULE_WAITING | 1u << SCHEDULE_LEAVING | 1u << SCHEDULE_GONE,
        [SCHEDULE_WAITING] =
            1u << SCHEDULE_OUTSIDE | 1u << SCHEDULE_READING | 1u << SCHEDULE_LEAVING | 1u << SCHEDULE_GONE,
        [SCHEDULE_READING] = 1u << SCHEDULE_WAITING | 1u << SCHEDULE_READY | 1u << SCHEDULE_LEAVING,
        [SCHEDULE_READY] = 1u << SCHEDULE_WAITING | 1u << SCHEDULE_LEAVING,
        [SCHEDULE_LEAVING] = 1u << SCHEDULE_OUTSIDE | 1u << SCHEDULE_WAITING | 1u << SCHEDULE_GONE,
        [SCHEDULE_GONE] = 0};
    struct schedules *schedules = shard->schedules;
    CHECK(legal[schedule->place] & 1u << place);
    struct slice batch = schedule->batch;
    if (place == SCHEDULE_READY)
        schedule->batch = (struct slice){0};
    place_left(schedules, schedule);
    schedule->place = place;
    schedule->timer.due_us = wake_us;
    schedule->entry = 0;
    switch (place) {
    case SCHEDULE_OUTSIDE:
        DL_APPEND(schedules->outside, schedule);
        break;
    case SCHEDULE_WAITING:
        timer_add(&schedules->waiting, schedule);
        break;
    case SCHEDULE_READY:
        schedule->batch = batch;
        timer_add(&schedules->ready, schedule);
        schedules->ahead_bytes += schedule->size;
        break;
    case SCHEDULE_READING:
        schedules->ahead_bytes += schedule->size;
        break;
    default:
        break;
    }
}

void schedule_drop(struct shard *shard, struct schedule *schedule)
{
    CHECK(!schedule->row.flush);
    place_left(shard->schedules, schedule);
    HASH_DEL(shard->schedules->all, schedule);
    free(schedule);
}

/* ---- the topic ---- */

struct topic *schedule_topic(struct shard *shard)
{
    struct topic *topic = topic_find(shard, SCHEDULE_TOPIC);
    return topic && topic->applied ? topic : NULL;
}

/* An emit with a time waits, and those behind it, until the topic is there: once in the life of a folder. */
bool schedules_ready(struct shard *shard, const struct emit *emit)
{
    struct schedules *schedules = shard->schedules;
    if (!emit->scheduled || shard->read_only || schedule_topic(shard))
        return true;
    if (schedules->topic_refused) {
        schedules->topic_refused = false;
        return true; /* and is refused */
    }
    if (!topic_find(shard, SCHEDULE_TOPIC)) {
        struct shard_request request = {
            .kind = SHARD_TOPIC_CREATE, .name = SCHEDULE_TOPIC, .partitions = SCHEDULE_CLASSES};
        shard->ops->random(shard->ops_ctx, request.topic_id, TOPIC_ID_SIZE);
        schedules->topic_entry = topic_create(shard, &request);
    }
    return false;
}

/* ---- prepare ---- */

static int64_t due_of(const struct shard *shard, const struct emit_part *part)
{
    int64_t now_us = shard->time.now_us;
    if (!part->at_us)
        return part->delay_us <= (uint64_t)SCHEDULE_DELAY_US_MAX ? now_us + (int64_t)part->delay_us
                                                                 : INT64_MAX;
    return part->at_us > now_us ? part->at_us : now_us;
}

int schedule_judge(struct shard *shard, const struct emit_part *part)
{
    if (!schedule_topic(shard))
        return WIRE_CRIER_EFULL;
    return due_of(shard, part) - shard->time.now_us > SCHEDULE_DELAY_US_MAX ? WIRE_CRIER_EINVAL : 0;
}

static unsigned class_of(int64_t delay_us)
{
    unsigned class = 0;
    while (delay_us > SCHEDULE_CLASS_US << class)
        class ++;
    return class;
}

void schedule_prepare(struct shard *shard, struct emit_part *part, struct producer *producer)
{
    int64_t due_us = due_of(shard, part);
    unsigned class = class_of(due_us - shard->time.now_us);
    struct partition *partition = partition_find(shard, schedule_topic(shard)->partitions[class]);
    uint64_t offset = shard_add_batch(shard, partition, part->batch,
                                      (uint32_t)part->header.last_offset_delta + 1, PART_NO_SEQUENCE);
    part->schedule = (struct schedule_key){due_us, offset << SCHEDULE_CLASS_BITS | class};
    part->base_offset = -1;
    if (producer)
        producer_prepare(producer, part, UINT64_MAX, shard->gathering->number);
    struct shard_entry *entry = shard->gathering;
    entry->scheduled = core_grow(entry->scheduled, entry->scheduled_count, &entry->scheduled_capacity,
                                 sizeof(struct scheduled));
    entry->scheduled[entry->scheduled_count++] =
        (struct scheduled){part->schedule, part->partition, (uint32_t)part->batch.size, part->header};
}

void schedule_leave(struct shard *shard, struct schedule *schedule, bool fired)
{
    struct shard_entry *entry = shard_gather(shard);
    entry->ended = core_grow(entry->ended, entry->ended_count, &entry->ended_capacity, sizeof(struct ended));
    entry->ended[entry->ended_count++] = (struct ended){schedule->key, fired};
    schedule_enter(shard, schedule, SCHEDULE_LEAVING, 0);
    schedule->entry = entry->number;
}

static void encode(struct shard *shard, enum command command, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = core_alloc(size);
    protobuf_c_message_pack(message, bytes);
    shard_add_command(shard, command, bytes, size);
    free(bytes);
}

static void encode_scheduled(struct shard *shard, const struct shard_entry *entry)
{
    size_t count = entry->scheduled_count;
    if (count == 0)
        return;
    State__Schedule *items = core_alloc(count * sizeof(*items));
    State__Schedule **pointers = core_alloc(count * sizeof(State__Schedule *));
    for (size_t i = 0; i < count; i++) {
        const struct scheduled *scheduled = &entry->scheduled[i];
        const struct batch_header *header = &scheduled->header;
        state__schedule__init(&items[i]);
        items[i].due_us = scheduled->key.due_us;
        items[i].number = scheduled->key.number;
        items[i].partition = scheduled->partition;
        items[i].size = scheduled->size;
        if ((items[i].sequenced = header->producer_id >= 0)) {
            items[i].producer_id = (uint64_t)header->producer_id;
            items[i].producer_epoch = (uint32_t)header->producer_epoch;
            items[i].base_sequence = (uint32_t)header->base_sequence;
            items[i].last_offset_delta = (uint32_t)header->last_offset_delta;
        }
        pointers[i] = &items[i];
    }
    State__Schedules command = STATE__SCHEDULES__INIT;
    command.schedules = pointers;
    command.n_schedules = count;
    encode(shard, COMMAND_SCHEDULE, &command.base);
    free(pointers);
    free(items);
}

static void encode_ended(struct shard *shard, const struct shard_entry *entry, bool fired)
{
    size_t count = 0;
    State__ScheduleKey *items = core_alloc((entry->ended_count + 1) * sizeof(*items));
    State__ScheduleKey **pointers = core_alloc((entry->ended_count + 1) * sizeof(State__ScheduleKey *));
    for (size_t i = 0; i < entry->ended_count; i++) {
        if (entry->ended[i].fired != fired)
            continue;
        state__schedule_key__init(&items[count]);
        items[count].due_us = entry->ended[i].key.due_us;
        items[count].number = entry->ended[i].key.number;
        pointers[count] = &items[count];
        count++;
    }
    State__EndSchedules command = STATE__END_SCHEDULES__INIT;
    command.schedules = pointers;
    command.n_schedules = count;
    if (count)
        encode(shard, fired ? COMMAND_FIRE : COMMAND_CANCEL_SCHEDULES, &command.base);
    free(pointers);
    free(items);
}

void schedules_encode(struct shard *shard, struct shard_entry *entry)
{
    encode_scheduled(shard, entry);
    if (entry->ended_count == 0)
        return;
    encode_ended(shard, entry, true);
    encode_ended(shard, entry, false);
}

void schedules_set_back(struct shard *shard, struct shard_entry *entry)
{
    struct schedules *schedules = shard->schedules;
    for (size_t i = 0; i < entry->scheduled_count; i++)
        if (entry->scheduled[i].header.producer_id >= 0)
            producer_set_back(shard, entry->scheduled[i].header.producer_id, entry->scheduled[i].partition);
    for (size_t i = 0; i < entry->ended_count; i++) {
        struct schedule *schedule = schedule_find(shard, &entry->ended[i].key);
        CHECK(schedule && schedule->place == SCHEDULE_LEAVING);
        if (schedule_in_window(schedules, &schedule->key))
            schedule_enter(shard, schedule, SCHEDULE_WAITING,
                           schedule->key.due_us - SCHEDULE_AHEAD_US > shard->time.now_us
                               ? schedule->key.due_us - SCHEDULE_AHEAD_US
                               : shard->time.now_us + RETRY_US);
        else
            schedule_enter(shard, schedule, SCHEDULE_OUTSIDE, 0);
    }
    entry->scheduled_count = entry->ended_count = 0;
    if (schedules->topic_entry && schedules->topic_entry == entry->number)
        schedules->topic_refused = true;
}

/* ---- apply ---- */

static void apply_sequence(struct shard *shard, const State__Schedule *item, int64_t time_us)
{
    const struct schedule_key key = {item->due_us, item->number};
    const struct batch_header header = {.producer_id = (int64_t)item->producer_id,
                                        .producer_epoch = (int16_t)item->producer_epoch,
                                        .base_sequence = (int32_t)item->base_sequence,
                                        .last_offset_delta = (int32_t)item->last_offset_delta};
    if (item->sequenced)
        producer_apply_schedule(shard, &header, item->partition, &key, time_us);
}

static int apply_schedule(struct shard *shard, const State__Schedule *item, int64_t time_us)
{
    struct schedule_key key = {item->due_us, item->number};
    if (schedule_find(shard, &key))
        return STORE_ECORRUPT;
    apply_sequence(shard, item, time_us);
    if (!partition_find(shard, item->partition))
        return 0; /* its topic was deleted by the same entry: the command stands behind that */
    struct schedule *schedule = schedule_add(shard, &key);
    schedule->partition = item->partition;
    schedule->size = item->size;
    schedule->created_us = time_us;
    schedule->born = shard->next_flush;
    shard_row_will_change(shard, &schedule->row);
    shard->self.schedules++;
    shard->schedules->dirty++;
    if (schedule_in_window(shard->schedules, &key))
        schedule_enter(shard, schedule, SCHEDULE_WAITING, key.due_us - SCHEDULE_AHEAD_US);
    return 0;
}

int apply_schedules(struct shard *shard, const uint8_t *bytes, size_t size, int64_t time_us)
{
    State__Schedules *command = state__schedules__unpack(NULL, size, bytes);
    int rc = command ? 0 : STORE_ECORRUPT;
    for (size_t i = 0; command && i < command->n_schedules && rc == 0; i++)
        rc = apply_schedule(shard, command->schedules[i], time_us);
    if (command)
        state__schedules__free_unpacked(command, NULL);
    schedule_window_shrink(shard);
    return rc;
}

/* One that is not in memory is in the state's rows: in a replay only, for whoever ends one has it at hand. */
static int apply_end(struct shard *shard, const struct schedule_key *key)
{
    struct schedule *schedule = schedule_find(shard, key);
    if (shard->self.schedules == 0 || (schedule && schedule->place == SCHEDULE_GONE))
        return STORE_ECORRUPT;
    if (!schedule)
        schedule = schedule_add(shard, key);
    shard->self.schedules--;
    if (schedule->born == shard->next_flush) { /* no flush has seen it */
        DL_DELETE(shard->dirty, &schedule->row);
        schedule->row.flush = 0;
        schedule_drop(shard, schedule);
        return 0;
    }
    shard_row_will_change(shard, &schedule->row);
    schedule_enter(shard, schedule, SCHEDULE_GONE, 0);
    return 0;
}

int apply_end_schedules(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__EndSchedules *command = state__end_schedules__unpack(NULL, size, bytes);
    int rc = command ? 0 : STORE_ECORRUPT;
    for (size_t i = 0; command && i < command->n_schedules && rc == 0; i++)
        rc = apply_end(shard,
                       &(struct schedule_key){command->schedules[i]->due_us, command->schedules[i]->number});
    if (command)
        state__end_schedules__free_unpacked(command, NULL);
    return rc;
}

/* ---- rows ---- */

void schedule_row_unpack(struct schedule *schedule, const State__ScheduleRow *row)
{
    schedule->partition = row->partition;
    schedule->size = row->size;
    schedule->created_us = row->created_us;
}

/* They come in the order in which they are due: what is beyond the window stays where it is. */
int schedule_load(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    struct schedules *schedules = shard->schedules;
    struct schedule_key key;
    if (!schedule_row_key(row, &key))
        return STORE_ECORRUPT;
    if (schedules->waiting.count >= shard->config.schedule_window) {
        schedules->whole = false;
        schedules->end = key;
        return STORE_NEXT_TABLE;
    }
    State__ScheduleRow *value = state__schedule_row__unpack(memory, row->value_size, row->value);
    if (!value)
        return STORE_ECORRUPT;
    struct schedule *schedule = schedule_add(shard, &key);
    schedule_row_unpack(schedule, value);
    schedule_enter(shard, schedule, SCHEDULE_WAITING, key.due_us - SCHEDULE_AHEAD_US);
    state__schedule_row__free_unpacked(value, memory);
    return 0;
}

bool schedule_gone(const struct row *row)
{
    return ((const struct schedule *)row)->place == SCHEDULE_GONE;
}

const ProtobufCMessage *schedule_row_pack(const struct row *row, uint8_t key[SCHEDULE_KEY_SIZE],
                                          State__ScheduleRow *value)
{
    const struct schedule *schedule = (const struct schedule *)row;
    key[0] = ROW_SCHEDULE;
    be64_put(key + 1, (uint64_t)schedule->key.due_us);
    be64_put(key + 9, schedule->key.number);
    state__schedule_row__init(value);
    value->partition = schedule->partition;
    value->size = schedule->size;
    value->created_us = schedule->created_us;
    return schedule_gone(row) ? NULL : &value->base;
}

void schedule_bury(struct shard *shard, struct row *row)
{
    struct schedules *schedules = shard->schedules;
    struct schedule *schedule = (struct schedule *)row;
    if (schedules->ranges == 0) {
        schedule_drop(shard, schedule);
        return;
    }
    schedule->next = schedules->held;
    schedules->held = schedule;
}

/* ---- life ---- */

struct schedules *schedules_create(void)
{
    struct schedules *schedules = calloc(1, sizeof(*schedules));
    if (schedules)
        schedules->whole = true;
    return schedules;
}

void schedules_free(struct shard *shard)
{
    struct schedules *schedules = shard->schedules;
    if (!schedules)
        return;
    struct schedule *schedule, *next;
    HASH_ITER (hh, schedules->all, schedule, next) {
        schedule->row.flush = 0;
        schedule_drop(shard, schedule);
    }
    schedule_fill_free(schedules);
    schedule_reads_free(schedules);
    schedule_questions_free(schedules);
    heap_finish(&schedules->waiting);
    heap_finish(&schedules->ready);
    free(schedules);
}
