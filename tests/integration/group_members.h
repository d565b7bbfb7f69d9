/* group_members.h: members of a group in this process, what they did, and waiting for it; for the tests of groups.
 * Thread: the ledger's lock makes handlers (I/O threads) and the test meet. */
#ifndef CRIER_TESTS_GROUP_MEMBERS_H
#define CRIER_TESTS_GROUP_MEMBERS_H

#include "tests/support/broker_fixture.h"

#include "crier/crier.h"

#include <pthread.h>

#define PARTITIONS  8
#define MEMBERS_MAX 3
#define NOBODY      (-1)
#define WAIT_S      20 /* nothing takes so long, but for a machine that is very busy */

struct ledger {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int owner[PARTITIONS];     /* which member; NOBODY */
    uint64_t next[PARTITIONS]; /* follows the last offset handled */
    uint64_t handled;          /* new ones */
    uint64_t repeated;         /* handled before */
    unsigned owned[MEMBERS_MAX];
    unsigned joined, released; /* `listening` and `released` calls */
    bool held;                 /* handlers wait */
    unsigned waiting;          /* they do */
    char problem[128];         /* the first broken promise; "": none */
};

struct member {
    struct ledger *ledger;
    int number;
    crier *bus;
    crier_listener *listener;
};

struct goal {
    uint64_t handled;
    unsigned owned[MEMBERS_MAX];
    bool owned_matters;
    unsigned joined, released, waiting; /* at least */
};

void ledger_init(struct ledger *ledger);
void ledger_finish(struct ledger *ledger);
void ledger_handled(struct ledger *ledger, int member, uint32_t partition, uint64_t offset);
int on_event(crier *bus, const crier_event *event, void *ctx);
void on_listening(void *ctx);
void await(struct ledger *ledger, const struct goal *goal);
void await_owned(struct ledger *ledger, unsigned a, unsigned b, unsigned c);
void await_handled(struct ledger *ledger, uint64_t count);
void hold(struct ledger *ledger, bool held);
crier *bus_open(struct broker *broker, const char *name);
void topic_create(crier *bus);
void emit(crier *bus, uint64_t *number, int count);
void join(struct member *member, int session_timeout_ms);
void leave(struct member *member);

#endif
