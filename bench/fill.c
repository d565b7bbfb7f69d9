/* fill.c: fills a broker for a measurement: so many topics, then so many bytes.
 *
 *   crier_fill URL TOPICS BYTES EVENT_SIZE      topics fill.0 .. fill.TOPICS-1, one event in each; then BYTES over them
 *
 * One bus, its own thread; emits wait when the broker's grant is used up. */
#include <crier/crier.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void emit(crier *bus, unsigned long topic, const char *value, size_t size)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "fill.%lu", topic);
    int rc = crier_emit(bus, name, value, size);
    if (rc < 0)
        errx(1, "emit to %s: %s", name, crier_strerror(rc));
}

static void settle(crier *bus)
{
    int rc = crier_flush(bus, 600000);
    if (rc < 0)
        errx(1, "flush: %s", crier_strerror(rc));
}

int main(int argc, char **argv)
{
    if (argc != 5)
        errx(2, "usage: crier_fill URL TOPICS BYTES EVENT_SIZE");
    unsigned long topics = strtoul(argv[2], NULL, 10), bytes = strtoul(argv[3], NULL, 10);
    size_t size = strtoul(argv[4], NULL, 10);
    if (topics == 0 || size == 0 || size > 1000000)
        errx(2, "crier_fill: at least one topic, events of 1 to 1000000 bytes");
    char *value = malloc(size);
    if (!value)
        err(1, "memory");
    for (size_t i = 0; i < size; i++)
        value[i] = (char)(i * 2654435761u >> 5);
    struct crier_options options = crier_options_default();
    options.emit_blocks = true;
    crier *bus;
    int rc = crier_open(argv[1], &options, &bus);
    if (rc < 0)
        errx(1, "%s: %s", argv[1], crier_strerror(rc));
    for (unsigned long i = 0; i < topics; i++) {
        emit(bus, i, "one", 3);
        if (i % 1000 == 999)
            settle(bus);
    }
    settle(bus);
    for (unsigned long done = 0, i = 0; done < bytes; done += size, i++)
        emit(bus, i % topics, value, size);
    settle(bus);
    crier_close(bus);
    free(value);
    return 0;
}
