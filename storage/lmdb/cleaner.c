/* cleaner.c: see cleaner.h.
 *
 * Happy path:  trim() raises a log start → a pass looks at segments whose verdict may have changed → DEAD, unlink, row
 *              gone; or sweep_begin → sweep_slice … → sweep_finish
 * Failures:    no space for a manifest row: tried again a second later. A segment that cannot be swept is left alone until
 *              the next start. */
#include "storage/lmdb/cleaner.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/statvfs.h>

void cleaner_disk(struct cleaner *cleaner, int64_t now_us)
{
    struct statvfs stat;
    cleaner->disk_us = now_us + CLEANER_DISK_US;
    if (fstatvfs(cleaner->place.folder->shard_fd, &stat) == 0)
        atomic_store(&cleaner->place.health->disk_free, (uint64_t)stat.f_bavail * stat.f_frsize);
}

/* ---- what a segment is worth ---- */

static int weigh(struct cleaner *cleaner, struct segment *segment)
{
    struct index *index;
    int rc = segments_index(cleaner->place.segments, segment, &index);
    if (rc < 0)
        return rc;
    worth_weigh(&segment->worth, index, cleaner->place.starts);
    index_unref(index);
    atomic_fetch_add(&cleaner->place.health->weighed, 1);
    return 0;
}

/* Nothing of it has died for a while. */
static bool rests(const struct cleaner *cleaner, const struct segment *segment, int64_t now_us)
{
    return now_us - segment->moved_us >= cleaner->settle_us;
}

/* Its worth, as well as it has to be known now: 0, or why it is not. What has come to a rest is weighed once more: so a guess does not
 * last. */
static int know_worth(struct cleaner *cleaner, struct segment *segment, int64_t now_us)
{
    struct worth *worth = &segment->worth;
    bool first = !worth->weighed;
    if (first || worth_watch(worth, cleaner->place.starts))
        segment->moved_us = now_us;
    bool due = first || worth_in_doubt(worth) || (worth_guessed(worth) && rests(cleaner, segment, now_us));
    return due ? weigh(cleaner, segment) : 0;
}

/* ---- what is done about it ---- */

static void retry(struct cleaner *cleaner, int64_t now_us)
{
    cleaner->left = 0;
    cleaner->unseen = cleaner->passed_count;
    cleaner->due_us = now_us + CLEANER_RETRY_US;
}

/* rc: an LMDB code. */
static void manifest_failed(struct cleaner *cleaner, int rc, int64_t now_us)
{
    if (env_code(rc) == STORE_EFULL || env_code(rc) == STORE_ENOMEM)
        LOG_WARN(cleaner->place.health->log, "STORE-FULL", "cannot remove a segment: %s; it is tried again",
                 env_text(rc));
    else
        health_fail(cleaner->place.health, "remove a segment in", cleaner->place.meta->env->path, rc);
    retry(cleaner, now_us);
}

/* Its sweep has come too late. */
static void sweep_drop(struct cleaner *cleaner)
{
    if (cleaner->sweep)
        sweep_abandon(cleaner->sweep);
    cleaner->sweep = NULL;
    cleaner->swept = NULL;
}

static void remove_segment(struct cleaner *cleaner, struct segment *segment, int64_t now_us)
{
    const struct sweep_place *place = &cleaner->place;
    if (segment == cleaner->swept)
        sweep_drop(cleaner);
    const struct segment_row row = segment_row(segment, SEGMENT_DEAD);
    int rc = meta_commit(place->meta, &(struct meta_change){.rows = &row, .count = 1});
    if (rc == 0) {
        LOG_DEBUG(place->health->log, "STORE-REMOVE",
                  "segment %" PRIu64 " (entries %" PRIu64 "..%" PRIu64 ") is given back", segment->number,
                  segment->first_index, segment->last_index);
        segments_remove(place->segments, segment);
        atomic_fetch_add(&place->health->removed, 1);
        rc = segment_erase(place, row.number, row.generation);
    }
    if (rc != 0)
        manifest_failed(cleaner, rc, now_us);
}

/* Less than half of it is wanted: has that stood still? */
static bool settled(const struct cleaner *cleaner, struct segment *segment, int64_t now_us)
{
    if (segment->half_us == 0)
        segment->half_us = now_us;
    return rests(cleaner, segment, now_us) ||
           now_us - segment->half_us >= cleaner->settle_us * CLEANER_HALF_FACTOR;
}

static void begin_sweep(struct cleaner *cleaner, struct segment *segment, int64_t now_us)
{
    int rc = sweep_begin(&cleaner->place, segment, &cleaner->sweep);
    if (rc == 0) {
        cleaner->swept = segment;
        cleaner->slice_us = now_us;
    } else if (rc == STORE_EFULL || rc == STORE_ENOMEM) {
        segment->judged = 0;
        retry(cleaner, now_us);
    } else {
        segment->keep = true;
    }
}

/* Also if no log start moves. */
static void look_again(struct cleaner *cleaner, struct segment *segment)
{
    segment->judged = 0;
    cleaner->again = true;
}

static void sweep_or_wait(struct cleaner *cleaner, struct segment *segment, int64_t now_us)
{
    bool ready = settled(cleaner, segment, now_us);
    if (ready && !cleaner->sweep)
        begin_sweep(cleaner, segment, now_us);
    else if (segment != cleaner->swept)
        look_again(cleaner, segment);
}

