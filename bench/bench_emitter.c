/* bench_emitter.c [SECONDS]: what does an emit on local: cost, by name and by interned topic, with 1 and with 10 listeners?
 *
 * The same work as bench/emitter.js, which is its other half: a handler adds the size of the value, and the sum is checked.
 * Prints one JSON object; bench/emitter.sh runs the two in turns and compares. Thread: one. */
#include "crier/crier.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOPICS     4
#define CHUNK      4096 /* emits between looks at the CPU time, which a busy machine leaves alone */
#define VALUE_SIZE 16

static const char *const names[TOPICS] = {"orders.placed", "orders.paid", "orders.shipped", "stock.low"};
static const char value[VALUE_SIZE + 1] = "sixteen bytes ..";
static uint64_t sums[16];

static int add(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    *(uint64_t *)ctx += event->value_size;
    return 0;
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_emitter: %s\n", what);
    exit(1);
}

/* Millions of emits a second, over so many topics in turn. */
static double run(int listeners, int topics, bool interned, double seconds)
{
    crier_topic *topic[TOPICS];
    uint64_t emits = 0, sum = 0;
    double began, took;
    crier *bus;

    memset(sums, 0, sizeof(sums));
    if (crier_open("local:", NULL, &bus) < 0)
        die("open");
    for (int i = 0; i < topics; i++) {
        for (int j = 0; j < listeners; j++)
            if (crier_on(bus, names[i], add, &sums[j]) < 0)
                die("on");
        if (crier_intern(bus, names[i], &topic[i]) < 0)
            die("intern");
    }
    began = now_s();
    do {
        for (int i = 0; i < CHUNK; i++) {
            int at = i & (topics - 1);
            if (interned)
                (void)crier_emit_topic(topic[at], value, VALUE_SIZE);
            else
                (void)crier_emit(bus, names[at], value, VALUE_SIZE);
        }
        emits += CHUNK;
        took = now_s() - began;
    } while (took < seconds);
    for (int i = 0; i < listeners; i++)
        sum += sums[i];
    if (sum != emits * (uint64_t)listeners * VALUE_SIZE)
        die("events were lost");
    crier_close(bus);
    return (double)emits / took / 1e6;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    const char *separator = "{";

    for (int topics = 1; topics <= TOPICS; topics += TOPICS - 1)
        for (int listeners = 1; listeners <= 10; listeners += 9) {
            printf("%s\"name_%d_%d\": %.2f, ", separator, topics, listeners,
                   run(listeners, topics, false, seconds));
            printf("\"interned_%d_%d\": %.2f", topics, listeners, run(listeners, topics, true, seconds));
            separator = ", ";
        }
    printf("}\n");
    return 0;
}
