/* redis.c: Redis Streams through hiredis: XADD in a pipeline, XREAD in large counts.
 *
 * Thread:      main of each worker. The closed loop runs hiredis' asynchronous interface on a libevent loop, as crier's.
 * Happy path:  e2e: XADD, at most WINDOW unanswered -> XREAD BLOCK ... COUNT from the last id. replay: the same, from 0.
 * Failures:    an error reply, or a lost connection: said, exit 1.
 *
 * What a reply means is the server's configuration: appendfsync always answers after fsync, everysec before. */
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW     4096 /* XADDs without an answer; more did not help */
#define READ_COUNT "4096"

static redisContext *open_redis(const struct bench *bench)
{
    struct peer_address address = peer_address(bench);
    redisContext *redis = redisConnect(address.host, address.port);

    if (redis == NULL || redis->err != 0) {
        command_failed("redis: %s", redis != NULL ? redis->errstr : "out of memory");
        if (redis != NULL)
            redisFree(redis);
        return NULL;
    }
    return redis;
}

static int append(redisContext *redis, const struct load *load)
{
    const char *words[] = {"XADD", load->bench->topic, "*", "d", (const char *)load->value};
    const size_t sizes[] = {4, strlen(load->bench->topic), 1, 1, load->bench->options->event_size};
    return redisAppendCommandArgv(redis, 5, words, sizes) == REDIS_OK ? 0 : -1;
}

static int take_replies(redisContext *redis, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        redisReply *reply;
        if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
            return command_failed("redis: %s", redis->errstr);
        bool ok = reply->type == REDIS_REPLY_STRING;
        if (!ok)
            command_failed("redis: XADD: %s", reply->str);
        freeReplyObject(reply);
        if (!ok)
            return STATUS_FAILED;
    }
    return STATUS_DONE;
}

static int produce(redisContext *redis, struct load *load)
{
    uint64_t flying = 0;
    int status = STATUS_DONE;

    while (status == STATUS_DONE) {
        while (flying < WINDOW && (flying == 0 || load_is_due(load)) && load_next(load)) {
            if (append(redis, load) < 0)
                return command_failed("redis: %s", redis->errstr);
            flying++;
        }
        if (flying == 0)
            break;
        uint64_t some = flying < WINDOW / 2 ? flying : WINDOW / 2; /* the other half stays under way */
        status = take_replies(redis, some);
        flying -= some;
    }
    load_acked(load);
    return status;
}

static int producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    struct load load;
    redisContext *redis = open_redis(bench);
    int status = redis != NULL ? load_open(&load, bench, number) : STATUS_FAILED;

    if (status == STATUS_DONE) {
        if (worker_ready(worker))
            status = produce(redis, &load);
        load_close(&load);
    }
    if (redis != NULL)
        redisFree(redis);
    return status;
}

/* Notes the entries of one XREAD; returns whether the last event was among them. `last` becomes the last id. */
static bool note_entries(const struct bench *bench, uint64_t number, const redisReply *reply, char last[64])
{
    const redisReply *entries = reply->element[0]->element[1];
    bool finished = false;

    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *value = entries->element[i]->element[1]->element[1];
        finished |= peer_note(bench, number, value->str, value->len);
    }
    snprintf(last, 64, "%s", entries->element[entries->elements - 1]->element[0]->str);
    return finished;
}

static int consume(const struct bench *bench, uint64_t number, redisContext *redis)
{
    char last[64] = "0";
    bool finished = false;

    while (!finished) {
        redisReply *reply =
            redisCommand(redis, "XREAD COUNT " READ_COUNT " BLOCK 1000 STREAMS %s %s", bench->topic, last);
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
            command_failed("redis: XREAD: %s", reply != NULL ? reply->str : redis->errstr);
            freeReplyObject(reply);
            return STATUS_FAILED;
        }
        if (reply->type == REDIS_REPLY_ARRAY)
            finished = note_entries(bench, number, reply, last);
        freeReplyObject(reply);
    }
    return STATUS_DONE;
}

/* From the start of the stream, which is new: nothing can be missed. */
static int listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    redisContext *redis = open_redis(bench);
    int status = redis != NULL ? STATUS_DONE : STATUS_FAILED;

    if (status == STATUS_DONE && worker_ready(worker))
        status = consume(bench, number, redis);
    if (redis != NULL)
        redisFree(redis);
    return status;
}

/* ---- a closed loop over many connections ---- */

