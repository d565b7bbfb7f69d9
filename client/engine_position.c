/* engine_position.c: the durable positions of groups: COMMIT and COMMITTED.
 *
 * Role:     tells the broker, every commit_interval_ms and when a listener ends, up to where its handlers succeeded.
 * Thread:   the I/O thread.
 *
 * Happy path:  an event was handled -> position_moved -> commit_due -> COMMIT (one at a time per listener) -> COMMITTED
 * Failures:    a refusal that may pass is tried again with the next interval; fenced: an "error" event, and the broker
 *              ends the listener. The connection goes: LISTENING brings the positions up again. */
#include "client/engine_internal.h"

#include "proto/error.h"

#include <stdlib.h>

static bool position_is_new(const struct listen_partition *partition)
{
    return partition->next > partition->committed && partition->next > partition->commit_sent;
}

static size_t positions_new(const struct crier_listener *listener)
{
    size_t count = 0;

    for (size_t i = 0; i < listener->partition_count; i++)
        count += position_is_new(&listener->partitions[i]);
    return count;
}

void position_moved(struct engine *engine, const struct crier_listener *listener)
{
    if (listener->group && engine->commit_due == ENGINE_NEVER && positions_new(listener) > 0)
        engine->commit_due = engine->now + engine->config.options.commit_interval_ms * INT64_C(1000);
}

void position_send(struct engine *engine, struct crier_listener *listener)
{
    Wire__Commit commit = WIRE__COMMIT__INIT;
    size_t count = listener->group && listener->state == LISTENER_LIVE ? positions_new(listener) : 0, at = 0;
    Wire__Position *positions;
    Wire__Position **pointers;

    if (count == 0)
        return;
    positions = calloc(count, sizeof(*positions));
    pointers = calloc(count, sizeof(Wire__Position *));
    if (positions && pointers) {
        for (size_t i = 0; i < listener->partition_count; i++) {
            struct listen_partition *partition = &listener->partitions[i];
            if (!position_is_new(partition))
                continue;
            wire__position__init(&positions[at]);
            positions[at].partition = partition->id;
            positions[at].offset = partition->commit_sent = partition->next;
            pointers[at] = &positions[at];
            at++;
        }
        commit.request = listener->commit_request = ++engine->commit_request;
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
            again |= positions_new(listener) > 0;
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
    if (committed->code < 0 && !error_retriable(committed->code))
        engine_error(engine, committed->code, "the positions of group %s were not stored: %s",
                     listener ? listener->group : "(ended)", committed->text);
    if (!listener)
        return; /* it has ended, or committed again since */
    listener->commit_request = 0;
    for (size_t i = 0; i < listener->partition_count; i++) {
        struct listen_partition *partition = &listener->partitions[i];
        if (committed->code == 0 && partition->commit_sent > partition->committed)
            partition->committed = partition->commit_sent;
        partition->commit_sent = 0;
    }
    position_moved(engine, listener);
}