static void go_on_sweeping(struct cleaner *cleaner, int64_t now_us)
{
    uint64_t bytes = 0;
    int rc = sweep_slice(cleaner->sweep, &bytes);
    cleaner->slice_us = now_us + (int64_t)(bytes * 1000000 / CLEANER_SWEEP_BYTES_PER_S);
    if (rc > 0)
        return;
    struct sweep *sweep = cleaner->sweep;
    struct segment *segment = cleaner->swept;
    cleaner->sweep = NULL;
    cleaner->swept = NULL;
    if (rc == 0) {
        rc = sweep_finish(sweep);
        if (rc == STORE_EIO)
            health_fail(cleaner->place.health, "sweep a segment in", cleaner->place.folder->shard, EIO);
        return; /* else: what it could not remove the next start removes */
    }
    sweep_abandon(sweep);
    if (rc == STORE_EFULL || rc == STORE_ENOMEM) {
        segment->judged = 0;
        retry(cleaner, now_us);
    } else {
        segment->keep = true;
    }
}

/* ---- passes ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* May it go? A start needs what lies above the oldest copy of the state, and one segment that says where the log ends. */
static bool may_go(struct cleaner *cleaner, const struct segment *segment, size_t position)
{
    struct segments *segments = cleaner->place.segments;
    return segment->sealed && segment->last_index <= cleaner->state->copied_index &&
           position + 1 < segments_count(segments) &&
           segments_range(segments, segments_at(segments, position + 1)).last_index > 0;
}

static void look_at(struct cleaner *cleaner, struct segment *segment, int64_t now_us)
{
    uint64_t version = log_starts_version(cleaner->place.starts);
    const struct worth *worth = &segment->worth;
    if (segment->judged == version)
        return;
    segment->judged = version;
    int rc = know_worth(cleaner, segment, now_us);
    if (rc < 0)
        segment->judged = 0; /* said in the log; readers meet the same */
    else if (worth->live == 0)
        remove_segment(cleaner, segment, now_us);
    else if (worth_guessed(worth))
        look_again(cleaner, segment);
    else if (worth_mostly_dead(worth) && !segment->keep)
        sweep_or_wait(cleaner, segment, now_us);
}

static bool changed(const struct cleaner *cleaner)
{
    return cleaner->again || cleaner->passed_version != log_starts_version(cleaner->place.starts) ||
           cleaner->passed_copy != cleaner->state->copied_index ||
           cleaner->passed_count != segments_count(cleaner->place.segments);
}

#define OLDEST (CLEANER_PASS_SEGMENTS / 2)

static void pass_begin(struct cleaner *cleaner, int64_t now_us)
{
    cleaner->pass_us = now_us;
    size_t count = segments_count(cleaner->place.segments);
    if (changed(cleaner))
        cleaner->unseen = count > OLDEST ? count - OLDEST : 0;
    cleaner->again = false;
    cleaner->passed_version = log_starts_version(cleaner->place.starts);
    cleaner->passed_copy = cleaner->state->copied_index;
    cleaner->passed_count = count;
    cleaner->left = CLEANER_PASS_SEGMENTS;
    cleaner->position = 0;
}

/* One more segment: the oldest ones first, then those whose turn it is. */
static void pass_step(struct cleaner *cleaner, int64_t now_us)
{
    struct segments *segments = cleaner->place.segments;
    size_t count = segments_count(segments);
    if (cleaner->left == OLDEST && cleaner->turn > cleaner->position)
        cleaner->position = cleaner->turn;
    bool oldest = cleaner->left > OLDEST;
    cleaner->left--;
    if (cleaner->position >= count) {
        cleaner->turn = 0;
        cleaner->left = 0;
    } else {
        struct segment *segment = segments_at(segments, cleaner->position);
        if (may_go(cleaner, segment, cleaner->position))
            look_at(cleaner, segment, now_us);
        if (segments_count(segments) == count)
            cleaner->position++; /* else the next one has taken its place */
        if (!oldest) {
            cleaner->turn = cleaner->position;
            cleaner->unseen -= cleaner->unseen > 0;
        }
    }
    if (cleaner->left == 0)
        cleaner->due_us = later(cleaner->due_us,
                                now_us + later(CLEANER_PASS_US, CLEANER_REST * (now_us - cleaner->pass_us)));
}

static bool pass_wanted(const struct cleaner *cleaner)
{
    return cleaner->left > 0 || cleaner->unseen > 0 || changed(cleaner);
}

/* One thing a step: removing goes first, for it gives the most for the least. */
int64_t cleaner_step(struct cleaner *cleaner, int64_t now_us)
{
    if (now_us >= cleaner->disk_us)
        cleaner_disk(cleaner, now_us);
    if (atomic_load(&cleaner->place.health->read_only))
        return cleaner->disk_us;
    if (pass_wanted(cleaner) && now_us >= cleaner->due_us) {
        if (cleaner->left == 0)
            pass_begin(cleaner, now_us);
        pass_step(cleaner, now_us);
    } else if (cleaner->sweep && now_us >= cleaner->slice_us) {
        go_on_sweeping(cleaner, now_us);
    }
    int64_t next_us = remains_step(&cleaner->remains) ? now_us : cleaner->disk_us;
    if (pass_wanted(cleaner))
        next_us = earlier(next_us, cleaner->due_us);
    if (cleaner->sweep)
        next_us = earlier(next_us, cleaner->slice_us);
    return next_us;
}

void cleaner_stop(struct cleaner *cleaner)
{
    sweep_drop(cleaner);
    remains_finish(&cleaner->remains);
}
