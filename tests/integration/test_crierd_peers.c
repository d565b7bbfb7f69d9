/* test_crierd_peers.c: what a real crierd bears of peers that speak to its socket byte by byte and keep to no manners: who asks
 * without end and reads nothing, and who goes on sending after it was told to go. */
#include "proto/crier.pb-c.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "tests/support/broker_fixture.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASKED      30000u       /* of one who does not read, 12 bytes each: one receive takes most of them */
#define TOPICS     30u          /* in each answer, with long names: 16 KiB */
#define MEMORY_MAX (256u << 10) /* KiB; the answers to all of them are twice as much */
#define FILLER     (16u << 20)  /* bytes that are not answered */
#define INPUT_SIZE (128u << 10)

struct wire {
    int fd;
    uint8_t input[INPUT_SIZE];
    size_t first, size; /* of what was received and not looked at */
};

static struct wire *wire_open(const struct broker *broker)
{
    struct wire *wire = calloc(1, sizeof(*wire));
    cr_assert_not_null(wire);
    wire->fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(broker_port(broker)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(connect(wire->fd, (const struct sockaddr *)&address, sizeof(address)), 0, "%s",
                 strerror(errno));
    return wire;
}

static void wire_close(struct wire *wire)
{
    close(wire->fd);
    free(wire);
}

static size_t frame_make(uint8_t *to, enum frame_kind kind, const ProtobufCMessage *header)
{
    size_t size = protobuf_c_message_get_packed_size(header);
    frame_prefix_encode(to, kind, size, 0);
    protobuf_c_message_pack(header, to + FRAME_PREFIX_SIZE);
    return FRAME_PREFIX_SIZE + size;
}

static void send_all(const struct wire *wire, const uint8_t *bytes, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t now = send(wire->fd, bytes + sent, size - sent, MSG_NOSIGNAL);
        cr_assert_gt(now, 0, "%s", strerror(errno));
        sent += (size_t)now;
    }
}

static void say(const struct wire *wire, enum frame_kind kind, const ProtobufCMessage *header)
{
    uint8_t bytes[1024];
    send_all(wire, bytes, frame_make(bytes, kind, header));
}

static struct frame frame_any(struct wire *wire)
{
    struct frame frame;
    int64_t used;
    while ((used = frame_decode(wire->input + wire->first, wire->size, FRAME_SIZE_MAX, &frame)) == 0) {
        memmove(wire->input, wire->input + wire->first, wire->size);
        wire->first = 0;
        ssize_t now = recv(wire->fd, wire->input + wire->size, sizeof(wire->input) - wire->size, 0);
        cr_assert_gt(now, 0, "the broker has closed: %s", now < 0 ? strerror(errno) : "");
        wire->size += (size_t)now;
    }
    cr_assert_gt(used, 0);
    wire->first += (size_t)used;
    wire->size -= (size_t)used;
    return frame;
}

/* The next one but PING: a busy machine may take longer than that waits. */
static struct frame frame_next(struct wire *wire)
{
    struct frame frame;
    while ((frame = frame_any(wire)).kind == FRAME_PING)
        continue;
    return frame;
}

static struct wire *wire_welcome(const struct broker *broker)
{
    struct wire *wire = wire_open(broker);
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.version = 1;
    say(wire, FRAME_HELLO, &hello.base);
    cr_assert_eq(frame_next(wire).kind, FRAME_WELCOME);
    return wire;
}

/* With names as long as they may be. */
static void topics_create(struct wire *wire)
{
    char name[256] = "", dead_letter[256] = "";
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    memset(dead_letter, 'd', 255);
    retry.dead_letter = dead_letter;
    for (unsigned i = 0; i < TOPICS; i++) {
        Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
        memset(name, 'a' + (int)(i % 26), 240 + i / 26);
        message.name = name;
        message.retry = &retry;
        say(wire, FRAME_TOPIC_CREATE, &message.base);
        cr_assert_eq(frame_next(wire).kind, FRAME_TOPICS);
    }
}

