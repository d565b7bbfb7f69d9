/* retention.c: how far each partition's log start moves: by a topic's settings, or because somebody asks (TOPIC_TRIM).
 *
 * A *job* goes through the partitions of one topic. What it needs to know of the log it asks the store for, one look-up at a
 * time; what comes of it for all of them is one command, and a log start moves when that is durable. Only whole prefixes go,
 * never more than was asked: by bytes to the last whole run of the offset index (64 KiB of log) that is too much, by time to
 * the first entry that is young enough, by count to the offset, by groups to the slowest position.
 *
 * Jobs of settings are found by a *round* over the topics that have some, a second apart or 64 MiB of log, some topics a
 * turn; most are dismissed without a look-up. While the shard's time has leapt nothing goes by time (shard_time.h).
 *
 * Failures:    a look-up that fails ends the job (the store has said why in the log; the next round tries again, a request
 *              is answered with the code). An entry that is refused sets the prepared log starts back. */
#include "broker/core/shard_internal.h"
#include "proto/state.pb-c.h"

#define ROUND_US     1000000
#define ROUND_BYTES  (64u << 20)
#define ROUND_TOPICS 64                      /* looked at in a turn */
#define JOBS_MAX     4                       /* at a time: each has one look-up under way */
#define RUN_BYTES    (64u << 10)             /* so much too much is not worth a look-up: runs go whole */
#define TIME_US_MAX  (60 * INT64_C(1000000)) /* the age of a topic's events is looked at this often at least */

struct move {
    uint64_t partition, offset, bytes;
};

enum job_step { STEP_TIME, STEP_PREFIX, STEP_BYTES };

struct retention_job {
    struct retention_job *prev, *next;
    struct shard *shard;
    uint8_t topic_id[TOPIC_ID_SIZE];
    char *name;
    struct parked *asked; /* the request; NULL: the settings ask */
    bool started;         /* one at a time for a topic */
    uint32_t place;       /* the partition at hand, of the topic's */
    struct move move;     /* of it */
    uint64_t end;         /* of it, when it was begun: what has come since is young */
    struct move *moves;
    size_t move_count, move_capacity;
    enum job_step step;
    struct store_lookup lookup;
};

static struct topic *job_topic(const struct retention_job *job)
{
    struct topic *topic = topic_find(job->shard, job->name);
    return topic && topic->applied && !memcmp(topic->id, job->topic_id, TOPIC_ID_SIZE) ? topic : NULL;
}

/* ---- the end of a job ---- */

static void job_free(struct shard *shard, struct retention_job *job)
{
    struct topic *topic = job->started ? job_topic(job) : NULL;
    if (topic)
        topic->retaining = false;
    shard->retention_job_count -= job->started;
    DL_DELETE(shard->retention_jobs, job);
    if (job->asked)
        parked_destroy(job->asked);
    free(job->moves);
    free(job->name);
    free(job);
}

void retention_jobs_free(struct shard *shard)
{
    while (shard->retention_jobs)
        job_free(shard, shard->retention_jobs);
}

static void job_fail(struct retention_job *job, int code)
{
    if (job->asked)
        shard_reply_code(job->shard, &job->asked->request, code);
    job_free(job->shard, job);
}

static void moves_prepare(struct shard *shard, const struct move *moves, size_t count)
{
    State__MoveLogStart *items = core_alloc(count * sizeof(*items));
    State__MoveLogStart **pointers = core_alloc(count * sizeof(State__MoveLogStart *));
    for (size_t i = 0; i < count; i++) {
        state__move_log_start__init(&items[i]);
        items[i].partition = moves[i].partition;
        items[i].offset = moves[i].offset;
        items[i].bytes = moves[i].bytes;
        pointers[i] = &items[i];
    }
    State__MoveLogStarts command = STATE__MOVE_LOG_STARTS__INIT;
    command.moves = pointers;
    command.n_moves = count;
    size_t size = state__move_log_starts__get_packed_size(&command);
    uint8_t *bytes = core_alloc(size);
    state__move_log_starts__pack(&command, bytes);
    shard_add_command(shard, COMMAND_MOVE_LOG_STARTS, bytes, size);
    struct shard_entry *entry = shard->gathering;
    for (size_t i = 0; i < count; i++) {
        partition_find(shard, moves[i].partition)->log_start_prepared = moves[i].offset;
        entry->moves = core_grow(entry->moves, entry->move_count, &entry->move_capacity, sizeof(uint64_t));
        entry->moves[entry->move_count++] = moves[i].partition;
    }
    free(bytes);
    free(pointers);
    free(items);
}

