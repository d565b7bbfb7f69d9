/* background.c: the thread that keeps house; see background.h.
 *
 * Happy path:  want_next → segment_make → take_next → (writer fills it) → seal → manifest row, file cut, state copied
 * Failures:    no space: the segment is not made, the writer refuses emits and asks again with the next append epoch; a
 *              seal waits for the next job. I/O error: the shard is read-only, and no clean-stop mark is set. */
#include "storage/lmdb/background.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* ---- making a segment ---- */

static int write_row(struct meta *meta, const struct segment *segment, enum segment_state state)
{
    const struct segment_row row = segment_row(segment, state);
    const struct meta_change change = {.rows = &row, .count = 1};
    return meta_commit(meta, &change);
}

static int make_file(const struct folder *folder, uint64_t map_size, bool allocate, struct segment *segment)
{
    struct path path = folder_segment(folder, segment->number, segment->generation);
    (void)unlink(path.text); /* an attempt that failed: its row said NEW, so nothing was ever in it */
    int rc = env_open(path.text, ENV_ACTIVE, map_size, &segment->env);
    if (rc != 0)
        return rc;
    if (allocate)
        rc = env_reserve(segment->env, map_size);
    if (rc == 0 && fsync(segment->env->fd) < 0)
        rc = errno;
    if (rc == 0)
        rc = folder_sync(folder->shard_fd);
    if (rc != 0)
        (void)unlink(path.text); /* gives the space back; the row says NEW */
    return rc;
}

int segment_make(struct meta *meta, const struct folder *folder, uint64_t map_size, uint64_t number,
                 bool allocate, struct segment **ret_segment)
{
    struct segment *segment = segment_create(number, 0);
    if (!segment)
        return ENOMEM;
    int rc = make_file(folder, map_size, allocate, segment);
    if (rc == 0)
        rc = write_row(meta, segment, SEGMENT_ACTIVE);
    if (rc != 0) {
        segment_destroy(segment);
        return rc;
    }
    *ret_segment = segment;
    return 0;
}

/* ---- jobs; without the lock ---- */

static void make_next(struct background *background)
{
    struct segment *segment = NULL;
    const struct segment_row row = {.number = background->next_number, .state = SEGMENT_NEW};
    int rc = meta_commit(background->meta, &(struct meta_change){.rows = &row, .count = 1});
    if (rc == 0)
        rc = segment_make(background->meta, background->folder, background->segments->map_size, row.number,
                          true, &segment);
    int status = env_code(rc);
    if (status == STORE_ECORRUPT)
        status = STORE_EIO;
    if (rc == 0)
        background->next_number++;
    else if (status == STORE_EIO)
        health_fail(background->health, "make the next segment in", background->folder->shard, rc);
    else if (status != background->next_told) /* once, not for each that is tried again */
        LOG_WARN(background->health->log, "STORE-FULL", "no room for the next segment in %s: %s",
                 background->folder->shard, env_text(rc));
    background->next_told = status;
    pthread_mutex_lock(&background->lock);
    background->next = segment;
    background->next_status = status;
    background->next_wanted = false;
    pthread_cond_broadcast(&background->made);
    pthread_mutex_unlock(&background->lock);
}

/* The offset index reaches at least to where the state does, so that a start need not read entries below it. */
static void save_index(struct background *background, struct segment *segment, bool sync)
{
    struct index *index;
    if (segments_index(background->segments, segment, &index) < 0)
        return;
    int rc = index_file_save(&segment->file, background->folder, index, sync);
    if (rc < 0)
        LOG_WARN(background->health->log, "STORE-INDEX",
                 "cannot save the offset index of segment %" PRIu64 "; it is made again when needed",
                 segment->number);
    index_unref(index);
}