/* Frames of which nothing comes, so that the kernel learns how much is received here at a time. */
static void fill(struct wire *wire)
{
    uint8_t *bytes = malloc(FILLER);
    cr_assert_not_null(bytes);
    Wire__Unlisten nobody = WIRE__UNLISTEN__INIT;
    nobody.listener = 1;
    size_t size = 0;
    while (size + 64 < FILLER)
        size += frame_make(bytes + size, FRAME_UNLISTEN, &nobody.base);
    send_all(wire, bytes, size);
    free(bytes);
    Wire__Ping ping = WIRE__PING__INIT;
    say(wire, FRAME_PING, &ping.base);
    cr_assert_eq(frame_next(wire).kind, FRAME_PONG, "all of it has been read");
}

/* KiB of memory it has had at most. */
static unsigned long memory_peak(const struct broker *broker)
{
    char path[64], line[128];
    unsigned long peak = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)broker_pid(broker));
    FILE *status = fopen(path, "r");
    cr_assert_not_null(status);
    while (fgets(line, sizeof(line), status))
        if (sscanf(line, "VmHWM: %lu kB", &peak) == 1)
            break;
    fclose(status);
    cr_assert_gt(peak, 0);
    return peak;
}

static bool readable(const struct wire *wire, int ms)
{
    struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN};
    return poll(&poll_fd, 1, ms) == 1;
}

static uint64_t answered(struct wire *wire)
{
    struct frame frame = frame_next(wire);
    cr_assert_eq(frame.kind, FRAME_TOPICS);
    Wire__Topics *topics = wire__topics__unpack(NULL, frame.header_size, frame.header);
    cr_assert_not_null(topics);
    uint64_t request = topics->request;
    cr_assert_eq(topics->n_topics, TOPICS);
    wire__topics__free_unpacked(topics, NULL);
    return request;
}

/* What has come in one piece waits, too, once the answers that nobody reads are as many as a connection may have. */
Test(crierd_peers, who_asks_without_end_and_reads_nothing_costs_the_broker_no_more_than_one_connection_may)
{
    struct broker *broker = broker_start(NULL);
    cr_assert_not_null(broker);
    struct wire *wire = wire_welcome(broker);
    topics_create(wire);
    fill(wire);
    uint8_t *bytes = malloc(ASKED * 32u);
    cr_assert_not_null(bytes);
    size_t size = 0;
    for (uint32_t i = 1; i <= ASKED; i++) {
        Wire__TopicList message = WIRE__TOPIC_LIST__INIT;
        message.request = i;
        size += frame_make(bytes + size, FRAME_TOPIC_LIST, &message.base);
    }
    cr_assert_eq(kill(broker_pid(broker), SIGSTOP), 0); /* all of it is there when it looks */
    send_all(wire, bytes, size);
    cr_assert_eq(kill(broker_pid(broker), SIGCONT), 0);
    free(bytes);
    cr_assert(readable(wire, 60000), "the first answers are there");
    struct wire *other = wire_welcome(broker); /* answered in a later turn */
    cr_expect_lt(memory_peak(broker), MEMORY_MAX, "%lu KiB", memory_peak(broker));
    for (uint32_t i = 1; i <= ASKED; i++) /* and all of them are answered, in order */
        cr_assert_eq(answered(wire), i);
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
    cr_expect_lt(memory_peak(broker), MEMORY_MAX);
#endif
    wire_close(other);
    wire_close(wire);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* It was told, and our side has ended; a byte now and then does not hold the connection open. */
Test(crierd_peers, who_goes_on_sending_after_it_was_told_to_go_is_cut_off)
{
    struct broker *broker = broker_start(NULL);
    cr_assert_not_null(broker);
    struct wire *wire = wire_open(broker);
    send_all(wire, (const uint8_t *)"GET / HTTP/1.0\r\n\r\n", 18);
    cr_assert_eq(frame_next(wire).kind, FRAME_ERROR);
    bool cut = false;
    for (int i = 0; i < 200 && !cut; i++) { /* a minute */
        struct pollfd broken = {.fd = wire->fd};
        cut = poll(&broken, 1, 300) == 1 || send(wire->fd, "x", 1, MSG_NOSIGNAL) < 0;
    }
    cr_assert(cut, "it holds a descriptor for ever");
    wire_close(wire);
    cr_assert_eq(broker_destroy(broker), 0);
}
