/* crier/recorder.h: for the tests of your own program: was it emitted?
 *
 *     struct crier_recorder recorder;
 *     crier_recorder_open(&recorder, bus, "orders.placed");
 *     place_order(...);                                          the code under test, on this bus or any other
 *     assert(crier_recorder_wait(&recorder, 1, 5000) == 0);
 *     assert(crier_recorder_find(&recorder, "one umbrella", 12) != NULL);
 *     crier_recorder_close(&recorder);
 *
 * Everything is in this header; link pthread. It works on every kind of bus and on every kind of loop, and uses the public
 * functions alone: while it waits, it pings.
 *
 * THREADS. One thread calls these functions; the events come in on the bus's. A broker for a test needs no server:
 * "embed:" and a fresh folder. */
#ifndef CRIER_RECORDER_H
#define CRIER_RECORDER_H

#include "crier.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Records what is heard on one topic. The fields are its own. */
struct crier_recorder {
    crier *bus;               /* borrowed */
    crier_listener *listener; /* until `released` */
    pthread_mutex_t lock;     /* for what follows */
    crier_event **events;     /* copies, in the order heard */
    size_t count;             /* of events */
    size_t capacity;          /* of events */
    bool listening;           /* the broker has confirmed it */
    bool released;            /* nothing more will come */
    int code;                 /* the first failure */
};

/** For the recorder itself: keeps a copy of an event. */
static inline int crier_recorder_on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_recorder *recorder = (struct crier_recorder *)ctx;
    size_t topic_size = strlen(event->topic) + 1;
    char *block = (char *)malloc(sizeof(*event) + topic_size + event->key_size + event->value_size);
    crier_event *copy = (crier_event *)(void *)block;
    char *bytes = block + sizeof(*event);
    int rc = 0;

    (void)bus;
    pthread_mutex_lock(&recorder->lock);
    if (copy && recorder->count == recorder->capacity) {
        size_t capacity = recorder->capacity ? 2 * recorder->capacity : 16;
        void *grown = realloc(recorder->events, capacity * sizeof(crier_event *));
        if (grown) {
            recorder->events = (crier_event **)grown;
            recorder->capacity = capacity;
        }
    }
    if (copy && recorder->count < recorder->capacity) {
        *copy = *event;
        copy->topic = (const char *)memcpy(bytes, event->topic, topic_size);
        bytes += topic_size;
        if (event->key)
            copy->key = event->key_size ? memcpy(bytes, event->key, event->key_size) : bytes;
        bytes += event->key_size;
        if (event->value)
            copy->value = event->value_size ? memcpy(bytes, event->value, event->value_size) : bytes;
        copy->header_count = 0; /* headers are not kept */
        copy->internal = NULL;
        copy->listener = NULL;
        recorder->events[recorder->count++] = copy;
    } else {
        free(block);
        recorder->code = rc = CRIER_ENOMEM;
    }
    pthread_mutex_unlock(&recorder->lock);
    return rc;
}

/** For the recorder itself. */
static inline void crier_recorder_on_listening(void *ctx)
{
    struct crier_recorder *recorder = (struct crier_recorder *)ctx;

    pthread_mutex_lock(&recorder->lock);
    recorder->listening = true;
    pthread_mutex_unlock(&recorder->lock);
}

/** For the recorder itself. */
static inline void crier_recorder_on_released(void *ctx, int code, const char *text)
{
    struct crier_recorder *recorder = (struct crier_recorder *)ctx;

    (void)text;
    pthread_mutex_lock(&recorder->lock);
    recorder->released = true;
    if (recorder->code == 0)
        recorder->code = code;
    pthread_mutex_unlock(&recorder->lock);
}

/** How many events were recorded so far. */
static inline size_t crier_recorder_count(struct crier_recorder *recorder)
{
    size_t count;

    pthread_mutex_lock(&recorder->lock);
    count = recorder->count;
    pthread_mutex_unlock(&recorder->lock);
    return count;
}

