/* crier/presence.h: who listens to a topic of a broker, and who comes and goes: Node's newListener and removeListener, of all
 * buses there are.
 *
 *     crier_on(bus, CRIER_PRESENCE "orders.placed", on_presence, NULL);
 *
 *     static int on_presence(crier *bus, const crier_event *event, void *ctx)
 *     {
 *         struct crier_presence presence;
 *         if (crier_presence_read(event, &presence) == 0 && presence.what == CRIER_PRESENCE_JOINED)
 *             printf("%s listens to %s: %u now\n", presence.client, presence.topic, presence.listener_count);
 *         return 0;
 *     }
 *
 * The topic's name may be a pattern, and need not be there yet. Such a listener is one to an ephemeral topic: it is live, in no
 * group, and with more than it can take it loses events as its options say (crier_listen_options.slow). It is first told who is
 * there; the same anew after a reconnect, and when more has changed at once than is told one by one. Who listens to presence is
 * not told of. Nobody can emit here.
 *
 * A listener is one that would hear an event of the topic now: also one to a pattern, once for each topic; of an ordered
 * group a member that has a partition; of other groups each member. The bus's own are among them.
 *
 * On local: these topics are CRIER_ENOTSUP: "newListener" and "removeListener" tell of all there are. Threads, blocking, errors:
 * as crier.h says. */
#ifndef CRIER_PRESENCE_H
#define CRIER_PRESENCE_H

#include "crier.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CRIER_PRESENCE "$presence." /* in front of a topic's name or a pattern */

/** What an event of such a topic says; its key on the wire. */
enum crier_presence_what {
    CRIER_PRESENCE_BEGINS, /* "listeners": forget what was told; so many are there, and `told` THERE follow this */
    CRIER_PRESENCE_THERE,  /* "listener": one that is there */
    CRIER_PRESENCE_JOINED, /* "newListener" */
    CRIER_PRESENCE_LEFT    /* "removeListener" */
};

/** Texts are NUL-terminated, and cut if they were longer. */
struct crier_presence {
    enum crier_presence_what what; /* which of them */
    char topic[256];               /* the topic's name; BEGINS: what is behind CRIER_PRESENCE */
    char client[64];               /* crier_options.name of its bus, shortened; may be ""; BEGINS: "" */
    char address[64];              /* where it is connected from, as the broker sees it; the same */
    char group[256];               /* "": none */
    uint32_t listener_count; /* of the topic, with this one or without; BEGINS: of all topics it is about */
    uint32_t told; /* BEGINS: so many THERE follow; of very many listeners not all are told; else 0 */
};

/** Reads an event of such a topic. 0, or CRIER_EINVAL: it is none. Takes no memory; only inside the handler. */
CRIER_API int crier_presence_read(const crier_event *event, struct crier_presence *ret_presence);

#ifdef __cplusplus
}
#endif

#endif
