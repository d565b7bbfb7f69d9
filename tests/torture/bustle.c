/* bustle.c: see bustle.h.
 *
 *   the bus's thread    handlers and completions: they count, emit the next event, look at offsets and owners
 *   mover               what has stopped begins again: emits after refusals, replays, the member that comes and goes
 *   questioner          asks the broker where positions and the log's start are; its calls wait while the broker is away
 *   looker              how many segments there are */
#include "tests/torture/bustle.h"

#include "base/clock.h"
#include "tests/torture/producers.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define IN_FLIGHT     16
#define VALUE_SIZE    65536
#define REPLAY_EVENTS 5000
#define KEEP_BYTES    (UINT64_C(1) << 20)
#define LOOK_MS       2
#define COMMITS       "bustle-commits"
#define CROWD         "bustle-crowd"

const char *const bustle_names[BUSTLE_OPS] = {"append",    "read tail",    "replay",         "commit offset",
                                              "retention", "segment roll", "group rebalance"};

static void count(struct bustle *bustle, enum bustle_op op)
{
    atomic_fetch_add(&bustle->counts[op], 1);
}

/* ---- emits ---- */

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx);

static void emit(struct bustle *bustle)
{
    static const uint8_t value[VALUE_SIZE];
    struct crier_emit_options options = crier_emit_options_default();
    options.done = on_emitted;
    options.ctx = bustle;
    atomic_fetch_add(&bustle->in_flight, 1);
    if (crier_emit_with(bustle->bus, BUSTLE_TOPIC, value, sizeof(value), &options) < 0)
        atomic_fetch_sub(&bustle->in_flight, 1);
}

/* One that was refused is not followed by the next one here: the mover does that, in a while. */
static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct bustle *bustle = ctx;
    (void)bus;
    (void)offset;
    atomic_fetch_sub(&bustle->in_flight, 1);
    if (code < 0 || atomic_load(&bustle->stop))
        return;
    count(bustle, BUSTLE_APPEND);
    emit(bustle);
}

/* ---- listeners ---- */

static void see(struct bustle *bustle, struct bustle_watch *watch, const crier_event *event)
{
    pthread_mutex_lock(&bustle->mutex);
    uint64_t *next = &watch->next[event->partition % BUSTLE_PARTITIONS];
    bustle->disorder += event->offset < *next;
    *next = event->offset + 1;
    pthread_mutex_unlock(&bustle->mutex);
}

static int on_tail(crier *bus, const crier_event *event, void *ctx)
{
    struct bustle *bustle = ctx;
    (void)bus;
    see(bustle, &bustle->tail, event);
    count(bustle, BUSTLE_TAIL);
    return 0;
}

static int on_replay(crier *bus, const crier_event *event, void *ctx)
{
    struct bustle *bustle = ctx;
    (void)bus;
    see(bustle, &bustle->replay, event);
    count(bustle, BUSTLE_REPLAY);
    return 0;
}

static int on_grouped(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    (void)ctx;
    return 0;
}

/* A failing disk ends listeners that read or join just then: they begin again when it is well. With the mutex. */
static void note_end(struct bustle *bustle, bool *listens, int code)
{
    *listens = false;
    if (code < 0 && code != CRIER_ECLOSED && code != CRIER_EIO)
        bustle->failure = code;
}

static void on_tail_released(void *ctx, int code, const char *text)
{
    struct bustle *bustle = ctx;
    (void)text;
    pthread_mutex_lock(&bustle->mutex);
    note_end(bustle, &bustle->tailing, code);
    pthread_mutex_unlock(&bustle->mutex);
}

static void on_commits_released(void *ctx, int code, const char *text)
{
    struct bustle *bustle = ctx;
    (void)text;
    pthread_mutex_lock(&bustle->mutex);
    note_end(bustle, &bustle->committing, code);
    pthread_mutex_unlock(&bustle->mutex);
}

static void on_replay_released(void *ctx, int code, const char *text)
{
    struct bustle *bustle = ctx;
    (void)text;
    pthread_mutex_lock(&bustle->mutex);
    note_end(bustle, &bustle->replaying, code);
    pthread_mutex_unlock(&bustle->mutex);
}

/* Begins to listen, unless it does. */
static int listen_again(struct bustle *bustle, bool *listens, const char *topic,
                        const struct crier_listen_options *options, crier_handler *handler)
{
    pthread_mutex_lock(&bustle->mutex);
    bool begin = !*listens;
    *listens = true;
    if (begin && listens == &bustle->replaying)
        bustle->replay = (struct bustle_watch){0};
    pthread_mutex_unlock(&bustle->mutex);
    int rc = begin ? crier_listen(bustle->bus, topic, options, handler, bustle, NULL) : 0;
    if (rc < 0)
        options->released(bustle, rc, NULL);
    return rc;
}

