/* service.c: see service.h. Everything a service says to crier is in this file.
 *
 * Happy path:  topics, listeners -> "ready" -> on_event for each -> end of the run, group at the end -> close -> report.
 * Failures:    the first one is kept, told on standard error, and becomes status 1. A broker that is away is none: what
 *              the services ask is asked again. */
#include "service.h"

#include <crier/atomic.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define REPORT_INTERVAL_MS 200
#define END_INTERVAL_MS    50   /* between looks at the group, once the run has ended */
#define REQUEST_TIMEOUT_MS 2000 /* a signal waits so long, if the broker is away */

static const char *const order_topics[] = {"orders.placed", "orders.cancelled"};

int64_t service_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void wake(struct service *service)
{
    uint64_t one = 1;
    if (write(service->wake_fd, &one, sizeof(one)) < 0)
        abort(); /* an eventfd takes 2^64 - 2 of these */
}

void service_fail(struct service *service, int code, const char *text)
{
    int none = 0;
    fprintf(stderr, "%s: %s\n", service->name, text);
    atomic_compare_exchange_strong(&service->failure, &none, code);
    wake(service);
}

/* ---- opening ---- */

/* Where the value of an option goes; NULL: there is no such option, or it has no value. */
static const char **option_place(struct service *service, const char *name)
{
    const struct {
        const char *name, **place;
    } rows[] = {{"--url", &service->url},
                {"--dir", &service->directory},
                {"--run", &service->run},
                {"--data", &service->data}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].place;
    return NULL;
}

/* Without getopt, whose state is the process's: services may be threads of one program (in_one_process.c). */
static void parse(struct service *service, int argc, char **argv)
{
    service->url = "crier://127.0.0.1:27437";
    service->directory = ".";
    service->run = "";
    for (int i = 1; i < argc; i++) {
        const char **place = option_place(service, argv[i]);
        if (strcmp(argv[i], "--hold") == 0)
            service->held = true;
        else if (place && i + 1 < argc)
            *place = argv[++i];
        else if (strcmp(argv[i], "--spread") == 0 && i + 1 < argc)
            service->spread_ms = atoi(argv[++i]);
        else if (strcmp(argv[i], "--stop-fd") == 0 && i + 1 < argc)
            service->stop_fd = atoi(argv[++i]);
        else
            errx(2,
                 "usage: %s [--url URL] [--dir DIR] [--run NAME] [--data FILE] [--hold] [--spread MS] "
                 "[--stop-fd FD]",
                 argv[0]);
    }
}

/* Signals become descriptors, for the main thread at a time it chooses. */
static void take_signals(struct service *service)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (service->stop_fd < 0) {
        if (crier_shutdown_open(NULL, &service->shutdown) < 0)
            err(1, "%s: signals", service->name);
        service->stop_fd = crier_shutdown_fd(service->shutdown);
    }
    service->hold_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    service->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (service->hold_fd < 0 || service->wake_fd < 0)
        err(1, "%s: a descriptor", service->name);
}

/* There is room for events again. */
static void on_drain(crier *bus, void *ctx)
{
    (void)bus;
    wake(ctx);
}

/* No answer, or none that is known: worth asking again. */
static bool is_away(int code)
{
    return code == CRIER_ETIMEDOUT || code == CRIER_EUNKNOWN || code == CRIER_ECONNECT;
}

static void create_topic(struct service *service, const char *topic, uint32_t partitions)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = partitions};
    int rc;
    while (is_away(rc = crier_topic_create(service->bus, topic, &options)) && service_turn(service))
        ;
    if (rc < 0 && rc != CRIER_EEXIST)
        errx(1, "%s: topic %s: %s", service->name, topic, crier_strerror(rc));
}

static void service_begin(struct service *service, const char *name, void *state, int argc, char **argv)
{
    *service = (struct service){.name = name, .state = state, .percent = -1, .stop_fd = -1};
    pthread_mutex_init(&service->mutex, NULL);
    parse(service, argc, argv);
    take_signals(service);
}

static void bus_open(struct service *service, const char *producer_name)
{
    struct crier_options options = crier_options_default();
    options.name = service->name;
    options.producer_name = producer_name;
    options.request_timeout_ms = REQUEST_TIMEOUT_MS;
    options.drain = on_drain;
    options.ctx = service;
    int rc = crier_open(service->url, &options, &service->bus);
    if (rc < 0)
        errx(1, "%s: %s: %s", service->name, service->url, crier_strerror(rc));
    for (size_t i = 0; i < sizeof(order_topics) / sizeof(order_topics[0]); i++)
        create_topic(service, order_topics[i], SERVICE_PARTITIONS);
    create_topic(service, "orders.rejected", 1);
    create_topic(service, "stock.low", 1);
    create_topic(service, SERVICE_END_TOPIC, 1);
}

void service_open_source(struct service *service, const char *name, void *state, int argc, char **argv)
{
    char producer_name[256];
    service_begin(service, name, state, argc, argv);
    snprintf(producer_name, sizeof(producer_name), "%s:%s", name, service->run);
    bus_open(service, producer_name);
    int rc = crier_source_position(service->bus, &service->source_position);
    if (rc < 0)
        errx(1, "%s: %s: %s", name, producer_name, crier_strerror(rc));
}

