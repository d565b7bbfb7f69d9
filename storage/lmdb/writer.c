/* writer.c: the thread that makes entries durable; see writer.h.
 *
 * Role:    takes whatever is queued, writes it as one LMDB transaction, commits, posts the completions. While a commit
 *          syncs, the next entries gather: group commit without a timer.
 * Thread:  its own. It waits for the disk, and at a roll for the background thread; nobody waits for it.
 *
 * Happy path:  queue_take → group_choose (what fits the segment) → group_write → mdb_txn_commit → group_finish
 * Roll:        before a transaction whose worst case does not fit; if LMDB reports a full map all the same, the
 *              transaction is undone and written to the next segment.
 * Failures:    disk full, before anything is written: the first entry is STORE_EFULL, and so are, as STORE_EREFUSED, the
 *              rest of its epoch; the next epoch tries again. Anything that goes wrong in a commit but for a full disk:
 *              STORE_EIO for the transaction's entries, whose outcome is unknown, and the shard is read-only. A commit
 *              is never repeated. */
#include "storage/lmdb/writer.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/thread.h"
#include "storage/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>

/* Pages one transaction takes beyond its values: the copied path and the splits of two trees (entries, free pages),
 * each at most 6 deep, and the free list's own. */
#define TXN_PAGES_EXTRA 24

/* One transaction: the first `count` appends of a list. */
struct group {
    struct store_append *first;
    unsigned count;
    uint64_t pages; /* at most */
};

static struct store_append *next_of(const struct store_append *append)
{
    return (struct store_append *)append->node.next; /* the node is its first field */
}

/* ---- answering ---- */

static void finish(struct writer *writer, struct store_append *append, int status)
{
    append->status = status;
    append->node.weight = writer->tag;
    completions_post(writer->completions, &append->node);
}

static void refuse(struct writer *writer, struct store_append *append, int status)
{
    atomic_fetch_add(&writer->health->refused, 1);
    finish(writer, append, status);
}

/* No room for this one: its epoch ends here. */
static void refuse_full(struct writer *writer, struct store_append *append, const char *why)
{
    if (!atomic_exchange(&writer->health->full, true))
        LOG_WARN(writer->health->log, "STORE-FULL", "emits are refused: %s", why);
    writer->refused_any = true;
    writer->refused_epoch = append->epoch;
    refuse(writer, append, STORE_EFULL);
}

static bool epoch_refused(const struct writer *writer, const struct store_append *append)
{
    return writer->refused_any && append->epoch <= writer->refused_epoch;
}

/* ---- counting pages ---- */

static uint64_t value_pages(const struct env *env, size_t size)
{
    if (size > env->inline_max)
        return (size + 15) / env->page_size + 1; /* 16 bytes of header on the first page */
    return 0;
}

/* What adding an entry costs at most: its own pages, its place in a leaf (one in two bytes of a leaf may stay unused) and
 * that leaf's place in a branch. Counted in 256ths of a page, so that many small ones add up to what they take. */
static uint64_t entry_cost(const struct env *env, size_t size)
{
    uint64_t pages = value_pages(env, size);
    size_t in_leaf = pages ? 32 : size + 32;
    return pages * 256 + (in_leaf * 2 * 256) / env->page_size + 4;
}

static uint64_t pages_left(const struct writer *writer)
{
    uint64_t used = env_last_page(writer->env) + 1 + TXN_PAGES_EXTRA;
    return used < writer->env->pages_max ? writer->env->pages_max - used : 0;
}

/* A request to roll, in the queue among the appends: no entry has this type. */
#define APPEND_ROLL 0

