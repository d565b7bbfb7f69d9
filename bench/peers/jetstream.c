/* jetstream.c: NATS JetStream through libnats: a file stream of one replica, published to asynchronously with acks,
 * read by an ordered push consumer.
 *
 * Thread:      main of each worker publishes or waits; the closed loop is nats_closed.c's. libnats' own threads read and
 *              write.
 * Happy path:  prepare makes the stream; publish, at most WINDOW without ack -> PublishAsyncComplete.
 * Failures:    an ack that is an error: said, exit 1.
 *
 * An ack means that the server has written it to the page cache: it syncs by a timer (its default, 2 minutes). */
#include "bench/peers/nats_common.h"
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#define WINDOW 4096 /* publishes without an ack */

static int fail(const char *what, natsStatus rc)
{
    return command_failed("jetstream: %s: %s", what, natsStatus_GetText(rc));
}

/* A stream's name may hold no dots. */
static void stream_name(const struct bench *bench, char to[BENCH_TOPIC_SIZE])
{
    size_t i = 0;
    for (; bench->topic[i] != '\0'; i++)
        to[i] = bench->topic[i] == '.' ? '-' : bench->topic[i];
    to[i] = '\0';
}

static int prepare(struct bench *bench)
{
    char name[BENCH_TOPIC_SIZE];
    const char *subjects[] = {bench->topic};
    natsConnection *nats = nats_open(bench);
    jsStreamConfig config;
    jsCtx *js = NULL;

    if (nats == NULL)
        return STATUS_FAILED;
    stream_name(bench, name);
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    natsStatus rc = natsConnection_JetStream(&js, nats, NULL);
    if (rc == NATS_OK)
        rc = js_AddStream(NULL, js, &config, NULL, NULL);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nats);
    nats_CloseAndWait(0); /* its threads have ended: from here on it is safe to fork */
    return rc == NATS_OK ? STATUS_DONE : fail("cannot make the stream", rc);
}

static int publish_all(jsCtx *js, struct load *load)
{
    const struct bench *bench = load->bench;
    natsStatus rc = NATS_OK;

    while (rc == NATS_OK && load_next(load))
        rc = js_PublishAsync(js, bench->topic, load->value, (int)bench->options->event_size, NULL);
    if (rc == NATS_OK)
        rc = js_PublishAsyncComplete(js, &(jsPubOptions){.MaxWait = 60000});
    load_acked(load);
    return rc == NATS_OK ? STATUS_DONE : fail("publish", rc);
}

static int producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    natsConnection *nats = nats_open(bench);
    struct load load;
    jsOptions options;
    jsCtx *js = NULL;

    if (nats == NULL || load_open(&load, bench, number) != STATUS_DONE)
        return STATUS_FAILED;
    jsOptions_Init(&options);
    options.PublishAsync.MaxPending = WINDOW;
    options.PublishAsync.StallWait = 60000;
    natsStatus rc = natsConnection_JetStream(&js, nats, &options);
    int status = rc == NATS_OK ? STATUS_DONE : fail("open", rc);
    if (status == STATUS_DONE && worker_ready(worker))
        status = publish_all(js, &load);
    load_close(&load);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nats);
    return status;
}

static int subscribe(jsCtx *js, struct nats_receiver *receiver, natsSubscription **ret_subscription)
{
    jsSubOptions options;

    jsSubOptions_Init(&options);
    options.Ordered = true;
    options.Config.DeliverPolicy = js_DeliverAll;
    natsStatus rc = js_Subscribe(ret_subscription, js, receiver->bench->topic, nats_on_message, receiver,
                                 NULL, &options, NULL);
    if (rc == NATS_OK)
        rc = natsSubscription_SetPendingLimits(*ret_subscription, -1, -1);
    return rc == NATS_OK ? STATUS_DONE : fail("subscribe", rc);
}

/* replaying: it subscribes only when the clock runs. */
static int listen_from(const struct bench *bench, uint64_t number, struct worker *worker, bool replaying)
{
    struct nats_receiver receiver = {.bench = bench, .number = number};
    natsConnection *nats = nats_open(bench);
    natsSubscription *subscription = NULL;
    jsCtx *js = NULL;

    sem_init(&receiver.finished, 0, 0);
    if (nats == NULL)
        return STATUS_FAILED;
    natsStatus rc = natsConnection_JetStream(&js, nats, NULL);
    int status = rc == NATS_OK ? STATUS_DONE : fail("open", rc);
    if (status == STATUS_DONE && !replaying)
        status = subscribe(js, &receiver, &subscription);
    if (status == STATUS_DONE && worker_ready(worker)) {
        if (replaying)
            status = subscribe(js, &receiver, &subscription);
        if (status == STATUS_DONE)
            nats_wait(&receiver);
    }
    natsSubscription_Destroy(subscription);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nats);
    return status;
}

static int listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listen_from(bench, number, worker, false);
}

static int replay_listener(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listen_from(bench, number, worker, true);
}

static natsStatus publish_one(struct nats_flight *flight, const void *value, int size)
{
    return js_Publish(NULL, flight->js, flight->bench->topic, value, size, NULL, NULL);
}

static int closed_producer(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return nats_closed(bench, number, worker, publish_one);
}

static int fill(struct bench *bench)
{
    int status = prepare(bench);
    return status == STATUS_DONE ? bench_fill(bench, producer) : status;
}

static int fill_backlog(struct bench *bench)
{
    int status = prepare(bench);
    return status == STATUS_DONE ? bench_fill_backlog(bench, producer) : status;
}

static int stored(struct bench *bench, uint64_t *ret_count)
{
    char name[BENCH_TOPIC_SIZE];
    natsConnection *nats = nats_open(bench);
    jsStreamInfo *info = NULL;
    jsCtx *js = NULL;

    stream_name(bench, name);
    natsStatus rc = nats != NULL ? natsConnection_JetStream(&js, nats, NULL) : NATS_NO_SERVER;
    if (rc == NATS_OK)
        rc = js_GetStreamInfo(&info, js, name, NULL, NULL);
    *ret_count = rc == NATS_OK ? info->State.Msgs : 0;
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nats);
    return rc == NATS_OK ? STATUS_DONE : fail("stream info", rc);
}

static const struct bench_workload e2e = {
    .name = "e2e", .prepare = prepare, .producer = producer, .listener = listener};
static const struct bench_workload emit = {
    .name = "emit", .prepare = prepare, .producer = closed_producer, .stored = stored};
static const struct bench_workload replay = {.name = "replay", .prepare = fill, .listener = replay_listener};
static const struct bench_workload drain = {.name = "drain",
                                            .backlog = true,
                                            .prepare = fill_backlog,
                                            .producer = producer,
                                            .listener = replay_listener};
static const struct bench_workload *const workloads[] = {&e2e, &emit, &replay, &drain, NULL};

const struct peer jetstream_peer = {
    .name = "jetstream", .about = "NATS JetStream, file storage (libnats)", .workloads = workloads};