/* ---- listening ---- */

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct service_listener *listener = ctx;
    struct service *service = listener->service;
    struct order order;
    (void)bus;

    atomic_fetch_add(&service->in, 1);
    if (order_from_json(event->value, event->value_size, &order) < 0) {
        fprintf(stderr, "%s: %s/%" PRIu32 "@%" PRIu64 " is no order; skipped\n", service->name, event->topic,
                event->partition, event->offset);
        atomic_fetch_add(&service->failed, 1);
        return 0;
    }
    int rc = listener->handler(service, event, &order);
    order_clear(&order);
    return rc;
}

static int on_end(crier *bus, const crier_event *event, void *ctx)
{
    struct service *service = ((struct service_listener *)ctx)->service;
    (void)bus;
    if (event->value_size == strlen(service->run) &&
        memcmp(event->value, service->run, event->value_size) == 0) {
        atomic_store(&service->run_ended, true);
        wake(service);
    }
    return 0;
}

static void on_listening(void *ctx)
{
    struct service_listener *listener = ctx;
    atomic_store(&listener->listening, true);
    wake(listener->service);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct service_listener *listener = ctx;
    pthread_mutex_lock(&listener->service->mutex);
    listener->listener = NULL;
    pthread_mutex_unlock(&listener->service->mutex);
    if (code < 0)
        service_fail(listener->service, code, text ? text : crier_strerror(code));
}

/* group NULL: every event for itself, not only a share of them */
static int listen_to(struct service *service, const char *topic, const char *group, crier_handler *on,
                     service_handler *handler)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct service_listener *listener = &service->listeners[service->listener_count++];

    *listener = (struct service_listener){.service = service, .handler = handler};
    options.group = group;
    options.from = CRIER_EARLIEST;
    options.listening = on_listening;
    options.released = on_released;
    int rc = crier_listen(service->bus, topic, &options, on, listener, &listener->listener);
    if (rc < 0) {
        listener->listener = NULL;
        service_fail(service, rc, crier_strerror(rc));
    }
    return rc;
}

void service_open(struct service *service, const char *name, void *state, int argc, char **argv)
{
    service_begin(service, name, state, argc, argv);
    bus_open(service, NULL);
    listen_to(service, SERVICE_END_TOPIC, NULL, on_end,
              NULL); /* first: whoever hears orders hears their end */
}

int service_on(struct service *service, const char *topic, service_handler *handler)
{
    return listen_to(service, topic, service->name, on_event, handler);
}

/* ---- reporting and waiting ---- */

static uint64_t lag(struct service *service)
{
    struct crier_listener_stats stats;
    uint64_t sum = 0;
    if (service->bus == NULL)
        return service->lag;
    pthread_mutex_lock(&service->mutex);
    for (int i = 0; i < service->listener_count; i++) {
        crier_listener *listener = service->listeners[i].handler ? service->listeners[i].listener : NULL;
        if (listener && crier_listener_stats(listener, &stats) == 0)
            sum += stats.lag;
    }
    pthread_mutex_unlock(&service->mutex);
    return sum;
}

static bool all_listening(struct service *service)
{
    for (int i = 0; i < service->listener_count; i++) {
        if (!atomic_load(&service->listeners[i].listening))
            return false;
    }
    return true;
}

static void print_line(struct service *service, const char *state, json_t *totals)
{
    json_t *line = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:i}", "service", service->name, "state",
                             state, "in", (json_int_t)service->in, "out", (json_int_t)service->out, "failed",
                             (json_int_t)service->failed, "repeated", (json_int_t)service->repeated, "lag",
                             (json_int_t)lag(service), "percent", service->percent);
    if (totals)
        json_object_set_new(line, "totals", totals);
    flockfile(stdout); /* a line is one service's, also where several share a process */
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
    json_decref(line);
    service->reported_ms = service_now_ms();
}

static void look_around(struct service *service)
{
    struct pollfd stop = {service->stop_fd, POLLIN, 0};
    struct signalfd_siginfo info;
    uint64_t wakes;
    if (poll(&stop, 1, 0) > 0)
        service->stopping = true;
    while (read(service->hold_fd, &info, sizeof(info)) > 0)
        service->held = false;
    while (read(service->wake_fd, &wakes, sizeof(wakes)) > 0)
        ;
}

bool service_turn(struct service *service)
{
    look_around(service);
    if (service_now_ms() - service->reported_ms >= REPORT_INTERVAL_MS)
        print_line(service, "working", NULL);
    return !service->stopping && atomic_load(&service->failure) == 0;
}

bool service_wait_turn(struct service *service, int timeout_ms)
{
    struct pollfd fds[] = {
        {service->stop_fd, POLLIN, 0}, {service->hold_fd, POLLIN, 0}, {service->wake_fd, POLLIN, 0}};
    poll(fds, 3, timeout_ms);
    return service_turn(service);
}