struct closed {
    struct load load;
    struct event_base *base;
    uint64_t flying;
    int status;
};

struct flight {
    struct closed *closed;
    redisAsyncContext *redis;
    int64_t emitted_us;
};

static void flight_emit(struct flight *flight);

static void on_reply(redisAsyncContext *redis, void *raw, void *ctx)
{
    struct flight *flight = ctx;
    struct closed *closed = flight->closed;
    const redisReply *reply = raw;

    closed->flying--;
    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        if (closed->status == STATUS_DONE)
            closed->status = command_failed("redis: %s", reply != NULL ? reply->str : redis->errstr);
    } else {
        peer_confirmed(&closed->load, flight->emitted_us);
        flight_emit(flight);
    }
    if (closed->flying == 0)
        event_base_loopbreak(closed->base);
}

static void flight_emit(struct flight *flight)
{
    struct closed *closed = flight->closed;
    struct load *load = &closed->load;

    if (closed->status != STATUS_DONE || !load_next(load))
        return;
    flight->emitted_us = clock_monotonic_us();
    redisAsyncCommand(flight->redis, on_reply, flight, "XADD %s * d %b", load->bench->topic, load->value,
                      load->bench->options->event_size);
    closed->flying++;
}

static int closed_open(struct closed *closed, struct flight *flights, uint64_t count)
{
    struct peer_address address = peer_address(closed->load.bench);
    uint64_t in_flight = closed->load.bench->options->in_flight;

    for (uint64_t i = 0; i < count; i++) {
        redisAsyncContext *redis = redisAsyncConnect(address.host, address.port);
        if (redis == NULL || redis->err != 0 || redisLibeventAttach(redis, closed->base) != REDIS_OK)
            return command_failed("redis: %s", redis != NULL ? redis->errstr : "out of memory");
        for (uint64_t k = 0; k < in_flight; k++)
            flights[i * in_flight + k] = (struct flight){.closed = closed, .redis = redis};
    }
    event_base_loop(closed->base, EVLOOP_NONBLOCK); /* the connections are made */
    return STATUS_DONE;
}

static int closed_producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    struct closed closed = {.base = event_base_new()};
    uint64_t connections = bench->options->connections, count = connections * bench->options->in_flight;
    struct flight *flights = calloc(count, sizeof(*flights));

    int status = load_open(&closed.load, bench, number);
    if (closed.base == NULL || flights == NULL)
        status = command_failed("out of memory");
    if (status == STATUS_DONE)
        status = closed_open(&closed, flights, connections);
    if (status == STATUS_DONE && worker_ready(worker)) {
        for (uint64_t i = 0; i < count; i++)
            flight_emit(&flights[i]);
        event_base_dispatch(closed.base);
        load_acked(&closed.load);
        status = closed.status;
    }
    exit(status); /* the connections, their replies and the loop go with the process */
}

/* ---- the table ---- */

static int prepare_nothing(struct bench *bench)
{
    (void)bench;
    return STATUS_DONE; /* the first XADD makes the stream */
}

static int fill(struct bench *bench)
{
    return bench_fill(bench, producer);
}

static int fill_backlog(struct bench *bench)
{
    return bench_fill_backlog(bench, producer);
}

static int stored(struct bench *bench, uint64_t *ret_count)
{
    redisContext *redis = open_redis(bench);
    redisReply *reply = redis != NULL ? redisCommand(redis, "XLEN %s", bench->topic) : NULL;
    bool ok = reply != NULL && reply->type == REDIS_REPLY_INTEGER;

    *ret_count = ok ? (uint64_t)reply->integer : 0;
    freeReplyObject(reply);
    if (redis != NULL)
        redisFree(redis);
    return ok ? STATUS_DONE : command_failed("redis: XLEN failed");
}

static const struct bench_workload e2e = {
    .name = "e2e", .prepare = prepare_nothing, .producer = producer, .listener = listener};
static const struct bench_workload emit = {
    .name = "emit", .prepare = prepare_nothing, .producer = closed_producer, .stored = stored};
static const struct bench_workload replay = {.name = "replay", .prepare = fill, .listener = listener};
static const struct bench_workload drain = {
    .name = "drain", .backlog = true, .prepare = fill_backlog, .producer = producer, .listener = listener};
static const struct bench_workload *const workloads[] = {&e2e, &emit, &replay, &drain, NULL};

const struct peer redis_peer = {.name = "redis", .about = "Redis Streams (hiredis)", .workloads = workloads};
