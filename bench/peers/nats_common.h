/* nats_common.h: what nats.c and jetstream.c share of libnats. */
#ifndef CRIER_BENCH_NATS_COMMON_H
#define CRIER_BENCH_NATS_COMMON_H

#include "bench/peers/peer.h"

#include <nats/nats.h>
#include <pthread.h>
#include <semaphore.h>

struct nats_receiver {
    const struct bench *bench;
    uint64_t number;
    sem_t finished; /* posted when the last event has come */
};

/* NULL: it has been said why. */
natsConnection *nats_open(const struct bench *bench);
/* A natsMsgHandler; ctx is a struct nats_receiver. */
void nats_on_message(natsConnection *nats, natsSubscription *subscription, natsMsg *message, void *ctx);
void nats_wait(struct nats_receiver *receiver);

/* ---- a closed loop, nats_closed.c ---- */

struct closed;
struct nats_flight {
    const struct bench *bench;
    struct closed *closed;
    natsConnection *nats;
    jsCtx *js;
    pthread_t thread;
};
/* Sends the event and waits until it is confirmed. */
typedef natsStatus nats_exchange(struct nats_flight *flight, const void *value, int size);
int nats_closed(const struct bench *bench, uint64_t number, struct worker *worker, nats_exchange *exchange);

#endif
