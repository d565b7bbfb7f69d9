/* client_probe.h: what handlers and callbacks of a bus saw, for a test that waits for it.
 *
 * The I/O thread writes, the test's thread waits on a condition variable: nothing sleeps. Values are kept as text. */
#ifndef CRIER_TESTS_CLIENT_PROBE_H
#define CRIER_TESTS_CLIENT_PROBE_H

#include "crier/crier.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PROBE_WAIT_MS 20000 /* nothing takes so long, but for a machine that is very busy */

struct probe_event {
    char *value; /* with a NUL */
    size_t value_size;
    char key[64];
    uint32_t partition;
    uint64_t offset;
    int error;
};

struct probe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct probe_event *events;
    size_t event_count, event_capacity;
    size_t done_count, done_failed, drains, listening, released, connections, disconnections;
    uint64_t last_offset; /* of the last done */
    int last_code, released_code;
};

void probe_init(struct probe *probe);
void probe_finish(struct probe *probe);

/* For the API: ctx is the probe. */
int probe_handler(crier *bus, const crier_event *event, void *ctx);
void probe_done(crier *bus, int code, uint64_t offset, void *ctx);
void probe_drain(crier *bus, void *ctx);
void probe_connection(crier *bus, bool connected, const char *text, void *ctx);
void probe_listening(void *ctx);
void probe_released(void *ctx, int code, const char *text);

/* Waits until *counter (a field of the probe) is at least `wanted`. false: PROBE_WAIT_MS passed. */
bool probe_wait(struct probe *probe, const size_t *counter, size_t wanted);
size_t probe_count(struct probe *probe, const size_t *counter); /* now */

/* Listen with the probe, and wait until the broker has confirmed it. */
bool probe_listen(struct probe *probe, crier *bus, const char *topic,
                  const struct crier_listen_options *options, crier_listener **ret_listener);

#endif
