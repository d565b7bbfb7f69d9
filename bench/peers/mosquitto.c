/* mosquitto.c: MQTT with QoS 1 through libmosquitto.
 *
 * Thread:      main of each worker publishes or waits; libmosquitto's thread reads, writes and calls back.
 * Happy path:  subscribe -> SUBACK -> ready; publish, at most WINDOW without PUBACK.
 * Failures:    a connection that is refused or lost: said, exit 1.
 *
 * A PUBACK means that the broker has it in memory: its database is written by a timer. */
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <mosquitto.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 1000 /* messages without a PUBACK */
#define QOS    1

struct client {
    const struct bench *bench;
    uint64_t number;
    struct mosquitto *mqtt;
    sem_t ready;    /* connected and, if it listens, subscribed */
    sem_t finished; /* the last event has come */
    sem_t room;     /* a permit per message that may be under way */
};

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        ; /* a signal */
}

static void on_connect(struct mosquitto *mqtt, void *ctx, int code)
{
    struct client *client = ctx;
    (void)mqtt;
    if (code == 0)
        sem_post(&client->ready);
}

static void on_subscribe(struct mosquitto *mqtt, void *ctx, int id, int count, const int *granted)
{
    struct client *client = ctx;
    (void)mqtt, (void)id, (void)count, (void)granted;
    sem_post(&client->ready);
}

static void on_publish(struct mosquitto *mqtt, void *ctx, int id)
{
    struct client *client = ctx;
    (void)mqtt, (void)id;
    sem_post(&client->room);
}

static void on_message(struct mosquitto *mqtt, void *ctx, const struct mosquitto_message *message)
{
    struct client *client = ctx;
    (void)mqtt;
    if (peer_note(client->bench, client->number, message->payload, (size_t)message->payloadlen))
        sem_post(&client->finished);
}

static int client_open(struct client *client, const struct bench *bench, uint64_t number)
{
    struct peer_address address = peer_address(bench);

    *client = (struct client){.bench = bench, .number = number};
    sem_init(&client->ready, 0, 0);
    sem_init(&client->finished, 0, 0);
    sem_init(&client->room, 0, WINDOW);
    mosquitto_lib_init();
    client->mqtt = mosquitto_new(NULL, true, client);
    if (client->mqtt == NULL)
        return command_failed("mosquitto: out of memory");
    mosquitto_max_inflight_messages_set(client->mqtt, WINDOW);
    mosquitto_connect_callback_set(client->mqtt, on_connect);
    mosquitto_subscribe_callback_set(client->mqtt, on_subscribe);
    mosquitto_publish_callback_set(client->mqtt, on_publish);
    mosquitto_message_callback_set(client->mqtt, on_message);
    int rc = mosquitto_connect(client->mqtt, address.host, address.port, 60);
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_loop_start(client->mqtt);
    if (rc != MOSQ_ERR_SUCCESS)
        return command_failed("mosquitto: %s", mosquitto_strerror(rc));
    wait_for(&client->ready);
    return STATUS_DONE;
}

static void client_close(struct client *client)
{
    mosquitto_disconnect(client->mqtt);
    mosquitto_loop_stop(client->mqtt, false);
    mosquitto_destroy(client->mqtt);
}

static int publish_all(struct client *client, struct load *load, uint64_t window, bool timed)
{
    const struct bench *bench = client->bench;
    int rc = MOSQ_ERR_SUCCESS;

    for (uint64_t i = window; i < WINDOW; i++)
        wait_for(&client->room);
    while (rc == MOSQ_ERR_SUCCESS && load_next(load)) {
        int64_t emitted_us = timed ? clock_monotonic_us() : 0;
        wait_for(&client->room);
        rc = mosquitto_publish(client->mqtt, NULL, bench->topic, (int)bench->options->event_size, load->value,
                               QOS, false);
        if (timed && rc == MOSQ_ERR_SUCCESS) { /* one in flight: until its permit is back */
            wait_for(&client->room);
            sem_post(&client->room);
            peer_confirmed(load, emitted_us);
        }
    }
    for (uint64_t i = 0; i < window && rc == MOSQ_ERR_SUCCESS; i++)
        wait_for(&client->room);
    load_acked(load);
    return rc == MOSQ_ERR_SUCCESS ? STATUS_DONE : command_failed("mosquitto: %s", mosquitto_strerror(rc));
}

static int work(const struct bench *bench, uint64_t number, struct worker *worker, uint64_t window,
                bool timed)
{
    struct client client;
    struct load load;
    int status = client_open(&client, bench, number);

    if (status != STATUS_DONE || (status = load_open(&load, bench, number)) != STATUS_DONE)
        return status;
    if (worker_ready(worker))
        status = publish_all(&client, &load, window, timed);
    load_close(&load);
    client_close(&client);
    return status;
}

static int producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return work(bench, number, worker, WINDOW, false);
}

static int lone_producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    if (bench->options->connections != 1 || bench->options->in_flight != 1)
        return command_failed("mosquitto: emit has one connection with one message in flight");
    return work(bench, number, worker, 1, true);
}

static int listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    struct client client;
    int status = client_open(&client, bench, number);

    if (status != STATUS_DONE)
        return status;
    int rc = mosquitto_subscribe(client.mqtt, NULL, bench->topic, QOS);
    if (rc != MOSQ_ERR_SUCCESS)
        return command_failed("mosquitto: %s", mosquitto_strerror(rc));
    wait_for(&client.ready);
    if (worker_ready(worker))
        wait_for(&client.finished);
    client_close(&client);
    return STATUS_DONE;
}

static int prepare_nothing(struct bench *bench)
{
    (void)bench;
    return STATUS_DONE;
}

static const struct bench_workload e2e = {
    .name = "e2e", .prepare = prepare_nothing, .producer = producer, .listener = listener};
static const struct bench_workload emit = {
    .name = "emit", .prepare = prepare_nothing, .producer = lone_producer};
static const struct bench_workload *const workloads[] = {&e2e, &emit, NULL};

const struct peer mosquitto_peer = {
    .name = "mosquitto", .about = "MQTT, QoS 1 (libmosquitto)", .workloads = workloads};