void retention_move(struct shard *shard, uint64_t partition, uint64_t offset, uint64_t bytes)
{
    struct move move = {partition, offset, bytes};
    moves_prepare(shard, &move, 1);
}

/* The answer to a request is the topic, when all of it is durable. */
static void job_end(struct retention_job *job)
{
    struct shard *shard = job->shard;
    if (job->move_count > 0)
        moves_prepare(shard, job->moves, job->move_count);
    if (job->asked) {
        struct shard_request asked = job->asked->request;
        asked.kind = SHARD_TOPIC_DESCRIBE;
        asked.create = false;
        if (job->move_count > 0)
            shard_park(shard, shard->gathering->number, &asked);
        else
            shard_request_run(shard, &asked);
    }
    job_free(shard, job);
}

void retention_set_back(struct shard *shard, struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->move_count; i++) {
        struct partition *partition = partition_find(shard, entry->moves[i]);
        if (partition)
            partition->log_start_prepared = partition->log_start;
    }
    entry->move_count = 0;
}

/* ---- one partition ---- */

/* The lowest position of all groups that have one; none: nothing has been consumed. */
static uint64_t consumed(struct shard *shard, const struct partition *partition)
{
    uint64_t lowest = UINT64_MAX;
    for (struct group *group = shard->groups; group; group = group->hh.next) {
        const struct group_position *position = position_find(shard, group, partition->id);
        if (position && position->exists && position->offset < lowest)
            lowest = position->offset;
    }
    return lowest == UINT64_MAX ? 0 : lowest;
}

#define EACH_PLACE UINT64_MAX

static bool asked_for(const struct position *position, uint32_t place)
{
    return position->partition == place || position->partition == EACH_PLACE;
}

/* What can be said without the store. */
static uint64_t bound(struct shard *shard, const struct retention_job *job, const struct topic *topic,
                      const struct partition *partition)
{
    const struct retention *retention = &topic->retention;
    uint64_t offset = partition->log_start_prepared;
    if (job && job->asked) {
        const struct shard_request *request = &job->asked->request;
        for (size_t i = 0; i < request->position_count && !request->time_us; i++)
            if (asked_for(&request->positions[i], job->place) && request->positions[i].offset > offset)
                offset = request->positions[i].offset;
    } else if (retention->until_consumed) {
        offset = consumed(shard, partition);
    } else if (retention->count && partition->next > retention->count) {
        offset = partition->next - retention->count;
    }
    return offset < partition->next ? offset : partition->next;
}

static bool by_time(const struct shard *shard, const struct topic *topic)
{
    return topic->retention.time_us && !shard->time.leapt;
}

static void look_up_done(struct store_lookup *lookup, void *ctx);

static void look_up(struct retention_job *job, enum job_step step, struct store_lookup lookup)
{
    struct shard *shard = job->shard;
    job->step = step;
    job->lookup = lookup;
    job->lookup.done = look_up_done;
    job->lookup.ctx = job;
    job->lookup.partition = job->move.partition;
    if (shard->store->ops->lookup(shard->store, &job->lookup) < 0)
        job_fail(job,
                 WIRE_CRIER_ESHUTDOWN); /* JOBS_MAX are few beside what the store takes: so it is stopping */
}

static void partition_end(struct retention_job *job, const struct partition *partition)
{
    if (job->move.offset > partition->log_start_prepared) {
        job->moves = core_grow(job->moves, job->move_count, &job->move_capacity, sizeof(struct move));
        job->moves[job->move_count++] = job->move;
    }
    job->place++;
}

/* Everything below `until` goes. True: it is being looked up, and the job is out of our hands. */
static bool prefix(struct retention_job *job, uint64_t until)
{
    if (until <= job->move.offset)
        return false;
    look_up(job, STEP_PREFIX,
            (struct store_lookup){
                .kind = LOOKUP_PREFIX, .from = job->move.offset, .until = until, .bytes_max = UINT64_MAX});
    return true;
}

/* What is too much by bytes. True: it is being looked up. */
static bool excess(struct retention_job *job, const struct topic *topic, const struct partition *partition)
{
    uint64_t limit = job->asked ? 0 : topic->retention.bytes;
    uint64_t bytes = partition->bytes > job->move.bytes ? partition->bytes - job->move.bytes : 0;
    if (limit == 0 || bytes <= limit || job->move.offset >= partition->next)
        return false;
    look_up(job, STEP_BYTES,
            (struct store_lookup){.kind = LOOKUP_PREFIX,
                                  .from = job->move.offset,
                                  .until = partition->next,
                                  .bytes_max = bytes - limit});
    return true;
}

