/* A bus of local: and many threads: handlers run one at a time, nothing is lost, and the owner's biased lock is given up
 * when the others come. A plain program, for ThreadSanitizer. */
#include "crier/crier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8
#define EMITS   3000

#define EXPECT(x)                                                                                            \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static crier *bus;
static crier_topic *topic;
static uint64_t calls;    /* not atomic: the bus keeps handlers apart */
static unsigned inside;   /* the same */
static atomic_bool begun; /* the owner is inside a handler */
static atomic_int waiting;

static int count_call(crier *emitter, const crier_event *event, void *ctx)
{
    (void)emitter, (void)event, (void)ctx;
    EXPECT(inside++ == 0);
    calls++;
    inside--;
    return 0;
}

static int nothing(crier *emitter, const crier_event *event, void *ctx)
{
    (void)emitter, (void)event, (void)ctx;
    return 0;
}

static void *emit_many(void *ctx)
{
    for (int i = 0; i < EMITS; i++) {
        EXPECT(crier_emit(bus, "x", NULL, 0) == 0);
        EXPECT(crier_emit_topic(topic, NULL, 0) == 0);
        if (i % 16 == 0) {
            EXPECT(crier_on(bus, "x", nothing, ctx) == 0);
            EXPECT(crier_off(bus, "x", nothing, ctx) == 0);
        }
    }
    return NULL;
}

static void all_threads_emit(void)
{
    pthread_t threads[THREADS];
    int ctx[THREADS + 1];

    calls = 0;
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, emit_many, &ctx[i]) == 0);
    emit_many(&ctx[THREADS]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(calls == 2ull * EMITS * (THREADS + 1));
    EXPECT(crier_listener_count(bus, "x", NULL, NULL) == 1);
}

static void *emit_one(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&begun))
        ;
    atomic_fetch_add(&waiting, 1);
    EXPECT(crier_emit(bus, "x", NULL, 0) == 0);
    return NULL;
}

/* The second thread comes while the owner is in a handler: it waits for it, and the owner may call on meanwhile. */
static int let_them_come(crier *emitter, const crier_event *event, void *ctx)
{
    (void)event, (void)ctx;
    atomic_store(&begun, true);
    while (atomic_load(&waiting) < THREADS)
        ;
    for (int i = 0; i < 1000; i++) {
        EXPECT(calls == 0);
        EXPECT(crier_emit(emitter, "z", NULL, 0) == 0);
    }
    return 0;
}

static void others_wait_for_the_owners_handler(void)
{
    pthread_t threads[THREADS];

    calls = 0;
    atomic_store(&begun, false);
    atomic_store(&waiting, 0);
    EXPECT(crier_open("local:", NULL, &bus) == 0);
    EXPECT(crier_on(bus, "x", count_call, NULL) == 0);
    EXPECT(crier_once(bus, "y", let_them_come, NULL) == 0);
    EXPECT(crier_on(bus, "z", nothing, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, emit_one, NULL) == 0);
    EXPECT(crier_emit(bus, "y", NULL, 0) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(calls == THREADS);
    EXPECT(crier_close(bus) == 0);
}

/* ---- a name: every thread opens it for itself ---- */

static void *come_and_go(void *ctx)
{
    for (int i = 0; i < EMITS / 10; i++) {
        crier *mine;
        EXPECT(crier_open("local:square", NULL, &mine) == 0);
        EXPECT(crier_on(mine, "y", nothing, ctx) == 0);
        EXPECT(crier_emit(mine, "x", NULL, 0) == 0);
        EXPECT(crier_emit(mine, "y", NULL, 0) == 0);
        EXPECT(crier_close(mine) == 0);
    }
    return NULL;
}

static void everybody_opens_a_name(void)
{
    pthread_t threads[THREADS];
    int ctx[THREADS + 1];

    calls = 0;
    EXPECT(crier_open("local:square", NULL, &bus) == 0);
    EXPECT(crier_set_max_listeners(bus, 0) == 0);
    EXPECT(crier_on(bus, "x", count_call, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, come_and_go, &ctx[i]) == 0);
    come_and_go(&ctx[THREADS]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(calls == EMITS / 10 * (THREADS + 1));
    EXPECT(crier_listener_count(bus, "y", NULL, NULL) == 0);
    EXPECT(crier_close(bus) == 0);
    for (int i = 0; i < THREADS; i++) /* nobody keeps the name open: it is made and destroyed all the time */
        EXPECT(pthread_create(&threads[i], NULL, come_and_go, &ctx[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    for (int round = 0; round < 3; round++) {
        EXPECT(crier_open("local:", NULL, &bus) == 0);
        EXPECT(crier_intern(bus, "x", &topic) == 0);
        EXPECT(crier_on(bus, "x", count_call, NULL) == 0);
        all_threads_emit();
        EXPECT(crier_close(bus) == 0);
    }
    for (int round = 0; round < 50; round++)
        others_wait_for_the_owners_handler();
    for (int round = 0; round < 3; round++)
        everybody_opens_a_name();
    printf("%d threads, handlers one at a time\n", THREADS + 1);
    return 0;
}
