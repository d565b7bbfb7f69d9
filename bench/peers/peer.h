/* peer.h: another product, measured by the judge that measures crier: what its load generators share.
 *
 * A peer is a table of workloads (tools/bench.h) whose workers speak the product's own C client library, as its own
 * documentation advises for speed: pipelined, asynchronous where the library is, confirmed where the product confirms.
 * Events have crier's 16 bytes in front, so loss, duplicates and order are judged alike.
 *
 * The server is started by whoever calls (compare.py), with a configuration of its own; `--url` is its HOST:PORT. */
#ifndef CRIER_BENCH_PEER_H
#define CRIER_BENCH_PEER_H

#include "tools/bench.h"

#define PEER_HOST_SIZE 64

struct peer {
    const char *name;
    const char *about;                             /* one line of --help */
    const struct bench_workload *const *workloads; /* ends with NULL */
};

extern const struct peer redis_peer, nats_peer, jetstream_peer, rabbitmq_peer, mosquitto_peer, kafka_peer;

struct peer_address {
    char host[PEER_HOST_SIZE];
    int port;
};
struct peer_address peer_address(const struct bench *bench);

/* One producer's events, one after the other. */
struct load {
    const struct bench *bench;
    struct bench_producer *result;
    uint64_t number, share, next, sample;
    uint8_t *value; /* bench->options->event_size bytes: the event that load_next() made */
};

/* 0 or an enum exit_status. */
int load_open(struct load *load, const struct bench *bench, uint64_t number);
/* Makes the next event; with a rate, waits until it is due. False: there is none. The first call starts the clock. */
bool load_next(struct load *load);
/* Would load_next() not wait? */
bool load_is_due(const struct load *load);
/* Everything has been confirmed: stops the clock. */
void load_acked(struct load *load);
void load_close(struct load *load);

/* Notes an event that came. True: it was the last one. */
bool peer_note(const struct bench *bench, uint64_t listener, const void *value, size_t size);

/* Closed loop: one event of `load` left at emitted_us and is confirmed now. */
void peer_confirmed(struct load *load, int64_t emitted_us);

#endif