/* What was appended before this goes; 0: age does not matter. */
static int64_t oldest(const struct shard *shard, const struct retention_job *job, const struct topic *topic)
{
    if (topic->reserved)
        return schedules_dead_before(job->shard, job->place);
    if (!job->asked)
        return by_time(shard, topic) ? shard->time.now_us - (int64_t)topic->retention.time_us : 0;
    const struct shard_request *request = &job->asked->request;
    for (size_t i = 0; i < request->position_count; i++)
        if (asked_for(&request->positions[i], job->place))
            return request->time_us;
    return 0;
}

static bool partition_begin(struct retention_job *job, const struct topic *topic,
                            const struct partition *partition)
{
    struct shard *shard = job->shard;
    job->move = (struct move){partition->id, partition->log_start_prepared, 0};
    job->end = partition->next;
    int64_t time_us = oldest(shard, job, topic);
    if (time_us && partition->next > job->move.offset) {
        look_up(job, STEP_TIME, (struct store_lookup){.kind = LOOKUP_TIME, .time_us = time_us});
        return true;
    }
    return prefix(job, bound(shard, job, topic, partition)) || excess(job, topic, partition);
}

/* Goes on with the partition at hand, or with the next one that has something to look up. */
static void job_run(struct retention_job *job)
{
    struct topic *topic = job_topic(job);
    if (!topic || topic->deleting) {
        job_fail(job, WIRE_CRIER_ENOTOPIC);
        return;
    }
    while (job->place < topic->partition_count) {
        const struct partition *partition = partition_find(job->shard, topic->partitions[job->place]);
        if (partition_begin(job, topic, partition))
            return;
        partition_end(job, partition);
    }
    job_end(job);
}

static void look_up_done(struct store_lookup *lookup, void *ctx)
{
    struct retention_job *job = ctx;
    struct topic *topic = job_topic(job);
    bool there = topic && !topic->deleting;
    if (!there || lookup->status < 0) {
        job_fail(job, there ? WIRE_CRIER_ECORRUPT : WIRE_CRIER_ENOTOPIC);
        return;
    }
    const struct partition *partition = partition_find(job->shard, job->move.partition);
    if (job->step == STEP_TIME) {
        uint64_t young = lookup->found ? lookup->offset : job->end, other;
        other = bound(job->shard, job, topic, partition);
        if (prefix(job, young > other ? young : other) || excess(job, topic, partition))
            return;
    } else {
        bool bytes = job->step == STEP_BYTES;
        job->move.offset = lookup->offset;
        job->move.bytes += lookup->bytes;
        if (lookup->more && !bytes && prefix(job, lookup->until))
            return;
        if ((lookup->more || !bytes) && excess(job, topic, partition))
            return;
    }
    partition_end(job, partition);
    job_run(job);
}

/* ---- jobs ---- */

static struct retention_job *job_create(struct shard *shard, const struct topic *topic)
{
    struct retention_job *job = core_alloc(sizeof(*job));
    job->shard = shard;
    job->name = core_strdup(topic->name);
    memcpy(job->topic_id, topic->id, TOPIC_ID_SIZE);
    DL_APPEND(shard->retention_jobs, job);
    return job;
}

/* Those that may begin: in the order they came, a few at a time. */
static void jobs_start(struct shard *shard)
{
    struct retention_job *job, *next;
    DL_FOREACH_SAFE (shard->retention_jobs, job, next) {
        if (shard->retention_job_count >= JOBS_MAX)
            return;
        struct topic *topic = job_topic(job);
        if (job->started || (topic && topic->retaining))
            continue;
        job->started = true;
        shard->retention_job_count++;
        if (topic)
            topic->retaining = true;
        job_run(job);
    }
}

static int trim_code(const struct shard *shard, const struct topic *topic,
                     const struct shard_request *request)
{
    if (!topic)
        return WIRE_CRIER_ENOTOPIC;
    for (size_t i = 0; i < request->position_count; i++)
        if (request->positions[i].partition >= topic->partition_count &&
            request->positions[i].partition != EACH_PLACE)
            return WIRE_CRIER_EINVAL;
    if (request->time_us < 0 || topic->reserved)
        return WIRE_CRIER_EINVAL;
    return shard->read_only ? WIRE_CRIER_EIO : 0;
}

void retention_request(struct shard *shard, const struct shard_request *request)
{
    if (request->confirm_time) {
        shard_time_confirm(&shard->time);
        shard_log(shard, LOG_LEVEL_INFO, "SHARD-TIME",
                  "an operator says that the clock is right: what is too old goes again");
        topics_reply(shard, request, NULL, 0, false);
        return;
    }
    struct topic *topic = topic_find(shard, request->name);
    if (topic && topic_depends(shard, topic)) {
        shard_park(shard, topic_depends(shard, topic), request);
        return;
    }
    int code = trim_code(shard, topic, request);
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    job_create(shard, topic)->asked = parked_create(request);
}