static int run_flush(struct background *background, const struct store_flush *flush)
{
    struct health *health = background->health;
    if (atomic_load(&health->read_only))
        return STORE_EREADONLY;
    int rc = state_flush(background->state, flush);
    int status = env_code(rc);
    if (status == STORE_EFULL || status == STORE_ENOMEM) {
        LOG_WARN(health->log, "STORE-FULL", "cannot flush the state: %s", env_text(rc));
        return status;
    }
    if (status < 0) {
        health_fail(health, "flush", background->state->env->path, rc);
        return STORE_EIO;
    }
    atomic_store(&health->flushed_index, flush->applied_index);
    size_t count = segments_count(background->segments);
    save_index(background, segments_at(background->segments, count - 1), false);
    return STORE_OK;
}

static void run_ranges(struct background *background, struct queue_node *ranges)
{
    while (ranges) {
        struct store_range *range = (struct store_range *)ranges;
        ranges = ranges->next;
        int rc = state_range(background->state, range);
        range->status = env_code(rc);
        if (range->status == STORE_EIO)
            health_fail(background->health, "read", background->state->env->path, rc);
        else if (range->status == STORE_ECORRUPT)
            LOG_ERROR(background->health->log, "STORE-CORRUPT", "%s is damaged",
                      background->state->env->path);
        range->node.weight = background->range_tag;
        completions_post(background->completions, &range->node);
    }
}

/* The writer at the end of a segment, and those who read the state, do not wait until a large one has been copied. */
static void copy_pause(void *ctx)
{
    struct background *background = ctx;
    pthread_mutex_lock(&background->lock);
    bool next_wanted = background->next_wanted && !background->next;
    struct queue_node *ranges = background->ranges;
    background->ranges = NULL;
    pthread_mutex_unlock(&background->lock);
    if (next_wanted)
        make_next(background);
    run_ranges(background, ranges);
}

static int copy_state(struct background *background)
{
    const struct state_pause pause = {copy_pause, background};
    int rc = atomic_load(&background->health->read_only) ? EROFS : state_copy(background->state, &pause);
    if (rc == 0 || rc == EROFS)
        return rc == 0 ? 0 : STORE_EREADONLY;
    if (env_code(rc) == STORE_EIO)
        health_fail(background->health, "copy", background->state->env->path, rc);
    else
        LOG_WARN(background->health->log, "STORE-FULL", "cannot keep a copy of the state: %s", env_text(rc));
    return env_code(rc);
}

/* False: it has to be tried again. */
static bool seal(struct background *background, struct segment *segment)
{
    struct health *health = background->health;
    if (atomic_load(&health->read_only))
        return true; /* the next start seals it */
    save_index(background, segment, true);
    int rc = write_row(background->meta, segment, SEGMENT_SEALED);
    if (env_code(rc) == STORE_EFULL || env_code(rc) == STORE_ENOMEM)
        return false;
    if (rc != 0) {
        health_fail(health, "seal a segment in", background->meta->env->path, rc);
        return true;
    }
    /* Only now: a start that did not find the seal would go on writing into the allocated space. */
    if (ftruncate(segment->env->fd, (off_t)env_used_bytes(segment->env)) < 0)
        LOG_WARN(health->log, "STORE-SEAL", "cannot cut %s: %s", segment->env->path, strerror(errno));
    LOG_DEBUG(health->log, "STORE-SEAL", "segment %" PRIu64 ": entries %" PRIu64 "..%" PRIu64,
              segment->number, segment->first_index, segment->last_index);
    segments_seal(background->segments, segment);
    (void)copy_state(background);
    return true;
}

static void seal_or_keep(struct background *background, struct segment *segment)
{
    if (seal(background, segment))
        return;
    pthread_mutex_lock(&background->lock);
    segment->seal_next = background->seal_first;
    background->seal_first = segment;
    if (!background->seal_last)
        background->seal_last = segment;
    pthread_mutex_unlock(&background->lock);
}

/* ---- the thread ---- */

struct jobs {
    bool make_next, copy;
    struct segment *seal;
    struct store_flush *flush;
    struct queue_node *ranges;
    bool stop;
};