/* The longest beginning of the list that fits into the segment; count 0: not even the first. */
static struct group group_choose(const struct writer *writer, struct store_append *list)
{
    struct group group = {.first = list};
    uint64_t left = pages_left(writer) * 256, cost = 0;
    for (struct store_append *append = list; append; append = next_of(append)) {
        uint64_t more = entry_cost(writer->env, append->node.weight);
        if (append->type == APPEND_ROLL || epoch_refused(writer, append) || cost + more > left)
            break;
        cost += more;
        group.count++;
    }
    group.pages = cost / 256 + 1 + TXN_PAGES_EXTRA;
    return group;
}

/* ---- one transaction ---- */

static int put_entry(MDB_txn *txn, MDB_dbi table, const struct store_append *append, uint64_t index)
{
    uint8_t key_bytes[8];
    be64_put(key_bytes, index);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value = {append->node.weight, NULL};
    int rc = mdb_put(txn, table, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc != 0)
        return rc;
    struct entry_header header = {
        .type = append->type, .index = index, .term = append->term, .append_time_us = append->append_time_us};
    entry_encode(value.mv_data, &header, append->parts, append->part_count);
    return 0;
}

static int put_entries(struct writer *writer, MDB_txn *txn, const struct group *group)
{
    const struct store_append *append = group->first;
    int rc = 0;
    for (unsigned i = 0; i < group->count && rc == 0; i++, append = next_of(append))
        rc = put_entry(txn, writer->env->table, append, writer->next_index + i);
    return rc;
}

static int reserve_index(struct writer *writer, const struct group *group)
{
    const struct store_append *append = group->first;
    for (unsigned i = 0; i < group->count; i++, append = next_of(append)) {
        int rc = index_reserve(writer->index, append->parts, append->part_count);
        if (rc == 0)
            continue;
        append = group->first;
        for (unsigned done = 0; done < i; done++, append = next_of(append))
            index_cancel(writer->index, append->parts, append->part_count);
        return rc;
    }
    return 0;
}

static void cancel_index(struct writer *writer, const struct group *group)
{
    const struct store_append *append = group->first;
    for (unsigned i = 0; i < group->count; i++, append = next_of(append))
        index_cancel(writer->index, append->parts, append->part_count);
}

enum outcome {
    OUTCOME_DURABLE,
    OUTCOME_NOT_WRITTEN, /* *ret_rc says why; the segment is as before */
    OUTCOME_UNKNOWN,     /* a commit failed */
};

/* A commit that met a full disk was undone by LMDB, unless it failed in its very last step: LMDB then refuses to go on. */
static enum outcome commit_failed(struct writer *writer, int rc)
{
    return env_code(rc) == STORE_EFULL && env_writable(writer->env) ? OUTCOME_NOT_WRITTEN : OUTCOME_UNKNOWN;
}

static enum outcome group_write(struct writer *writer, const struct group *group, int *ret_rc)
{
    uint64_t end = (env_last_page(writer->env) + 1 + group->pages) * writer->env->page_size;
    if ((*ret_rc = env_reserve(writer->env, end)) != 0)
        return OUTCOME_NOT_WRITTEN;
    if (reserve_index(writer, group) < 0) {
        *ret_rc = ENOMEM;
        return OUTCOME_NOT_WRITTEN;
    }
    MDB_txn *txn = NULL;
    enum outcome outcome = OUTCOME_NOT_WRITTEN;
    if ((*ret_rc = mdb_txn_begin(writer->env->mdb, NULL, 0, &txn)) == 0) {
        if ((*ret_rc = put_entries(writer, txn, group)) != 0)
            mdb_txn_abort(txn);
        else if ((*ret_rc = mdb_txn_commit(txn)) != 0)
            outcome = commit_failed(writer, *ret_rc);
        else
            outcome = OUTCOME_DURABLE;
    }
    if (outcome != OUTCOME_DURABLE)
        cancel_index(writer, group);
    return outcome;
}

/* The first `count` of the list leave it with this status. Returns the rest. */
static struct store_append *finish_group(struct writer *writer, const struct group *group, int status)
{
    struct store_append *append = group->first;
    for (unsigned i = 0; i < group->count; i++) {
        struct store_append *next = next_of(append); /* posted, it is the owner's again */
        finish(writer, append, status);
        append = next;
    }
    return append;
}

