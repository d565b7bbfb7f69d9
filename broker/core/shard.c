/* shard.c: the shard core's life, its turns, its requests, and the state flush.
 *
 * Start:  load the state rows → replay the log above them → submit this life's first entry (broker epoch, producer ids);
 *         once that is durable the shard is ready. A full disk delays readiness: it is tried again every second.
 * Turn:   what waited is prepared, the open entry goes to the store if it takes one, a flush starts when one is due. */
#include "broker/core/shard_internal.h"

#include "proto/state.pb-c.h"

#include <stdarg.h>
#include <stdio.h>

void shard_log(struct shard *shard, enum log_level level, const char *id, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    shard->ops->log(shard->ops_ctx, level, id, text);
}

/* ---- requests ---- */

void shard_reply_code(struct shard *shard, const struct shard_request *request, int code)
{
    static const enum shard_reply_kind kinds[] = {[SHARD_TOPIC_CREATE] = SHARD_TOPICS,
                                                  [SHARD_TOPIC_DESCRIBE] = SHARD_TOPICS,
                                                  [SHARD_TOPIC_LIST] = SHARD_TOPICS,
                                                  [SHARD_TOPIC_ALTER] = SHARD_TOPICS,
                                                  [SHARD_TOPIC_DELETE] = SHARD_TOPICS,
                                                  [SHARD_TOPIC_TRIM] = SHARD_TOPICS,
                                                  [SHARD_PRODUCER] = SHARD_PRODUCER_ID,
                                                  [SHARD_JOIN] = SHARD_JOINED,
                                                  [SHARD_SETTLE] = SHARD_JOINED,
                                                  [SHARD_COMMIT] = SHARD_COMMITTED,
                                                  [SHARD_GROUP_LIST] = SHARD_GROUPS,
                                                  [SHARD_GROUP_DESCRIBE] = SHARD_GROUPS,
                                                  [SHARD_GROUP_SEEK] = SHARD_GROUPS,
                                                  [SHARD_GROUP_DELETE] = SHARD_GROUPS,
                                                  [SHARD_SCHEDULE_CANCEL] = SHARD_SCHEDULES,
                                                  [SHARD_SCHEDULE_LIST] = SHARD_SCHEDULES,
                                                  [SHARD_ACK] = SHARD_SETTLED,
                                                  [SHARD_NACK] = SHARD_SETTLED,
                                                  [SHARD_EXTEND] = SHARD_SETTLED,
                                                  [SHARD_REDRIVE] = SHARD_REDRIVEN};
    if (request->kind == SHARD_LEAVE || request->kind == SHARD_RELEASE)
        return;
    struct shard_reply reply = {.kind = kinds[request->kind],
                                .request_kind = request->kind,
                                .token = request->token,
                                .code = code,
                                .generation = request->generation};
    shard->output->reply(shard->output_ctx, &reply);
}

void shard_request_run(struct shard *shard, const struct shard_request *request)
{
    switch (request->kind) {
    case SHARD_TOPIC_CREATE:
    case SHARD_TOPIC_DESCRIBE:
    case SHARD_TOPIC_LIST:
    case SHARD_TOPIC_ALTER:
    case SHARD_TOPIC_DELETE:
    case SHARD_TOPIC_TRIM:
        topics_request(shard, request);
        break;
    case SHARD_PRODUCER:
        producers_request(shard, request);
        break;
    case SHARD_JOIN:
    case SHARD_SETTLE:
    case SHARD_RELEASE:
    case SHARD_LEAVE:
    case SHARD_COMMIT:
        groups_request(shard, request);
        break;
    case SHARD_GROUP_LIST:
    case SHARD_GROUP_DESCRIBE:
    case SHARD_GROUP_SEEK:
    case SHARD_GROUP_DELETE:
        group_admin_request(shard, request);
        break;
    case SHARD_SCHEDULE_CANCEL:
    case SHARD_SCHEDULE_LIST:
        schedules_request(shard, request);
        break;
    case SHARD_WANT:
    case SHARD_RETURN:
    case SHARD_NONE:
    case SHARD_ACK:
    case SHARD_NACK:
    case SHARD_EXTEND:
    case SHARD_REDRIVE:
        shared_request(shard, request);
        break;
    }
}