/* ---- rounds ---- */

void retention_settings_changed(struct shard *shard, struct topic *topic)
{
    bool wanted = (retention_any(&topic->retention) || topic->reserved) && !topic->deleted;
    topic->retention_due_us = 0;
    if (wanted == topic->retained)
        return;
    if (shard->retention_next == topic)
        shard->retention_next = topic->retained_next;
    topic->retained = wanted;
    if (wanted)
        DL_APPEND2(shard->retained, topic, retained_prev, retained_next);
    else
        DL_DELETE2(shard->retained, topic, retained_prev, retained_next);
}

/* Is there perhaps something to do? Only age cannot be told from here: it is looked at now and then. */
static bool job_wanted(struct shard *shard, struct topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition *partition = partition_find(shard, topic->partitions[i]);
        if (bound(shard, NULL, topic, partition) > partition->log_start_prepared ||
            (topic->retention.bytes && partition->bytes > topic->retention.bytes + RUN_BYTES))
            return true;
        if ((by_time(shard, topic) || topic->reserved) && partition->next > partition->log_start_prepared &&
            shard->mono_us >= topic->retention_due_us)
            return true;
    }
    return false;
}

static void topic_visit(struct shard *shard, struct topic *topic)
{
    if (topic->deleting || topic->retaining || !job_wanted(shard, topic))
        return;
    int64_t pause_us = topic->reserved ? TIME_US_MAX : (int64_t)(topic->retention.time_us / 16);
    topic->retention_due_us = shard->mono_us + (pause_us < TIME_US_MAX ? pause_us : TIME_US_MAX);
    (void)job_create(shard, topic);
}

static int64_t round_turn(struct shard *shard)
{
    if (!shard->ready || shard->read_only || !shard->retained)
        return INT64_MAX;
    if (!shard->retention_next) {
        int64_t due_us = shard->retention_round_us + ROUND_US;
        if (shard->mono_us < due_us && shard->count_bytes - shard->retention_round_bytes < ROUND_BYTES)
            return due_us;
        shard->retention_round_us = shard->mono_us;
        shard->retention_round_bytes = shard->count_bytes;
        shard->retention_next = shard->retained;
    }
    for (unsigned i = 0; i < ROUND_TOPICS && shard->retention_next; i++) {
        if (shard->retention_job_count >= JOBS_MAX)
            return INT64_MAX; /* the store's answer brings the next turn */
        struct topic *topic = shard->retention_next;
        shard->retention_next = topic->retained_next;
        topic_visit(shard, topic);
    }
    return shard->retention_next ? shard->mono_us : shard->retention_round_us + ROUND_US;
}

int64_t retention_turn(struct shard *shard)
{
    jobs_start(shard);
    int64_t due_us = round_turn(shard);
    jobs_start(shard);
    return due_us;
}

/* ---- applied ---- */

static int apply_move(struct shard *shard, const State__MoveLogStart *move)
{
    struct partition *partition = partition_find(shard, move->partition);
    if (!partition)
        return 0; /* deleted since it was decided */
    if (move->offset > partition->next)
        return STORE_ECORRUPT;
    if (move->offset <= partition->log_start)
        return 0;
    shard_row_will_change(shard, &partition->row);
    partition->log_start = move->offset;
    if (partition->log_start_prepared < move->offset)
        partition->log_start_prepared = move->offset;
    partition->bytes -= move->bytes < partition->bytes ? move->bytes : partition->bytes;
    if (partition->log_start == partition->next)
        partition->bytes = 0;
    if (shard->serving) {
        (void)shard->store->ops->trim(shard->store, partition->id, partition->log_start);
        struct partition_info info = {
            .id = partition->id, .log_start = partition->log_start, .high_watermark = partition->next};
        shard->output->log_start(shard->output_ctx, &info);
    }
    return 0;
}

int apply_move_log_starts(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__MoveLogStarts *command = state__move_log_starts__unpack(NULL, size, bytes);
    int rc = command ? 0 : STORE_ECORRUPT;
    for (size_t i = 0; command && i < command->n_moves && rc == 0; i++)
        rc = apply_move(shard, command->moves[i]);
    if (command)
        state__move_log_starts__free_unpacked(command, NULL);
    return rc;
}

void retention_tell_store(struct shard *shard)
{
    for (uint64_t id = 1; id < shard->self.next_partition_id; id++) {
        const struct partition *partition = partition_find(shard, id);
        uint64_t log_start = partition ? partition->log_start : STORE_DELETED;
        if (log_start > 0)
            (void)shard->store->ops->trim(shard->store, id, log_start);
    }
}