static int listeners_begin(struct bustle *bustle)
{
    struct crier_listen_options tail = crier_listen_options_default(), commits = tail, replay = tail;
    tail.released = on_tail_released;
    commits.group = COMMITS;
    commits.released = on_commits_released;
    replay.from = CRIER_EARLIEST;
    replay.count = REPLAY_EVENTS;
    replay.released = on_replay_released;
    int rc = listen_again(bustle, &bustle->tailing, BUSTLE_TOPIC, &tail, on_tail);
    if (rc == 0)
        rc = listen_again(bustle, &bustle->committing, BUSTLE_TOPIC, &commits, on_grouped);
    if (rc == 0)
        rc = listen_again(bustle, &bustle->replaying, PRODUCERS_TOPIC, &replay, on_replay);
    return rc;
}

/* ---- members that come and go ---- */

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    struct bustle_member *member = ctx;
    struct bustle *bustle = member->bustle;
    pthread_mutex_lock(&bustle->mutex);
    uint32_t *owner = &bustle->owner[partition % BUSTLE_PARTITIONS];
    if (given) {
        bustle->doubled += *owner != BUSTLE_MEMBERS;
        *owner = member->number;
        count(bustle, BUSTLE_REBALANCE);
    } else if (*owner == member->number) {
        *owner = BUSTLE_MEMBERS;
    }
    pthread_mutex_unlock(&bustle->mutex);
}

static void on_member_released(void *ctx, int code, const char *text)
{
    struct bustle_member *member = ctx;
    (void)text;
    pthread_mutex_lock(&member->bustle->mutex);
    note_end(member->bustle, &member->listens, code);
    pthread_mutex_unlock(&member->bustle->mutex);
}

static int member_join(struct bustle_member *member)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = CROWD;
    options.assigned = on_assigned;
    options.released = on_member_released;
    pthread_mutex_lock(&member->bustle->mutex);
    member->listens = true;
    pthread_mutex_unlock(&member->bustle->mutex);
    return crier_listen(member->bustle->bus, BUSTLE_TOPIC, &options, on_grouped, member, &member->listener);
}

static bool listens(struct bustle_member *member)
{
    pthread_mutex_lock(&member->bustle->mutex);
    bool there = member->listens;
    pthread_mutex_unlock(&member->bustle->mutex);
    return there;
}

/* True: it is there. */
static bool member_stay(struct bustle_member *member)
{
    if (listens(member))
        return true;
    if (member_join(member) < 0)
        on_member_released(member, 0, NULL);
    return false;
}

/* The last member leaves when it has been given something, and comes again when it has left; the others stay. */
static void members_move(struct bustle *bustle, bool *leaving)
{
    struct bustle_member *member = &bustle->members[BUSTLE_MEMBERS - 1];
    for (int i = 0; i < BUSTLE_MEMBERS - 1; i++)
        member_stay(&bustle->members[i]);
    if (!member_stay(member)) {
        *leaving = false;
        return;
    }
    bool owns = false;
    pthread_mutex_lock(&bustle->mutex);
    for (int i = 0; i < BUSTLE_PARTITIONS; i++)
        owns = owns || bustle->owner[i] == member->number;
    pthread_mutex_unlock(&bustle->mutex);
    if (owns && !*leaving) {
        *leaving = true;
        crier_unlisten(member->listener);
    }
}

/* ---- threads ---- */

static void *move(void *ctx)
{
    struct bustle *bustle = ctx;
    bool leaving = false;
    while (!atomic_load(&bustle->stop)) {
        while (atomic_load(&bustle->in_flight) < IN_FLIGHT)
            emit(bustle);
        listeners_begin(bustle);
        members_move(bustle, &leaving);
        poll(NULL, 0, LOOK_MS); /* a pace */
    }
    return NULL;
}

static void compare(struct bustle *bustle, uint64_t *known, uint64_t now, bool *moved)
{
    bustle->backwards += now < *known;
    *moved = *moved || now > *known;
    *known = now;
}

static void on_group(void *ctx, const struct crier_group_info *info)
{
    struct bustle *bustle = ctx;
    bool moved = false;
    pthread_mutex_lock(&bustle->mutex);
    for (uint32_t i = 0; i < info->partition_count && i < BUSTLE_PARTITIONS; i++)
        compare(bustle, &bustle->positions[i], info->partitions[i].position, &moved);
    pthread_mutex_unlock(&bustle->mutex);
    if (moved)
        count(bustle, BUSTLE_COMMIT);
}