static void note_times(struct health *health, int64_t commit_us)
{
    atomic_store(&health->commit_us_last, commit_us);
    if (commit_us > atomic_load(&health->commit_us_max))
        atomic_store(&health->commit_us_max, commit_us);
}

/* Readers find the entries before anybody hears that they are durable. */
static void publish_group(struct writer *writer, const struct group *group)
{
    struct store_append *append = group->first;
    uint64_t first_index = writer->next_index, bytes = 0;
    int64_t last_time_us = 0;
    for (unsigned i = 0; i < group->count; i++, append = next_of(append)) {
        append->index = writer->next_index++;
        index_add(writer->index, append->parts, append->part_count, append->index, append->node.weight);
        bytes += append->node.weight;
        last_time_us = append->append_time_us;
    }
    segments_extend(writer->segments, writer->segment, first_index, writer->next_index - 1,
                    group->first->append_time_us, last_time_us);
    struct health *health = writer->health;
    atomic_store(&health->last_index, writer->next_index - 1);
    atomic_fetch_add(&health->commits, 1);
    atomic_fetch_add(&health->entries, group->count);
    atomic_fetch_add(&health->bytes, bytes);
    atomic_store(&health->full, false);
}

/* ---- rolling ---- */

/* Takes the next segment. 0 or STORE_EFULL, STORE_ENOMEM, STORE_EIO. */
static int roll(struct writer *writer)
{
    struct segment *next = NULL;
    struct index *index = index_create_after(writer->index);
    if (!index || segments_reserve(writer->segments) < 0) {
        index_unref(index);
        return STORE_ENOMEM;
    }
    int rc = background_take_next(writer->background, &next);
    if (rc < 0) {
        index_unref(index);
        return rc;
    }
    index_set_covers(index, writer->next_index - 1);
    next->index = index;
    struct segment *full = writer->segment;
    env_unref(writer->env);
    index_unref(writer->index);
    writer->segment = next;
    writer->env = env_ref(next->env);
    writer->index = index_ref(index);
    writer->next_asked = false;
    writer->roll_wanted = false;
    segments_push(writer->segments, next);
    background_seal(writer->background, full);
    return 0;
}

static void ask_for_next(struct writer *writer)
{
    if (writer->next_asked || env_last_page(writer->env) < writer->env->pages_max / 2)
        return;
    writer->next_asked = true;
    background_want_next(writer->background);
}

/* ---- the loop ---- */

static bool segment_is_empty(const struct writer *writer)
{
    return writer->segment->last_index == 0;
}

/* The list's first entry found no room. Returns what is left to do of the list. */
static struct store_append *make_room(struct writer *writer, struct store_append *list)
{
    struct store_append *next = next_of(list);
    if (segment_is_empty(writer)) {
        writer->roll_wanted = false;
        refuse_full(writer, list, "an entry larger than a whole segment");
        return next;
    }
    switch (roll(writer)) {
    case 0:
        return list;
    case STORE_EFULL:
        refuse_full(writer, list, "no space for the next segment");
        return next;
    case STORE_ENOMEM:
        refuse_full(writer, list, "no memory or descriptor for the next segment");
        return next;
    default:
        refuse(writer, list, STORE_EREADONLY); /* background.c has said why */
        return next;
    }
}

/* A transaction that was not written: full map, disk or memory. Returns what is left to do of the list. */
static struct store_append *not_written(struct writer *writer, const struct group *group, int rc)
{
    if (rc == MDB_MAP_FULL) {
        writer->roll_wanted = true;
        return group->first;
    }
    int code = env_code(rc);
    if (code == STORE_EFULL || code == STORE_ENOMEM) {
        struct store_append *next = next_of(group->first);
        refuse_full(writer, group->first, env_text(rc));
        return next;
    }
    health_fail(writer->health, "write", writer->env->path, rc);
    return finish_group(writer, group, STORE_EREADONLY);
}