static bool request_writes(const struct shard_request *request)
{
    return request->kind == SHARD_TOPIC_CREATE || request->kind == SHARD_COMMIT;
}

void shard_submit(struct shard *shard, const struct shard_request *request)
{
    if (shard->read_only && request_writes(request))
        shard_reply_code(shard, request, WIRE_CRIER_EIO);
    else
        shard_request_run(shard, request);
}

/* ---- the disk guard ---- */

#define GUARD_US 200000

/* Emits stop before the disk is full, so that what gives space back and what moves positions on need not. A quarter more has
 * to be free before they go on: no flapping. */
void shard_guard(struct shard *shard)
{
    uint64_t floor = shard->config.disk_free_min;
    bool never = floor == 0 && !shard->guarded;
    if (never || (shard->guard_us && shard->mono_us - shard->guard_us < GUARD_US))
        return;
    shard->guard_us = shard->mono_us;
    struct store_stats stats;
    shard->store->ops->stats(shard->store, &stats);
    bool guarded = stats.disk_free < (shard->guarded ? floor + floor / 4 : floor);
    if (guarded && !shard->guarded)
        shard_log(shard, LOG_LEVEL_WARN, "SHARD-GUARD",
                  "%llu MiB are left on the disk, less than disk-free-min: emits are refused; retention, "
                  "deletion and "
                  "positions go on",
                  (unsigned long long)(stats.disk_free >> 20));
    else if (!guarded && shard->guarded)
        shard_log(shard, LOG_LEVEL_INFO, "SHARD-GUARD",
                  "%llu MiB are left on the disk: emits are taken again",
                  (unsigned long long)(stats.disk_free >> 20));
    shard->guarded = guarded;
}

/* ---- turns and state flush ---- */

static void leap_log(struct shard *shard)
{
    shard_log(shard, LOG_LEVEL_WARN, "SHARD-TIME",
              "the clock has leapt to %lld s from the last event's time: nothing goes for its age until "
              "somebody says that "
              "it is right: crier topic confirm-time",
              (long long)((shard->time.wall_us - shard->self.time_us) / 1000000));
}

void shard_turn_begin(struct shard *shard, int64_t mono_us, int64_t wall_us)
{
    shard->mono_us = mono_us;
    bool leapt = shard->time.leapt;
    shard_time_advance(&shard->time, mono_us, wall_us);
    shard->packed = false;
    if (shard->time.leapt && !leapt)
        leap_log(shard);
    shard_guard(shard);
}

static void flush_done(struct store_flush *flush, void *ctx)
{
    struct shard *shard = ctx;
    shard->flushing = FLUSH_NONE;
    if (flush->status == STORE_OK) {
        shard->flush_failed = false;
        rows_stored(shard);
        return;
    }
    if (!shard->flush_failed)
        shard_log(shard, LOG_LEVEL_WARN, "STATE-FLUSH", "writing the state failed (%d); it is tried again",
                  flush->status);
    shard->flush_failed = true;
}

static bool flush_wanted(const struct shard *shard)
{
    return shard->flushing == FLUSH_NONE && !shard->read_only && (shard->dirty || shard->flush_rows);
}

static bool flush_due(const struct shard *shard)
{
    return shard->bytes_since_flush >= shard->config.flush_log_bytes || schedules_want_flush(shard) ||
           shard->mono_us - shard->flushed_at_us >= shard->config.flush_interval_us;
}

/* The cut is made here. */
static void flush_begin(struct shard *shard)
{
    rows_freeze(shard);
    shard->flushing = FLUSH_FREEZING;
    shard->flush =
        (struct store_flush){.done = flush_done, .ctx = shard, .applied_index = shard->applied_index};
    shard->bytes_since_flush = 0;
    shard->flushed_at_us = shard->mono_us;
}

