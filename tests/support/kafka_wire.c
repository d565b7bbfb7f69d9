/* kafka_wire.c: Produce and Fetch over a blocking socket. See kafka_wire.h. */
#include "tests/support/kafka_wire.h"

#include "base/bytes.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define API_PRODUCE     0
#define API_FETCH       1
#define PRODUCE_VERSION 7
#define FETCH_VERSION   4
#define REQUEST_MAX     (1024 * 1024)
#define TIMEOUT_S       20

int kafka_wire_connect(struct kafka_wire *wire, const char *bootstrap)
{
    char host[256];
    const char *colon = strrchr(bootstrap, ':');
    if (!colon || (size_t)(colon - bootstrap) >= sizeof(host))
        return -1;
    snprintf(host, sizeof(host), "%.*s", (int)(colon - bootstrap), bootstrap);
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    wire->correlation = 0;
    wire->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    bool connected = wire->fd >= 0 &&
                     setsockopt(wire->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0 &&
                     setsockopt(wire->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) == 0 &&
                     connect(wire->fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (!connected && wire->fd >= 0)
        close(wire->fd);
    return connected ? 0 : -1;
}

void kafka_wire_close(struct kafka_wire *wire)
{
    close(wire->fd);
    wire->fd = -1;
}

/* ---- writing ---- */

static uint8_t *put16(uint8_t *to, int value)
{
    be16_put(to, (uint16_t)value);
    return to + 2;
}

static uint8_t *put32(uint8_t *to, int64_t value)
{
    be32_put(to, (uint32_t)value);
    return to + 4;
}

static uint8_t *put64(uint8_t *to, int64_t value)
{
    be64_put(to, (uint64_t)value);
    return to + 8;
}

static uint8_t *put_string(uint8_t *to, const char *text)
{
    size_t size = strlen(text);
    to = put16(to, (int)size);
    memcpy(to, text, size);
    return to + size;
}

/* The request's header; its length is filled in by send_request. */
static uint8_t *put_request(uint8_t *to, struct kafka_wire *wire, int api, int version)
{
    to = put16(to + 4, api);
    to = put16(to, version);
    to = put32(to, ++wire->correlation);
    return put_string(to, "crier-test");
}

static bool send_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, uint8_t *bytes, size_t size)
{
    return size == 0 || recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size;
}

/* Sends the request and receives its response into the same memory. Returns the response's size, without length and
 * correlation, which are checked; or -1. */
static int64_t exchange(struct kafka_wire *wire, uint8_t *bytes, const uint8_t *end)
{
    be32_put(bytes, (uint32_t)(end - bytes - 4));
    if (!send_all(wire->fd, bytes, (size_t)(end - bytes)) || !receive_all(wire->fd, bytes, 8))
        return -1;
    uint32_t size = be32_get(bytes);
    if (size < 4 || size > REQUEST_MAX || (int32_t)be32_get(bytes + 4) != wire->correlation)
        return -1;
    return receive_all(wire->fd, bytes, size - 4) ? (int64_t)size - 4 : -1;
}

/* Topics of one topic, partitions of one partition: returns what follows the partition's index, or NULL. */
static const uint8_t *only_partition(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 6 || be32_get(at) != 1)
        return NULL;
    size_t name_size = be16_get(at + 4);
    at += 6;
    if ((size_t)(end - at) < name_size + 8 || be32_get(at + name_size) != 1)
        return NULL;
    return at + name_size + 8;
}

/* ---- the two requests ---- */

int64_t kafka_wire_produce(struct kafka_wire *wire, const char *topic, int32_t partition,
                           const uint8_t *batch, size_t size)
{
    static uint8_t bytes[REQUEST_MAX];
    uint8_t *at = put_request(bytes, wire, API_PRODUCE, PRODUCE_VERSION);
    at = put16(at, -1);    /* no transaction */
    at = put16(at, -1);    /* acks: all */
    at = put32(at, 10000); /* timeout, ms */
    at = put32(at, 1);     /* topics */
    at = put_string(at, topic);
    at = put32(at, 1); /* partitions */
    at = put32(at, partition);
    at = put32(at, (int64_t)size);
    if (size > sizeof(bytes) - (size_t)(at - bytes))
        return -1;
    memcpy(at, batch, size);
    int64_t response = exchange(wire, bytes, at + size);
    const uint8_t *end = bytes + (response < 0 ? 0 : response), *found = only_partition(bytes, end);
    if (!found || end - found < 10 || be16_get(found) != 0)
        return -1;
    return (int64_t)be64_get(found + 2);
}

int64_t kafka_wire_fetch(struct kafka_wire *wire, const char *topic, int32_t partition, int64_t offset,
                         uint8_t *to, size_t capacity)
{
    static uint8_t bytes[REQUEST_MAX];
    uint8_t *at = put_request(bytes, wire, API_FETCH, FETCH_VERSION);
    at = put32(at, -1);              /* not a replica */
    at = put32(at, 1000);            /* wait, ms */
    at = put32(at, 1);               /* for so many bytes */
    at = put32(at, REQUEST_MAX / 2); /* and at most so many */
    *at++ = 0;                       /* read uncommitted */
    at = put32(at, 1);               /* topics */
    at = put_string(at, topic);
    at = put32(at, 1); /* partitions */
    at = put32(at, partition);
    at = put64(at, offset);
    at = put32(at, REQUEST_MAX / 2);
    int64_t response = exchange(wire, bytes, at);
    if (response < 4)
        return -1;
    /* throttle time, topics; of the partition: error, high watermark, last stable offset, aborted transactions, records */
    const uint8_t *end = bytes + response, *found = only_partition(bytes + 4, end);
    if (!found || end - found < 26 || be16_get(found) != 0 || (int32_t)be32_get(found + 18) > 0)
        return -1;
    int32_t size = (int32_t)be32_get(found + 22);
    if (size <= 0)
        return 0;
    if (size > end - found - 26 || (size_t)size > capacity)
        return -1;
    memcpy(to, found + 26, (size_t)size);
    return size;
}
