/* engine_position.c: the durable positions of groups: COMMIT and COMMITTED.
 *
 * Role:     tells the broker, every commit_interval_ms and when a listener ends, up to where its handlers succeeded.
 * Thread:   the I/O thread.
 *
 * Happy path:  an event was handled -> position_moved -> commit_due -> COMMIT (one at a time per listener) -> COMMITTED
 * Failures:    a refusal that may pass is tried again with the next interval. Fenced: others have the partitions, and
 *              will handle again what was to be committed; nobody is told. The connection goes: LISTENING brings the
 *              positions up again. */
#include "client/engine_internal.h"

#include "proto/error.h"

#include <stdlib.h>

static bool position_is_new(const struct listen_partition *partition)
{
    uint64_t position = partition_position(partition);

    return position > partition->committed && position > partition->commit_sent;
}

static bool position_is_leaving(const struct listen_partition *partition)
{
    return partition->leaving && position_is_new(partition);
}

static size_t positions_count(const struct crier_listener *listener,
                              bool (*chosen)(const struct listen_partition *partition))
{
    size_t count = 0;

    for (size_t i = 0; i < listener->partition_count; i++)
        count += chosen(listener->partitions[i]);
    return count;
}

void position_moved(struct engine *engine, const struct crier_listener *listener)
{
    if (listener_commits(listener) && engine->commit_due == ENGINE_NEVER &&
        positions_count(listener, position_is_new) > 0)
        engine->commit_due = engine->now + engine->config.options.commit_interval_ms * INT64_C(1000);
}

/* COMMIT of the chosen positions. Returns its request; 0: nothing was sent. */
static uint64_t commit_send(struct engine *engine, const struct crier_listener *listener,
                            bool (*chosen)(const struct listen_partition *partition))
{
    Wire__Commit commit = WIRE__COMMIT__INIT;
    bool member = listener_commits(listener) && listener->state == LISTENER_LIVE;
    size_t count = member ? positions_count(listener, chosen) : 0, at = 0;
    Wire__Position *positions;
    Wire__Position **pointers;

    if (count == 0)
        return 0;
    positions = calloc(count, sizeof(*positions));
    pointers = calloc(count, sizeof(Wire__Position *));
    if (positions && pointers) {
        for (size_t i = 0; i < listener->partition_count; i++) {
            struct listen_partition *partition = listener->partitions[i];
            if (!chosen(partition))
                continue;
            wire__position__init(&positions[at]);
            positions[at].partition = partition->id;
            positions[at].offset = partition->commit_sent = partition_position(partition);
            pointers[at] = &positions[at];
            at++;
        }
        commit.request = ++engine->commit_request;
        commit.listener = listener->id;
        commit.generation = listener->generation;
        commit.n_positions = count;
        commit.positions = pointers;
        engine->commits_unanswered++;
        engine_send(engine, FRAME_COMMIT, &commit.base);
    } else {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for a COMMIT frame");
    }
    free(positions);
    free(pointers);
    return commit.request;
}

void position_send(struct engine *engine, struct crier_listener *listener)
{
    uint64_t request = commit_send(engine, listener, position_is_new);

    if (request)
        listener->commit_request = request;
}

void position_send_leaving(struct engine *engine, const struct crier_listener *listener)
{
    commit_send(engine, listener, position_is_leaving);
}

void position_tick(struct engine *engine)
{
    bool again = false;

    if (engine->now < engine->commit_due)
        return;
    engine->commit_due = ENGINE_NEVER;
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        if (listener->commit_request)
            again |= positions_count(listener, position_is_new) > 0;
        else
            position_send(engine, listener);
    }
    if (again)
        engine->commit_due = engine->now + engine->config.options.commit_interval_ms * INT64_C(1000);
}

static struct crier_listener *committer_find(const struct engine *engine, uint64_t request)
{
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next)
        if (LIST_ENTRY(link, struct crier_listener, link)->commit_request == request)
            return LIST_ENTRY(link, struct crier_listener, link);
    return NULL;
}

void listen_committed(struct engine *engine, const Wire__Committed *committed)
{
    struct crier_listener *listener = committer_find(engine, committed->request);

    if (committed->request == 0 || committed->request > engine->commit_request ||
        engine->commits_unanswered == 0) {
        engine_fail(engine, CRIER_EPROTO, "COMMITTED without a COMMIT");
        return;
    }
    engine->commits_unanswered--;
    if (committed->code < 0 && !error_retriable(committed->code) && committed->code != CRIER_EFENCED)
        engine_error(engine, committed->code, "the positions of group %s were not stored: %s",
                     listener ? listener->group : "(ended)", committed->text);
    if (!listener)
        return; /* it has ended, or committed again since */
    listener->commit_request = 0;
    for (size_t i = 0; i < listener->partition_count; i++) {
        struct listen_partition *partition = listener->partitions[i];
        if ((committed->code == 0 || committed->code == CRIER_EFENCED) &&
            partition->commit_sent > partition->committed)
            partition->committed = partition->commit_sent;
        partition->commit_sent = 0;
    }
    position_moved(engine, listener);
}