static void flush_write(struct shard *shard)
{
    shard->flush.rows = rows_packed(shard, &shard->flush.row_count);
    shard->flushing = FLUSH_WRITING;
    int rc = shard->store->ops->flush(shard->store, &shard->flush);
    if (rc < 0) {
        shard->flush.status = rc;
        flush_done(&shard->flush, shard);
    }
}

/* Returns when it wants the next turn. */
static int64_t flush_turn(struct shard *shard)
{
    if (flush_wanted(shard) && flush_due(shard))
        flush_begin(shard);
    if (shard->flushing == FLUSH_FREEZING && shard->packed)
        return shard->mono_us; /* a turn may end several times, and packs once */
    if (shard->flushing == FLUSH_FREEZING) {
        shard->packed = true;
        if (!rows_pack(shard, shard->config.flush_rows_per_turn))
            return shard->mono_us; /* the rest in the next turn, at once */
        flush_write(shard);
    }
    return flush_wanted(shard) ? shard->flushed_at_us + shard->config.flush_interval_us : INT64_MAX;
}

#define READY_RETRY_US 1000000
static void life_begin(struct shard *shard);

static bool entry_has_something(const struct shard_entry *entry)
{
    return entry->part_count || entry->position_count || entry->source_count || entry->ended_count ||
           entry->mark_count;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t shard_turn_end(struct shard *shard)
{
    emit_run_waiting(shard);
    int64_t schedules_us = schedules_turn(shard);
    int64_t shared_us = shared_turn(shard);
    if (shard->gathering && entry_has_something(shard->gathering) && shard_has_room(shard))
        entry_seal(shard);
    if (!shard->ready && !shard->read_only && !shard->stopping &&
        shard->entry_done >= shard->ready_entry) { /* it was refused: disk full */
        if (shard->mono_us - shard->ready_tried_at_us < READY_RETRY_US)
            return shard->ready_tried_at_us + READY_RETRY_US;
        life_begin(shard);
        entry_seal(shard);
    }
    int64_t retention_us = retention_turn(shard);
    return sooner(sooner(schedules_us, shared_us), sooner(retention_us, flush_turn(shard)));
}

/* ---- life ---- */

struct shard *shard_create(const struct core_config *config, const struct core_ops *ops, void *ops_ctx,
                           struct store *store, const struct shard_output *output, void *output_ctx)
{
    struct shard *shard = calloc(1, sizeof(*shard));
    if (!shard || !(shard->schedules = schedules_create())) {
        free(shard);
        return NULL;
    }
    shard->config = *config;
    shard->ops = ops;
    shard->ops_ctx = ops_ctx;
    shard->store = store;
    shard->output = output;
    shard->output_ctx = output_ctx;
    shard->epoch = 1;
    shard->next_flush = 1;
    shard->self = (struct shard_row){.row.kind = ROW_SHARD,
                                     .next_partition_id = 1,
                                     .next_partition_id_prepared = 1,
                                     .next_producer_id = 1,
                                     .next_group_id = 1,
                                     .next_source_id = 1};
    shared_create(shard);
    return shard;
}

void shard_reconfigure(struct shard *shard, const struct core_config *config)
{
    shard->config.auto_create = config->auto_create;
    shard->config.disk_free_min = config->disk_free_min;
    shard->config.topics_max = config->topics_max;
    shard->guard_us = 0;
}

static void entries_drop(struct shard_entry *entry)
{
    while (entry) {
        struct shard_entry *next = entry->next;
        for (struct emit *emit = entry->emits, *after; emit; emit = after) {
            after = emit->next;
            emit_destroy(emit);
        }
        for (struct parked *parked = entry->parked, *after; parked; parked = after) {
            after = parked->next;
            parked_destroy(parked);
        }
        for (size_t i = 0; i < entry->part_count; i++)
            slice_unref(&entry->parts[i].payload);
        entry_free(entry);
        entry = next;
    }
}

void shard_destroy(struct shard *shard)
{
    if (!shard)
        return;
    shared_destroy(shard);
    entries_drop(shard->gathering);
    entries_drop(shard->in_flight);
    entries_drop(shard->entries_free);
    while (shard->waiting) {
        struct emit *emit = shard->waiting;
        shard->waiting = emit->next;
        emit_destroy(emit);
    }
    retention_jobs_free(shard);
    rows_free_all(shard);
    schedules_free(shard);
    group_free_all(shard);
    producer_free_all(shard);
    source_free_all(shard);
    topic_free_all(shard);
    free(shard->shared);
    free(shard);
}

static int load_row(void *ctx, const struct store_row *row)
{
    return rows_load(ctx, row);
}

static int replay_entry(void *ctx, const struct store_entry *entry)
{
    return shard_apply(ctx, entry);
}

/* This life's first entry: its epoch fences generations of earlier lives. */
static void life_begin(struct shard *shard)
{
    State__BrokerEpoch command = STATE__BROKER_EPOCH__INIT;
    command.epoch = shard->self.broker_epoch + 1;
    uint8_t bytes[32];
    size_t size = state__broker_epoch__pack(&command, bytes);
    shard_add_command(shard, COMMAND_BROKER_EPOCH, bytes, size);
    producer_ids_reserve(shard);
    shard->ready_entry = shard->gathering->number;
    shard->ready_tried_at_us = shard->mono_us;
}

int shard_recover(struct shard *shard, int64_t mono_us, int64_t wall_us, char *error, size_t error_size)
{
    const struct store_ops *ops = shard->store->ops;
    int rc = ops->load_state(shard->store, load_row, shard, &shard->applied_index);
    if (rc < 0) {
        snprintf(error, error_size, "the state could not be loaded (%d); the log names the reason", rc);
        return rc;
    }
    source_lru_sort(shard);
    shard_time_start(&shard->time, shard->self.time_us, mono_us, wall_us);
    rc = ops->replay(shard->store, replay_entry, shard);
    if (rc < 0) {
        snprintf(error, error_size,
                 "the log could not be replayed after entry %llu (%d); the log names the reason",
                 (unsigned long long)shard->applied_index, rc);
        return rc;
    }
    shard_time_start(&shard->time, shard->self.time_us, mono_us, wall_us);
    retention_tell_store(shard);
    rc = ops->start(shard->store);
    if (rc < 0) {
        snprintf(error, error_size, "the log could not be opened for writing (%d); the log names the reason",
                 rc);
        return rc;
    }
    shard->mono_us = shard->flushed_at_us = mono_us;
    shard->serving = true;
    if (shard->time.leapt)
        leap_log(shard);
    topics_announce_all(shard);
    shared_recovered(shard);
    life_begin(shard);
    return 0;
}

bool shard_ready(const struct shard *shard)
{
    return shard->ready;
}

bool shard_read_only(const struct shard *shard)
{
    return shard->read_only;
}

void shard_drain(struct shard *shard)
{
    shard->draining = true;
}

void shard_stop(struct shard *shard)
{
    shard->stopping = true;
    shard->store->ops->stop(shard->store);
}

bool shard_idle(const struct shard *shard)
{
    return !shard->gathering && !shard->in_flight && !shard->waiting && !shard->retention_jobs;
}

void shard_stats(const struct shard *shard, struct core_stats *stats)
{
    stats->topics = shard->topics.count;
    stats->producers = producers_count(shard);
    stats->groups = HASH_COUNT(shard->groups);
    stats->emits = shard->count_emits;
    stats->events_in = shard->count_events;
    stats->bytes_in = shard->count_bytes;
    stats->refused = shard->count_refused;
    stats->duplicates = shard->count_duplicates;
    stats->schedules = shard->self.schedules;
    stats->fired = shard->count_fired;
    stats->run_out = shard->count_run_out;
    stats->entries_in_flight = shard->in_flight_count;
}