static bool has_jobs_locked(const struct background *background)
{
    return background->next_wanted || background->flush || background->ranges || background->seal_first ||
           background->copy_wanted;
}

static struct timespec timespec_of(int64_t us)
{
    return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

/* Waits for a job, at most until the cleaner wants to go on. Takes one of each kind; a seal that waits for space is tried
 * again with whatever comes next. */
static struct jobs wait_jobs(struct background *background, bool seal_failed, int64_t until_us)
{
    struct timespec until = timespec_of(until_us);
    int rc = 0;
    pthread_mutex_lock(&background->lock);
    while (!background->stopping && !background->next_wanted && !background->flush && !background->ranges &&
           !background->copy_wanted && (seal_failed || !background->seal_first) && !background->trimmed &&
           rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&background->wake, &background->lock, &until);
    background->trimmed = false;
    struct jobs jobs = {.make_next = background->next_wanted && !background->next,
                        .flush = background->flush,
                        .ranges = background->ranges};
    background->ranges = NULL;
    jobs.stop = background->stopping && (!has_jobs_locked(background) || seal_failed);
    jobs.copy = background->copy_wanted;
    if ((jobs.seal = background->seal_first)) {
        background->sealing = true;
        background->seal_first = jobs.seal->seal_next;
        if (!background->seal_first)
            background->seal_last = NULL;
        jobs.seal->seal_next = NULL;
    }
    pthread_mutex_unlock(&background->lock);
    return jobs;
}

static void run_copy(struct background *background)
{
    int status = copy_state(background);
    pthread_mutex_lock(&background->lock);
    background->copy_status = status;
    background->copy_index = background->state->flushed_index;
    background->copy_wanted = false;
    pthread_cond_broadcast(&background->made);
    pthread_mutex_unlock(&background->lock);
}

static void set_clean_mark(struct background *background)
{
    struct health *health = background->health;
    if (atomic_load(&health->read_only))
        return;
    struct meta_change change = {.mark = META_MARK_SET, .last_index = atomic_load(&health->last_index)};
    int rc = meta_commit(background->meta, &change);
    if (rc != 0)
        LOG_WARN(health->log, "STORE-STOP",
                 "cannot note the clean stop: %s; the next start takes a little longer", env_text(rc));
}

static void *run(void *ctx)
{
    struct background *background = ctx;
    bool seal_failed = false;
    int64_t clean_us = 0; /* when the cleaner goes on */
    for (;;) {
        struct jobs jobs = wait_jobs(background, seal_failed, clean_us);
        if (jobs.make_next)
            make_next(background);
        run_ranges(background, jobs.ranges);
        if (jobs.flush) {
            jobs.flush->status = run_flush(background, jobs.flush);
            pthread_mutex_lock(&background->lock);
            background->flush = NULL;
            pthread_mutex_unlock(&background->lock);
            jobs.flush->node.weight = background->flush_tag;
            completions_post(background->completions, &jobs.flush->node);
        }
        if (jobs.seal) {
            seal_or_keep(background, jobs.seal);
            pthread_mutex_lock(&background->lock);
            seal_failed = background->seal_first == jobs.seal;
            background->sealing = false;
            background->seal_stuck = seal_failed;
            pthread_cond_broadcast(&background->made);
            pthread_mutex_unlock(&background->lock);
        }
        if (jobs.copy)
            run_copy(background);
        if (jobs.stop)
            break;
        clean_us = cleaner_step(&background->cleaner, clock_monotonic_us());
    }
    cleaner_stop(&background->cleaner);
    save_index(background, segments_at(background->segments, segments_count(background->segments) - 1), true);
    set_clean_mark(background);
    return NULL;
}

/* ---- from other threads ---- */

int background_init(struct background *background)
{
    if (pthread_mutex_init(&background->lock, NULL) != 0)
        return STORE_ENOMEM;
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* that of clock_monotonic_us() */
    int rc = pthread_cond_init(&background->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (rc != 0)
        goto destroy_lock;
    if (pthread_cond_init(&background->made, NULL) != 0)
        goto destroy_wake;
    return 0;

destroy_wake:
    pthread_cond_destroy(&background->wake);
destroy_lock:
    pthread_mutex_destroy(&background->lock);
    return STORE_ENOMEM;
}

int background_start(struct background *background)
{
    if (thread_start(&background->thread, "crier-store-bg", run, background) != 0)
        return STORE_ENOMEM;
    background->running = true;
    return 0;
}

void background_stop(struct background *background)
{
    if (!background->running)
        return;
    pthread_mutex_lock(&background->lock);
    background->stopping = true;
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
    pthread_join(background->thread, NULL);
    background->running = false;
}

void background_finish(struct background *background)
{
    CHECK(!background->running);
    segment_destroy(background->next);
    pthread_cond_destroy(&background->made);
    pthread_cond_destroy(&background->wake);
    pthread_mutex_destroy(&background->lock);
}

static void want_next_locked(struct background *background)
{
    if (background->next || background->next_wanted)
        return;
    background->next_wanted = true;
    pthread_cond_signal(&background->wake);
}

void background_want_next(struct background *background)
{
    pthread_mutex_lock(&background->lock);
    want_next_locked(background);
    pthread_mutex_unlock(&background->lock);
}

int background_take_next(struct background *background, struct segment **ret_segment)
{
    pthread_mutex_lock(&background->lock);
    want_next_locked(background);
    while (background->next_wanted)
        pthread_cond_wait(&background->made, &background->lock);
    int rc = background->next ? 0 : background->next_status;
    *ret_segment = background->next;
    background->next = NULL;
    pthread_mutex_unlock(&background->lock);
    return rc;
}

void background_seal(struct background *background, struct segment *segment)
{
    pthread_mutex_lock(&background->lock);
    segment->seal_next = NULL;
    if (background->seal_last)
        background->seal_last->seal_next = segment;
    else
        background->seal_first = segment;
    background->seal_last = segment;
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
}

void background_trimmed(struct background *background)
{
    pthread_mutex_lock(&background->lock);
    background->trimmed = true;
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
}

int background_await_seals(struct background *background)
{
    int rc = 0;
    pthread_mutex_lock(&background->lock);
    while ((background->sealing || background->seal_first) && !background->seal_stuck)
        pthread_cond_wait(&background->made, &background->lock);
    if (background->seal_first)
        rc = STORE_EFULL;
    pthread_mutex_unlock(&background->lock);
    return atomic_load(&background->health->read_only) ? STORE_EREADONLY : rc;
}

int background_copy_state(struct background *background, uint64_t *ret_index)
{
    pthread_mutex_lock(&background->lock);
    background->copy_wanted = true;
    pthread_cond_signal(&background->wake);
    while (background->copy_wanted)
        pthread_cond_wait(&background->made, &background->lock);
    int rc = background->copy_status;
    *ret_index = background->copy_index;
    pthread_mutex_unlock(&background->lock);
    return rc;
}

int background_flush(struct background *background, struct store_flush *flush)
{
    int rc = STORE_EAGAIN;
    pthread_mutex_lock(&background->lock);
    if (!background->flush && !background->stopping) {
        background->flush = flush;
        pthread_cond_signal(&background->wake);
        rc = 0;
    }
    pthread_mutex_unlock(&background->lock);
    return rc;
}

int background_range(struct background *background, struct store_range *range)
{
    int rc = STORE_EAGAIN;
    pthread_mutex_lock(&background->lock);
    if (!background->stopping) {
        range->node.next = background->ranges;
        background->ranges = &range->node;
        pthread_cond_signal(&background->wake);
        rc = 0;
    }
    pthread_mutex_unlock(&background->lock);
    return rc;
}
