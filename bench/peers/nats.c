/* nats.c: NATS core through libnats: publish, and subscriptions that are pushed to. Nothing is stored or confirmed.
 *
 * Thread:      main of each worker publishes or waits; libnats' threads read, write and call on_message.
 * Happy path:  subscribe -> flush -> ready -> publish everything -> flush (the server has read it).
 * Failures:    a lost connection: said, exit 1. A message that a full buffer dropped never comes: the run gives up, and
 *              counts it as lost. The buffers here have no limit. */
#include "bench/peers/nats_common.h"
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

static natsConnection *open_with(const struct bench *bench, bool asap)
{
    struct peer_address address = peer_address(bench);
    natsConnection *nats = NULL;
    natsOptions *options = NULL;
    char url[96];

    snprintf(url, sizeof(url), "nats://%s:%d", address.host, address.port);
    natsStatus rc = natsOptions_Create(&options);
    if (rc == NATS_OK)
        rc = natsOptions_SetURL(options, url);
    if (rc == NATS_OK)
        rc = natsOptions_SetSendAsap(options, asap);
    if (rc == NATS_OK)
        rc = natsConnection_Connect(&nats, options);
    natsOptions_Destroy(options);
    if (rc != NATS_OK)
        command_failed("nats: %s", natsStatus_GetText(rc));
    return nats;
}

natsConnection *nats_open(const struct bench *bench)
{
    return open_with(bench, false);
}

void nats_on_message(natsConnection *nats, natsSubscription *subscription, natsMsg *message, void *ctx)
{
    struct nats_receiver *receiver = ctx;

    (void)nats, (void)subscription;
    if (peer_note(receiver->bench, receiver->number, natsMsg_GetData(message),
                  (size_t)natsMsg_GetDataLength(message)))
        sem_post(&receiver->finished);
    natsMsg_Destroy(message);
}

void nats_wait(struct nats_receiver *receiver)
{
    while (sem_wait(&receiver->finished) < 0)
        ; /* a signal */
}

static int producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    natsConnection *nats = nats_open(bench);
    struct load load;
    int status = nats != NULL ? load_open(&load, bench, number) : STATUS_FAILED;

    if (status == STATUS_DONE && worker_ready(worker)) {
        natsStatus rc = NATS_OK;
        while (rc == NATS_OK && load_next(&load))
            rc = natsConnection_Publish(nats, bench->topic, load.value, (int)bench->options->event_size);
        if (rc == NATS_OK)
            rc = natsConnection_FlushTimeout(nats, 60000);
        load_acked(&load);
        if (rc != NATS_OK)
            status = command_failed("nats: publish: %s", natsStatus_GetText(rc));
    }
    if (nats != NULL) {
        load_close(&load);
        natsConnection_Destroy(nats);
    }
    return status;
}

/* ---- requests ---- */

static natsStatus ask(struct nats_flight *flight, const void *value, int size)
{
    natsMsg *reply = NULL;
    natsStatus rc = natsConnection_Request(&reply, flight->nats, flight->bench->topic, value, size, 10000);

    if (rc == NATS_OK && natsMsg_GetDataLength(reply) != size)
        rc = NATS_PROTOCOL_ERROR;
    natsMsg_Destroy(reply);
    return rc;
}

static int asker(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return nats_closed(bench, number, worker, ask);
}

/* Replies with what it got, and then notes it. */
static void on_request(natsConnection *nats, natsSubscription *subscription, natsMsg *message, void *ctx)
{
    natsConnection_Publish(nats, natsMsg_GetReply(message), natsMsg_GetData(message),
                           natsMsg_GetDataLength(message));
    nats_on_message(nats, subscription, message, ctx);
}

/* ---- listening ---- */

static int listen_with(const struct bench *bench, uint64_t number, struct worker *worker,
                       natsMsgHandler on_message, bool asap)
{
    struct nats_receiver receiver = {.bench = bench, .number = number};
    natsConnection *nats = open_with(bench, asap);
    natsSubscription *subscription = NULL;
    int status = STATUS_DONE;

    sem_init(&receiver.finished, 0, 0);
    natsStatus rc = nats != NULL
                        ? natsConnection_Subscribe(&subscription, nats, bench->topic, on_message, &receiver)
                        : NATS_NO_SERVER;
    if (rc == NATS_OK)
        rc = natsSubscription_SetPendingLimits(subscription, -1, -1);
    if (rc == NATS_OK)
        rc = natsConnection_Flush(nats);
    if (rc != NATS_OK)
        status = command_failed("nats: subscribe: %s", natsStatus_GetText(rc));
    else if (worker_ready(worker))
        nats_wait(&receiver);
    if (nats != NULL)
        natsConnection_FlushTimeout(nats, 10000); /* the last reply is on its way */
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(nats);
    return status;
}

static int listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listen_with(bench, number, worker, nats_on_message, false);
}

/* Replies leave at once, as libnats advises for them. Requests of several connections have no order. */
static int replier(const struct bench *bench, uint64_t number, struct worker *worker)
{
    int status = listen_with(bench, number, worker, on_request, true);
    for (uint64_t i = 0; i < bench->options->producers; i++)
        bench->results->listeners[number].histories[i].reordered = 0;
    return status;
}

static int prepare_nothing(struct bench *bench)
{
    (void)bench;
    return STATUS_DONE;
}

static const struct bench_workload e2e = {
    .name = "e2e", .prepare = prepare_nothing, .producer = producer, .listener = listener};
static const struct bench_workload request = {
    .name = "request", .prepare = prepare_nothing, .producer = asker, .listener = replier};
static const struct bench_workload *const workloads[] = {&e2e, &request, NULL};

const struct peer nats_peer = {
    .name = "nats", .about = "NATS core, nothing stored (libnats)", .workloads = workloads};
