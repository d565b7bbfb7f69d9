/* crier/shared.h: shared groups: each event is settled by itself, by any of many members, and what fails comes again.
 *
 *     struct crier_shared_options shared[] = {crier_shared_options_default()};
 *     listen.group = "payments";
 *     listen.shared = shared;
 *     crier_listen(bus, "orders", &listen, on_order, ctx, NULL);
 *
 *     int on_order(crier *bus, const crier_event *order, void *ctx)
 *     {
 *         return charge(order);       0: done. < 0: it failed, and comes again later, here or at another member
 *     }
 *
 * All members get events of every partition, so there may be more of them than partitions. An event is leased to one member at a
 * time. When its handler has succeeded it is done, durably, and nobody gets it again. When it fails it is delivered again after the
 * topic's retry delay (crier_retry: doubling, with jitter), so often as the topic says; then it goes to the dead-letter
 * topic (crier_topic_info.dead_letter), with headers that tell why. It is handled at least once: a lost connection or a restart
 * may repeat what was not settled.
 *
 * An event whose end is not known when its handler returns: keep its lease, return CRIER_LATER, and settle it from any thread.
 *
 *     *lease = crier_lease_of(event);
 *     return CRIER_LATER;
 *     ...
 *     crier_ack(bus, lease);          or crier_nack, with a delay of your choice; crier_extend for more time
 *
 * A lease that runs out counts as a failure. Events that wait in this process for their turn are extended, so a handler has at least
 * half of lease_ms. Leases go on over a lost connection, if it is found again within the session timeout.
 *
 * DEAD LETTERS. They go to "$dead." and the topic's name, or to the topic that crier_topic_options.dead_letter or crier_topic_alter()
 * names. That need not be there yet, may have any number of partitions, may be that of several topics, and may have listeners and
 * groups as any other. It cannot be the topic itself, an ephemeral one, or a name that begins with "$" (but "$dead." and a name is one),
 * and an ephemeral topic has none: CRIER_EINVAL. An altered setting holds for what dies from then on; what is in the old topic stays
 * there, so redrive first.
 *
 * With key_ordered, of the events of one key of a partition one is out at a time, and the next comes when that is done: in order,
 * also when it fails and on a worker pool; other keys go on meanwhile.
 *
 * THREADS. Any thread may call any function here. */
#ifndef CRIER_SHARED_H
#define CRIER_SHARED_H

#include <crier/crier.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CRIER_LATER             2    /* a handler's result: the lease is kept, and settled by a call below */
#define CRIER_IN_FLIGHT_MAX     4096 /* of a member */
#define CRIER_LEASE_MS_MAX      43200000 /* 12 hours */
#define CRIER_NACK_REASON_MAX   255      /* bytes */
#define CRIER_NACK_DELAY_MS_MAX 86400000 /* a day */

/* How a listener is a member of a shared group. From crier_shared_options_default(). */
struct crier_shared_options {
    size_t struct_size; /* set by crier_shared_options_default() */
    bool key_ordered;   /* the same for all members of a group; default false: any order */
    uint32_t
        lease_ms; /* how long a handler, or CRIER_LATER, may take; up to CRIER_LEASE_MS_MAX; default 0: 30 s */
    uint32_t max_in_flight; /* events it has at a time; up to CRIER_IN_FLIGHT_MAX; default 0: 256 */
};

/** The defaults; see the fields. */
static inline struct crier_shared_options crier_shared_options_default(void)
{
    struct crier_shared_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/* An event that its member is at. A value: nothing is to be freed. */
struct crier_lease {
    uint64_t offset;     /* the event's */
    uint32_t assignment; /* the event's: which listener and partition */
    uint32_t attempt;    /* the event's: which delivery; 1: the first */
};

/** Of an event that a shared group's handler has, also of a copy. */
static inline struct crier_lease crier_lease_of(const crier_event *event)
{
    struct crier_lease lease;
    memset(&lease, 0, sizeof(lease));
    lease.offset = event->offset;
    lease.assignment = event->assignment;
    lease.attempt = event->attempt;
    return lease;
}

/* How an event has failed. From crier_nack_options_default(). */
struct crier_nack_options {
    size_t struct_size; /* set by crier_nack_options_default() */
    uint64_t
        delay_ms; /* until the next delivery; up to CRIER_NACK_DELAY_MS_MAX; default 0: as the topic's retry policy says */
    const char *
        reason; /* for people, kept with an event that dies; up to CRIER_NACK_REASON_MAX bytes; copied; NULL: none */
    bool reject; /* no further delivery: to the dead-letter topic; default false */
};

/** The defaults; see the fields. */
static inline struct crier_nack_options crier_nack_options_default(void)
{
    struct crier_nack_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/** The event is done. Never waits; what has been settled already, or whose listener has ended, is ignored. crier_close() waits until
 *  it is durable. lease: copied. 0, CRIER_EINVAL (not a lease), CRIER_ENOTSUP (local:), CRIER_ENOMEM. */
CRIER_API int crier_ack(crier *bus, const struct crier_lease *lease);
/** The event has failed: it comes again, or is dead. options: NULL: the defaults. As crier_ack. */
CRIER_API int crier_nack(crier *bus, const struct crier_lease *lease,
                         const struct crier_nack_options *options);
/** The lease runs for lease_ms from now on (0: the listener's). As crier_ack; nothing of it is stored. */
CRIER_API int crier_extend(crier *bus, const struct crier_lease *lease, uint32_t lease_ms);

/** Dead letters of a topic go back to it, durably, as new events at its end, for every group; they are dead letters no more. Those of
 *  other topics with the same dead-letter topic go back to theirs.
 *  limit: at most so many, oldest first in each partition; 0: all there are now. *ret_moved (NULL: not wanted): so many did, on
 *  success; with an error some may have. 0, CRIER_ENOTOPIC (also: one came from a topic that is gone), CRIER_EINVAL (an event there is
 *  no dead letter), CRIER_EBUSY (one is under way for this topic), CRIER_EFULL, CRIER_ETIMEDOUT (it goes on at the broker),
 *  CRIER_EUNKNOWN (the connection was lost before the answer), CRIER_ENOTSUP (local:, or an older broker), ... Blocking. */
CRIER_API int crier_redrive(crier *bus, const char *topic, uint64_t limit, uint64_t *ret_moved);

#ifdef __cplusplus
}
#endif

#endif
