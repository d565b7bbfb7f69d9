/* tap_group.c: who has which partition of a group, as the broker has told its members (I10), and whose commits count.
 *
 * A member has a partition from the LISTENING or ASSIGN that says so until it releases it, leaves, or is ended. Two members
 * that have one partition at a time are a violation, and so is a commit that is taken from who does not have it.
 *
 * So that commits come that must not count, some are sent twice: a member's COMMIT of before again, much later, as a member
 * that slept might send it. It may move nothing back, and counts only for who still has the partition. The answer goes to
 * nobody. */
#include "tests/sim/tap.h"

#include "base/check.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tap_owner *tap_owner(struct tap *tap, const struct tap_listener *listener, uint64_t partition)
{
    CHECK(listener->group < TAP_GROUPS && partition < TAP_PARTITIONS);
    return &tap->world->owners[listener->group][partition];
}

static bool has(struct tap *tap, const struct tap_listener *listener, uint64_t partition)
{
    const struct tap_owner *owner = tap_owner(tap, listener, partition);
    return owner->tap == tap && owner->listener == listener->id;
}

void tap_given(struct tap *tap, const struct tap_listener *listener, uint64_t partition)
{
    struct tap_owner *owner = tap_owner(tap, listener, partition);
    if (owner->tap && !has(tap, listener, partition))
        report_add(tap->report, 10, "group %u: partition %" PRIu64 " is given to listener %u, and %u has it",
                   listener->group, partition, listener->id, owner->listener);
    *owner = (struct tap_owner){tap, listener->id};
}

void tap_released(struct tap *tap, const struct tap_listener *listener, uint64_t partition)
{
    if (has(tap, listener, partition))
        *tap_owner(tap, listener, partition) = (struct tap_owner){0};
}

void tap_left(struct tap *tap, const struct tap_listener *listener)
{
    for (uint64_t partition = 0; listener->grouped && partition < TAP_PARTITIONS; partition++)
        tap_released(tap, listener, partition);
}

void tap_gone(struct tap *tap)
{
    for (size_t i = 0; i < tap->listener_count; i++)
        tap_left(tap, &tap->listeners[i]);
    tap->listener_count = 0;
}

/* ---- commits that come again ---- */

static bool has_all(struct tap *tap, const Wire__Commit *commit)
{
    const struct tap_listener *listener = tap_listener(tap, commit->listener);
    bool all = listener && listener->grouped;
    for (size_t i = 0; all && i < commit->n_positions; i++)
        all = has(tap, listener, commit->positions[i]->partition);
    return all;
}

size_t tap_commit_again(struct tap *tap, const Wire__Commit *commit, uint8_t **ret_frame)
{
    Wire__Commit again = *commit;
    again.request = TAP_AGAIN;
    size_t size = wire__commit__get_packed_size(&again);
    uint8_t *frame = malloc(FRAME_PREFIX_SIZE + size);
    CHECK(frame);
    frame_prefix_encode(frame, FRAME_COMMIT, size, 0);
    wire__commit__pack(&again, frame + FRAME_PREFIX_SIZE);
    tap->again_counts = has_all(tap, commit);
    *ret_frame = frame;
    return FRAME_PREFIX_SIZE + size;
}

bool tap_committed_again(struct tap *tap, const uint8_t *header, size_t size)
{
    Wire__Committed *message = wire__committed__unpack(NULL, size, header);
    CHECK(message);
    bool ours = message->request == TAP_AGAIN;
    if (ours && message->code == 0 && !tap->again_counts)
        report_add(tap->report, 10, "a commit is taken from a member that does not have the partition");
    if (ours)
        tap->world->again[message->code == 0]++;
    wire__committed__free_unpacked(message, NULL);
    return ours;
}