/** For the recorder itself: pings until it listens (count SIZE_MAX), was released (SIZE_MAX - 1), or has count events. */
static inline int crier_recorder_until(struct crier_recorder *recorder, size_t count, int timeout_ms)
{
    struct timespec now;
    int64_t end_ms, now_ms, us;

    clock_gettime(CLOCK_MONOTONIC, &now);
    now_ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
    end_ms = now_ms + timeout_ms;
    for (;;) {
        bool done, over;
        int rc;

        pthread_mutex_lock(&recorder->lock);
        over = recorder->released;
        done = count == SIZE_MAX       ? recorder->listening
               : count == SIZE_MAX - 1 ? over
                                       : recorder->count >= count;
        rc = recorder->code;
        pthread_mutex_unlock(&recorder->lock);
        if (done)
            return 0;
        if (over || rc < 0)
            return rc < 0 ? rc : CRIER_ECLOSED;
        if (timeout_ms >= 0 && now_ms >= end_ms)
            return CRIER_ETIMEDOUT;
        if ((rc = crier_ping(recorder->bus, &us)) < 0) /* a round trip; drives a bus without a thread */
            return rc == CRIER_ENOTSUP ? CRIER_ETIMEDOUT : rc;
        clock_gettime(CLOCK_MONOTONIC, &now);
        now_ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
    }
}

/** Stops recording and frees what was recorded. After or before the bus is closed. Blocking. */
static inline void crier_recorder_close(struct crier_recorder *recorder)
{
    bool released;

    pthread_mutex_lock(&recorder->lock);
    released = recorder->released;
    pthread_mutex_unlock(&recorder->lock);
    if (!released && recorder->listener && crier_unlisten(recorder->listener) == 0)
        (void)crier_recorder_until(recorder, SIZE_MAX - 1, -1);
    for (size_t i = 0; i < recorder->count; i++)
        free(recorder->events[i]);
    free(recorder->events);
    pthread_mutex_destroy(&recorder->lock);
    memset(recorder, 0, sizeof(*recorder));
}

/** Records every event on the topic that is emitted after this has returned. recorder: the caller's memory, uninitialised;
 *  to be closed if this succeeds. topic: as for crier_listen. 0, or as crier_listen and crier_ping. Blocking. */
static inline int crier_recorder_open(struct crier_recorder *recorder, crier *bus, const char *topic)
{
    struct crier_listen_options options = crier_listen_options_default();
    int rc;

    memset(recorder, 0, sizeof(*recorder));
    if (pthread_mutex_init(&recorder->lock, NULL) != 0)
        return CRIER_ENOMEM;
    recorder->bus = bus;
    options.listening = crier_recorder_on_listening;
    options.released = crier_recorder_on_released;
    rc = crier_listen(bus, topic, &options, crier_recorder_on_event, recorder, &recorder->listener);
    if (rc < 0) {
        pthread_mutex_destroy(&recorder->lock);
        return rc;
    }
    rc = crier_recorder_until(recorder, SIZE_MAX, 10000);
    if (rc < 0)
        crier_recorder_close(recorder);
    return rc;
}

/** Waits until at least `count` events were recorded. 0, CRIER_ETIMEDOUT (timeout_ms; -1: no limit), or why no more can
 *  come. Blocking. */
static inline int crier_recorder_wait(struct crier_recorder *recorder, size_t count, int timeout_ms)
{
    return crier_recorder_until(recorder, count, timeout_ms);
}

/** The event `index` (0-based, in the order heard), without its headers; NULL: there is none. Borrowed until
 *  crier_recorder_close(). */
static inline const crier_event *crier_recorder_event(struct crier_recorder *recorder, size_t index)
{
    const crier_event *event;

    pthread_mutex_lock(&recorder->lock);
    event = index < recorder->count ? recorder->events[index] : NULL;
    pthread_mutex_unlock(&recorder->lock);
    return event;
}

/** The first recorded event with this value; NULL: there is none. Borrowed until crier_recorder_close(). */
static inline const crier_event *crier_recorder_find(struct crier_recorder *recorder, const void *value,
                                                     size_t value_size)
{
    const crier_event *event = NULL;

    for (size_t i = 0; (event = crier_recorder_event(recorder, i)) != NULL; i++)
        if (event->value_size == value_size &&
            (value_size == 0 || memcmp(event->value, value, value_size) == 0))
            return event;
    return NULL;
}

#ifdef __cplusplus
}
#endif

#endif
