/* source.c: see source.h.
 *
 * Happy path:  lease -> markers, flushed -> three listeners from the earliest event, each until it has met a marker in every
 *              partition -> the lines that are there.
 * Failures:    a broker that is away is waited for; a listener that ends with an error ends the service. */
#include "source.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LEASE_TOPIC   "orders.source"
#define WAIT_MS       200
#define LINE_BITS_MIN 65536u

struct read_back { /* of one topic */
    struct source *source;
    const char *topic;
    uint32_t partitions;
    bool (*take)(struct source *source, const crier_event *event);
    uint32_t marked; /* a bit for each partition whose marker came; the bus's thread */
    crier_listener *listener;
};

struct source {
    struct service *service;
    char marker[64]; /* of this life alone */
    uint64_t *lines; /* a bit for each line that is there; the bus's thread, then main */
    size_t words;
    atomic_bool leased;
    atomic_int unread; /* topics */
    struct read_back topics[3];
};

/* ---- lines ---- */

static void lines_add(struct source *source, uint64_t line)
{
    size_t word = (size_t)(line / 64), words = source->words ? source->words : LINE_BITS_MIN / 64;
    while (words <= word)
        words *= 2;
    if (words > source->words) {
        uint64_t *lines = realloc(source->lines, words * sizeof(*lines));
        if (lines == NULL)
            err(1, "%s", source->service->name);
        memset(lines + source->words, 0, (words - source->words) * sizeof(*lines));
        source->lines = lines;
        source->words = words;
    }
    source->lines[word] |= UINT64_C(1) << line % 64;
}

bool source_has(const struct source *source, uint64_t line)
{
    return line / 64 < source->words && (source->lines[line / 64] >> line % 64 & 1);
}

static bool take_order(struct source *source, const crier_event *event)
{
    struct order order;
    if (order_from_json(event->value, event->value_size, &order) < 0)
        return false;
    for (size_t i = 0; i < order.line_count; i++)
        lines_add(source, order.lines[i].line);
    order_clear(&order);
    return true;
}

static bool take_rejected(struct source *source, const crier_event *event)
{
    json_t *root = json_loadb(event->value, event->value_size, 0, NULL),
           *line = json_object_get(root, "line");
    bool good = json_is_integer(line);
    if (good)
        lines_add(source, (uint64_t)json_integer_value(line));
    json_decref(root);
    return good;
}

/* ---- reading back ---- */

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct read_back *topic = ctx;
    struct source *source = topic->source;
    uint32_t all = (1u << topic->partitions) - 1, before = topic->marked;
    (void)bus;

    if (service_header_is(event, SERVICE_MARKER, source->marker))
        topic->marked |= 1u << event->partition;
    else if (service_header_is(event, SERVICE_RUN, source->service->run) &&
             !(before >> event->partition & 1) && !topic->take(source, event))
        fprintf(stderr, "%s: %s/%" PRIu32 "@%" PRIu64 " is not of its making\n", source->service->name,
                event->topic, event->partition, event->offset);
    if (before != all && topic->marked == all) {
        atomic_fetch_sub(&source->unread, 1);
        service_wake(source->service);
    }
    return 0;
}

static void on_released(void *ctx, int code, const char *text)
{
    const struct read_back *topic = ctx;
    if (code < 0)
        service_fail(topic->source->service, code, text ? text : crier_strerror(code));
}

static int read_back(struct source *source)
{
    struct crier_listen_options options = crier_listen_options_default();
    int rc = 0;
    options.from = CRIER_EARLIEST;
    options.released = on_released;
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = crier_listen(source->service->bus, source->topics[i].topic, &options, on_event,
                          &source->topics[i], &source->topics[i].listener);
    while (rc == 0 && atomic_load(&source->unread) > 0 && service_wait_turn(source->service, WAIT_MS))
        ;
    for (int i = 0; i < 3 && rc == 0; i++)
        crier_unlisten(source->topics[i].listener);
    return rc;
}

static int emit_markers(struct source *source)
{
    crier_header header = {SERVICE_MARKER, strlen(SERVICE_MARKER), source->marker, strlen(source->marker)};
    struct crier_emit_options options = crier_emit_options_default();
    int rc = 0;
    options.headers = &header;
    options.header_count = 1;
    for (int i = 0; i < 3; i++) {
        const struct read_back *topic = &source->topics[i];
        for (options.partition = 0; rc == 0 && options.partition < (int32_t)topic->partitions;
             options.partition++)
            rc = crier_emit_with(source->service->bus, topic->topic, NULL, 0, &options);
    }
    return rc == 0 ? service_flush(source->service) : rc;
}

/* ---- the lease ---- */

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    struct read_back *lease = ctx;
    (void)partition;
    if (given)
        atomic_store(&lease->source->leased, true);
    service_wake(lease->source->service);
}

static int on_lease_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    (void)ctx;
    return 0; /* nobody emits there */
}

static int take_lease(struct source *source)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = source->service->name;
    options.assigned = on_assigned;
    options.released = on_released;
    int rc =
        crier_listen(source->service->bus, LEASE_TOPIC, &options, on_lease_event, &source->topics[0], NULL);
    while (rc == 0 && !atomic_load(&source->leased) && service_wait_turn(source->service, WAIT_MS))
        ;
    return rc;
}

/* ---- all of it ---- */

struct source *source_open(struct service *service)
{
    struct source *source = calloc(1, sizeof(*source));
    if (source == NULL)
        err(1, "%s", service->name);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(source->marker, sizeof(source->marker), "%jd.%09ld.%d", (intmax_t)now.tv_sec, now.tv_nsec,
             (int)getpid());
    source->service = service;
    atomic_init(&source->unread, 3);
    source->topics[0] = (struct read_back){source, "orders.placed", SERVICE_PARTITIONS, take_order, 0, NULL};
    source->topics[1] =
        (struct read_back){source, "orders.cancelled", SERVICE_PARTITIONS, take_order, 0, NULL};
    source->topics[2] = (struct read_back){source, "orders.rejected", 1, take_rejected, 0, NULL};
    int rc = take_lease(source);
    if (rc == 0)
        rc = emit_markers(source);
    if (rc == 0)
        rc = read_back(source);
    if (rc < 0 && !service->stopping)
        service_fail(service, rc, crier_strerror(rc));
    return source;
}

void source_close(struct source *source)
{
    if (source)
        free(source->lines);
    free(source);
}
