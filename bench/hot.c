/* hot.c: what is done once per event, over fixed inputs, so that its instructions can be counted.
 *
 * Role:      `crier_hot PART N` does one part of the hot path for N events of 100 B and nothing else. bench/guard.sh runs it
 *            under callgrind with two Ns: the difference is what the events cost, the same on every machine.
 * Thread:    main.
 * Failures:  anything unexpected ends it with a sentence and status 1. */
#include "client/engine.h"
#include "proto/batch.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_SIZE  100
#define BATCH_SIZE  (256u << 10)
#define TIMESTAMP   INT64_C(1700000000000)
#define BUFFER_SIZE (1u << 30) /* everything waits in the client: nobody is connected */

static const uint8_t value[EVENT_SIZE] = "an event";

/* ---- a client's emit: from the call into the batch being built, with the records' CRC ---- */

/* An inbox's: known without asking anybody, as other topics are once a broker has answered. */
#define KNOWN_TOPIC "$inbox.00000000000002a"

static void no_connect(void *ctx, unsigned endpoint)
{
    (void)ctx, (void)endpoint;
}

static void no_disconnect(void *ctx)
{
    (void)ctx;
}

static void emit(unsigned long count)
{
    const struct engine_ops ops = {.connect = no_connect, .disconnect = no_disconnect};
    struct engine_config config = {.options = crier_options_default(), .endpoint_count = 1};
    bool wake;

    config.options.buffer_size_max = BUFFER_SIZE;
    struct engine *engine = engine_create(&config, &ops, NULL);
    if (engine == NULL)
        errx(1, "out of memory");
    for (unsigned long i = 0; i < count; i++) {
        int rc =
            engine_emit(engine, KNOWN_TOPIC, value, EVENT_SIZE, NULL, TIMESTAMP + (int64_t)i / 1000, &wake);
        if (rc < 0)
            errx(1, "emit: %s", crier_strerror(rc));
    }
    engine_destroy(engine);
}

/* ---- an emit on local:, by interned topic, to one handler ---- */

static int count_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    *(size_t *)ctx += event->value_size;
    return 0;
}

static void local(unsigned long count)
{
    crier_topic *topic;
    size_t bytes = 0;
    crier *bus;

    if (crier_open("local:", NULL, &bus) < 0 || crier_on(bus, "orders.placed", count_event, &bytes) < 0 ||
        crier_intern(bus, "orders.placed", &topic) < 0)
        errx(1, "local:");
    for (unsigned long i = 0; i < count; i++)
        (void)crier_emit_topic(topic, value, EVENT_SIZE);
    if (bytes != count * EVENT_SIZE)
        errx(1, "events were lost");
    crier_close(bus);
}

/* ---- a batch: sealed by the client, checked by the broker, read by a listener ---- */

static uint8_t *make_batch(unsigned long count, size_t *ret_size)
{
    struct batch_builder builder;
    uint8_t *data = malloc(BATCH_SIZE);

    if (data == NULL)
        errx(1, "out of memory");
    batch_builder_init(&builder, data, BATCH_SIZE);
    for (unsigned long i = 0; i < count; i++) {
        if (batch_builder_append(&builder, TIMESTAMP + (int64_t)i / 100, NULL, 0, value, EVENT_SIZE, NULL,
                                 0) != 0)
            errx(1, "the batch is full");
    }
    *ret_size = batch_builder_finish(&builder, 1, 0, 0);
    return data;
}

#define BATCH_EVENTS 2000

static void validate(unsigned long count)
{
    const struct batch_limits limits = {
        .batch_size_max = BATCH_SIZE, .event_size_max = 1u << 20, .uncompressed_size_max = 1u << 24};
    struct batch_header header;
    const char *why;
    size_t size;
    uint8_t *data = make_batch(BATCH_EVENTS, &size);

    for (unsigned long done = 0; done < count; done += BATCH_EVENTS) {
        if (batch_validate(data, size, &limits, &header, &why) != 0)
            errx(1, "validate: %s", why);
    }
    free(data);
}

static void iterate(unsigned long count)
{
    struct batch_iterator iterator;
    struct batch_record record;
    size_t size, bytes = 0;
    uint8_t *data = make_batch(BATCH_EVENTS, &size);

    for (unsigned long done = 0; done < count; done += BATCH_EVENTS) {
        if (batch_iterator_init(&iterator, data, size, 0) != 0)
            errx(1, "iterate");
        while (batch_iterator_next(&iterator, &record) > 0)
            bytes += record.value.size;
        batch_iterator_finish(&iterator);
    }
    if (bytes == 0 && count > 0)
        errx(1, "nothing was read");
    free(data);
}

static const struct {
    const char *name;
    void (*run)(unsigned long count);
} parts[] = {{"emit", emit}, {"local", local}, {"validate", validate}, {"iterate", iterate}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcmp(argv[1], parts[i].name) == 0) {
            parts[i].run(strtoul(argv[2], NULL, 10));
            return 0;
        }
    }
    errx(2, "usage: crier_hot emit|local|validate|iterate EVENTS");
}