static void on_topic(void *ctx, const struct crier_topic_info *info)
{
    struct bustle *bustle = ctx;
    bool moved = false;
    pthread_mutex_lock(&bustle->mutex);
    for (uint32_t i = 0; i < info->partition_count && i < BUSTLE_PARTITIONS; i++)
        compare(bustle, &bustle->starts[i], info->partitions[i].log_start, &moved);
    pthread_mutex_unlock(&bustle->mutex);
    if (moved)
        count(bustle, BUSTLE_RETENTION);
}

static void *question(void *ctx)
{
    struct bustle *bustle = ctx;
    while (!atomic_load(&bustle->stop)) { /* without a broker each call fails, in its time */
        crier_group_describe(bustle->asker, COMMITS, BUSTLE_TOPIC, on_group, bustle);
        crier_topic_describe(bustle->asker, BUSTLE_TOPIC, on_topic, bustle);
        poll(NULL, 0, LOOK_MS);
    }
    return NULL;
}

/* The highest number of a segment; disk-format.md, "files". */
static uint64_t newest_segment(const char *folder)
{
    char path[512];
    uint64_t newest = 0, number;
    snprintf(path, sizeof(path), "%s/shard-0", folder);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (sscanf(entry->d_name, "%10" SCNu64 "-", &number) == 1 && number > newest)
            newest = number;
    if (directory)
        closedir(directory);
    return newest;
}

static void *look(void *ctx)
{
    struct bustle *bustle = ctx;
    uint64_t known = newest_segment(bustle->folder);
    while (!atomic_load(&bustle->stop)) {
        uint64_t now = newest_segment(bustle->folder);
        if (now > known)
            count(bustle, BUSTLE_ROLL);
        known = now;
        poll(NULL, 0, LOOK_MS);
    }
    return NULL;
}

/* ---- the whole ---- */

int bustle_start(struct bustle *bustle, const char *url, const char *folder)
{
    struct crier_topic_options topic = {.struct_size = sizeof(topic), .partitions = BUSTLE_PARTITIONS};
    topic.retention.bytes = KEEP_BYTES;
    *bustle = (struct bustle){.folder = folder, .mutex = PTHREAD_MUTEX_INITIALIZER};
    for (int i = 0; i < BUSTLE_PARTITIONS; i++)
        bustle->owner[i] = BUSTLE_MEMBERS;
    int rc = crier_open(url, NULL, &bustle->bus);
    if (rc == 0)
        rc = crier_open(url, NULL, &bustle->asker);
    if (rc == 0)
        rc = crier_topic_create(bustle->bus, BUSTLE_TOPIC, &topic);
    if (rc == 0)
        rc = listeners_begin(bustle);
    for (uint32_t i = 0; rc == 0 && i < BUSTLE_MEMBERS; i++) {
        bustle->members[i] = (struct bustle_member){.bustle = bustle, .number = i};
        rc = member_join(&bustle->members[i]);
    }
    if (rc < 0)
        return rc;
    if (pthread_create(&bustle->mover, NULL, move, bustle) != 0 ||
        pthread_create(&bustle->questioner, NULL, question, bustle) != 0 ||
        pthread_create(&bustle->looker, NULL, look, bustle) != 0)
        return CRIER_ENOMEM; /* the process ends with it */
    return 0;
}

bool bustle_await(struct bustle *bustle, enum bustle_op op, int timeout_ms)
{
    int64_t until_us = clock_monotonic_us() + timeout_ms * INT64_C(1000);
    uint64_t before = atomic_load(&bustle->counts[op]);
    while (atomic_load(&bustle->counts[op]) == before) {
        if (clock_monotonic_us() > until_us)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}

uint64_t bustle_stop(struct bustle *bustle)
{
    atomic_store(&bustle->stop, true);
    pthread_join(bustle->mover, NULL);
    pthread_join(bustle->questioner, NULL);
    pthread_join(bustle->looker, NULL);
    crier_close(bustle->asker);
    crier_close(bustle->bus);
    pthread_mutex_destroy(&bustle->mutex);
    if (bustle->failure)
        fprintf(stderr, "a listener ended: %s\n", crier_strerror(bustle->failure));
    printf("beside them: %" PRIu64 " out of order, %" PRIu64 " positions or starts that went back, %" PRIu64
           " partitions with two owners\n",
           bustle->disorder, bustle->backwards, bustle->doubled);
    return bustle->disorder + bustle->backwards + bustle->doubled + (bustle->failure != 0);
}