static struct store_append *write_some(struct writer *writer, struct store_append *list)
{
    struct group group = group_choose(writer, list);
    if (group.count == 0 || writer->roll_wanted)
        return make_room(writer, list);
    int rc;
    int64_t began_us = clock_monotonic_us();
    switch (group_write(writer, &group, &rc)) {
    case OUTCOME_DURABLE:
        note_times(writer->health, clock_monotonic_us() - began_us);
        publish_group(writer, &group);
        list = finish_group(writer, &group, STORE_OK);
        ask_for_next(writer);
        return list;
    case OUTCOME_NOT_WRITTEN:
        return not_written(writer, &group, rc);
    case OUTCOME_UNKNOWN:
        break;
    }
    health_fail(writer->health, "commit to", writer->env->path, rc);
    return finish_group(writer, &group, STORE_EIO);
}

/* Whoever asked waits for it, and the request is gone once it knows. */
static void roll_asked(struct writer *writer, struct store_append *request)
{
    request->status = atomic_load(&writer->health->read_only) ? STORE_EREADONLY
                      : segment_is_empty(writer)              ? 0
                                                              : roll(writer);
    sem_post(request->ctx);
}

static void run_list(struct writer *writer, struct store_append *list)
{
    while (list) {
        struct store_append *next = next_of(list);
        if (list->type == APPEND_ROLL) {
            roll_asked(writer, list);
            list = next;
        } else if (atomic_load(&writer->health->read_only)) {
            refuse(writer, list, STORE_EREADONLY);
            list = next;
        } else if (epoch_refused(writer, list)) {
            refuse(writer, list, STORE_EREFUSED);
            list = next;
        } else {
            list = write_some(writer, list);
        }
    }
}

static void *run(void *ctx)
{
    struct writer *writer = ctx;
    struct queue_node *list;
    while ((list = queue_take(writer->queue, writer->commit_bytes_max, -1, NULL)))
        run_list(writer, (struct store_append *)list);
    return NULL;
}

int writer_init(struct writer *writer, unsigned queue_max)
{
    writer->queue = queue_create(queue_max);
    return writer->queue ? 0 : STORE_ENOMEM;
}

int writer_start(struct writer *writer)
{
    writer->env = env_ref(writer->segment->env);
    writer->index = index_ref(writer->segment->index);
    if (thread_start(&writer->thread, "crier-writer", run, writer) != 0)
        return STORE_ENOMEM;
    writer->running = true;
    return 0;
}

int writer_append(struct writer *writer, struct store_append *append)
{
    append->node.weight = entry_size(append->parts, append->part_count);
    CHECK(append->node.weight <= ENTRY_SIZE_MAX);
    return queue_push(writer->queue, &append->node) == 0 ? 0 : STORE_EAGAIN;
}

int writer_roll(struct writer *writer)
{
    sem_t done;
    struct store_append request = {.type = APPEND_ROLL, .ctx = &done};
    if (sem_init(&done, 0, 0) < 0)
        return STORE_ENOMEM;
    int rc = queue_push(writer->queue, &request.node) == 0 ? 0 : STORE_EAGAIN;
    if (rc == 0) {
        while (sem_wait(&done) < 0)
            ;
        rc = request.status;
    }
    sem_destroy(&done);
    return rc;
}

void writer_stop(struct writer *writer)
{
    if (!writer->running)
        return;
    queue_close(writer->queue);
    pthread_join(writer->thread, NULL);
    writer->running = false;
}

void writer_finish(struct writer *writer)
{
    env_unref(writer->env);
    index_unref(writer->index);
    queue_destroy(writer->queue);
    writer->env = NULL;
    writer->index = NULL;
    writer->queue = NULL;
}
