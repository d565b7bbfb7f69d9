/* limit_ends.c: the producer and the consumer of the bare pipeline, each a process of its own.
 *
 * Role:  per event they do what crier's ends do: the producer copies a value into a Kafka record in the batch, the
 *        consumer reads the record back, and checks its number.
 *
 * Happy path:  the broker's go -> batches, at most LIMIT_FLIGHT_BYTES beyond the acks -> the last ack | the last event.
 * Failures:    a peer that goes away, an event out of its turn: a sentence, status 1. */
#include "bench/limit.h"

#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define RECORD_OVERHEAD 24 /* more than the varints around a value need */

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

void read_all(int fd, void *to, size_t size)
{
    for (ssize_t n; size > 0; to = (uint8_t *)to + n, size -= (size_t)n) {
        n = recv(fd, to, size, MSG_WAITALL);
        if (n <= 0)
            errx(1, "the other end went away");
    }
}

void write_all(int fd, const void *from, size_t size)
{
    for (ssize_t n; size > 0; from = (const uint8_t *)from + n, size -= (size_t)n) {
        n = send(fd, from, size, MSG_NOSIGNAL);
        if (n < 0)
            err(1, "send");
    }
}

struct batch *batch_create(const struct limit_options *options)
{
    struct batch *batch = malloc(sizeof(*batch) + options->batch_size);
    if (batch == NULL)
        err(1, "a batch");
    batch->size = batch->count = 0;
    return batch;
}

/* ---- events ---- */

static uint8_t *varint_put(uint8_t *at, int64_t signed_value)
{
    uint64_t value = ((uint64_t)signed_value << 1) ^ (uint64_t)(signed_value >> 63);
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static const uint8_t *varint_get(const uint8_t *at, int64_t *ret_value)
{
    uint64_t value = 0;
    int shift = 0;
    for (; *at & 0x80; shift += 7)
        value |= (uint64_t)(*at++ & 0x7f) << shift;
    value |= (uint64_t)*at++ << shift;
    *ret_value = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    return at;
}

static size_t varint_size(int64_t value)
{
    uint8_t scratch[10];
    return (size_t)(varint_put(scratch, value) - scratch);
}

/* A record: length, attributes, timestamp delta, offset delta, no key, value, no headers. */
static void event_write(struct batch *batch, const uint8_t *value, size_t size)
{
    size_t body = 4 + varint_size(batch->count) + varint_size((int64_t)size) + size;
    uint8_t *start = batch->records + batch->size, *at = varint_put(start, (int64_t)body);
    *at++ = 0;
    at = varint_put(at, 0);
    at = varint_put(at, batch->count);
    at = varint_put(at, -1);
    at = varint_put(at, (int64_t)size);
    memcpy(at, value, size);
    at += size;
    *at++ = 0;
    batch->size += (uint32_t)(at - start);
    batch->count++;
}

/* Walks the records; each value starts with its number, which must be the next. Returns how many there were. */
static uint64_t events_read(const struct batch *batch, uint64_t next)
{
    const uint8_t *at = batch->records, *end = at + batch->size;
    uint64_t count = 0;
    while (at < end) {
        int64_t body, delta_ms, delta, key, size;
        uint64_t number;
        const uint8_t *start = varint_get(at, &body);
        at = varint_get(start + 1, &delta_ms);
        at = varint_get(at, &delta);
        at = varint_get(at, &key);
        at = varint_get(at, &size);
        memcpy(&number, at, sizeof(number));
        at = start + body;
        if (number != next + count || delta != (int64_t)count || key != -1 || size < 8)
            errx(1, "event %ju came as %ju", (uintmax_t)(next + count), (uintmax_t)number);
        count++;
    }
    return count;
}

/* ---- processes ---- */

static int connect_as(char role, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        err(1, "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    write_all(fd, &role, 1);
    return fd;
}

_Noreturn void limit_produce(const struct limit_options *options, uint16_t port, struct limit_times *times)
{
    int fd = connect_as('p', port);
    struct batch *batch = batch_create(options);
    uint8_t *value = calloc(1, options->event_size);
    uint64_t sent = 0, acked = 0; /* batches' bytes */
    char go;

    if (value == NULL)
        err(1, "a value");
    read_all(fd, &go, 1); /* everybody is there */
    times->start_us = now_us();
    for (uint64_t i = 0; i < options->events; i++) {
        memcpy(value, &i, sizeof(i));
        event_write(batch, value, options->event_size);
        if (batch->size + options->event_size + RECORD_OVERHEAD <= options->batch_size &&
            i + 1 < options->events)
            continue;
        write_all(fd, &batch->size, BATCH_HEADER + batch->size);
        sent += batch->size;
        batch->size = batch->count = 0;
        while (sent - acked > LIMIT_FLIGHT_BYTES || (i + 1 == options->events && acked < sent))
            read_all(fd, &acked, sizeof(acked));
    }
    exit(0);
}

_Noreturn void limit_consume(const struct limit_options *options, uint16_t port, struct limit_times *times)
{
    int fd = connect_as('c', port);
    struct batch *batch = batch_create(options);
    for (uint64_t seen = 0; seen < options->events;) {
        read_all(fd, &batch->size, BATCH_HEADER);
        read_all(fd, batch->records, batch->size);
        seen += events_read(batch, seen);
    }
    times->end_us = now_us();
    exit(0);
}