/* ---- emitting ---- */

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct service *service = ctx;
    (void)bus;
    (void)offset;
    if (code == 0) {
        atomic_fetch_add(&service->out, 1);
        return;
    }
    atomic_fetch_add(&service->failed, 1);
    service_fail(service, code, crier_strerror(code));
}

/* Once for each try. position 0: an event for itself. */
static int try_emit(struct service *service, const struct crier_atomic_event *event, uint64_t position)
{
    struct crier_emit_options alone = *event->options;
    struct crier_atomic_options step = crier_atomic_options_default();
    if (position == 0) {
        alone.done = on_emitted;
        alone.ctx = service;
        return crier_emit_with(service->bus, event->topic, event->value, event->value_size, &alone);
    }
    step.source_position = position;
    step.done = on_emitted;
    step.ctx = service;
    return crier_emit_atomic(service->bus, event, 1, &step);
}

static int emit_waiting(struct service *service, const struct crier_atomic_event *event, uint64_t position)
{
    int rc;
    while ((rc = try_emit(service, event, position)) == CRIER_EAGAIN) {
        if (!service_wait_turn(service, REPORT_INTERVAL_MS)) /* drain, or a signal */
            return rc;
    }
    if (rc < 0)
        service_fail(service, rc, crier_strerror(rc));
    return rc;
}

/* When it is told. A bus that keeps nothing gives an event no time of its own. */
static int64_t time_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int service_emit_step(struct service *service, uint64_t position, const char *topic, const char *key,
                      const char *value, size_t value_size)
{
    struct crier_emit_options options = crier_emit_options_default();
    options.key = key;
    options.key_size = strlen(key);
    options.timestamp_ms = time_ms();
    return emit_waiting(service, &(struct crier_atomic_event){topic, value, value_size, &options}, position);
}

int service_emit(struct service *service, const char *topic, const char *key, const char *value,
                 size_t value_size)
{
    return service_emit_step(service, 0, topic, key, value, value_size);
}

/* Waits until everything emitted has an outcome; a broker that is away is waited for, until a signal comes. */
static int flush(struct service *service)
{
    int rc;
    while ((rc = crier_flush(service->bus, REPORT_INTERVAL_MS)) == CRIER_ETIMEDOUT && service_turn(service))
        ;
    return rc;
}

int service_end_run(struct service *service)
{
    struct crier_emit_options options = crier_emit_options_default();
    while (service->held && service_wait_turn(service, REPORT_INTERVAL_MS))
        ;
    int rc = flush(service);
    if (rc == 0)
        rc = crier_emit_with(service->bus, SERVICE_END_TOPIC, service->run, strlen(service->run), &options);
    if (rc == 0)
        rc = flush(service);
    service->done = rc == 0;
    if (rc < 0 && !service->stopping)
        service_fail(service, rc, crier_strerror(rc));
    return rc;
}

/* ---- the end ---- */

static void look_at_positions(void *ctx, const struct crier_group_info *info)
{
    bool *at_end = ctx;
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct crier_group_partition *partition = &info->partitions[i];
        if (partition->position < partition->high_watermark)
            *at_end = false;
    }
}

/* The run has ended, and nothing of it is left to do, for no instance. False also if the broker is away. */
static bool all_handled(struct service *service)
{
    bool at_end = atomic_load(&service->run_ended);
    for (size_t i = 0; at_end && i < sizeof(order_topics) / sizeof(order_topics[0]); i++) {
        int rc =
            crier_group_describe(service->bus, service->name, order_topics[i], look_at_positions, &at_end);
        if (rc < 0 && !is_away(rc))
            service_fail(service, rc, crier_strerror(rc));
        at_end = at_end && rc == 0;
    }
    return at_end;
}

void service_wait(struct service *service)
{
    bool ready = false;

    for (bool more = service_turn(service); more && !service->done;) {
        if (!ready && all_listening(service)) {
            print_line(service, "ready", NULL);
            ready = true;
        }
        service->done = ready && all_handled(service);
        if (!service->done)
            more = service_wait_turn(service,
                                     atomic_load(&service->run_ended) ? END_INTERVAL_MS : REPORT_INTERVAL_MS);
    }
}

static int close_bus(void *ctx)
{
    struct service *service = ctx;
    int64_t round_trip_us;
    crier_ping(service->bus,
               &round_trip_us); /* when it is back, the bus's thread has left the last handler */
    service->lag = lag(service);
    int rc = crier_close(service->bus);
    if (rc < 0)
        service_fail(service, rc, crier_strerror(rc));
    service->bus = NULL;
    return rc;
}

void service_close(struct service *service)
{
    if (service->shutdown == NULL ||
        crier_shutdown_add(service->shutdown, "close the bus", close_bus, service) < 0)
        close_bus(service);
    crier_shutdown_close(service->shutdown);
}

int service_report(struct service *service, json_t *totals)
{
    bool complete = service->done && atomic_load(&service->failure) == 0;
    print_line(service, complete ? "done" : "stopped", totals);
    close(service->hold_fd);
    close(service->wake_fd);
    pthread_mutex_destroy(&service->mutex);
    return atomic_load(&service->failure) == 0 ? 0 : 1;
}
