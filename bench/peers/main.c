/* main.c: `bench_peer PRODUCT WORKLOAD`: crier's measurements, done to other products.
 *
 * Role:      finds the product's workload and hands it to tools/bench_run.c, which starts, watches, judges and reports it
 *            as it does crier's own.
 * Thread:    main.
 * Failures:  an unknown product or workload: what there is, exit 2. */
#include "bench/peers/peer.h"
#include "tools/command.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct peer *const peers[] = {&redis_peer,    &nats_peer,      &jetstream_peer,
                                           &rabbitmq_peer, &mosquitto_peer, &kafka_peer};

static const struct option_row rows[] = {
    BENCH_ROWS,
    BENCH_LISTENERS_ROW,
    {"connections", 'c', NULL, "N", "1", "Connections of each producer (emit).", options_uint64,
     offsetof(struct bench_options, connections)},
    {"in-flight", 'i', NULL, "N", "1", "Events in flight on each (emit); at a member (shared).",
     options_uint64, offsetof(struct bench_options, in_flight)},
    {"rate", 'r', NULL, "N", "0", "Emit so many a second, on time; 0: as fast as they are taken (e2e).",
     options_uint64, offsetof(struct bench_options, rate)},
};

struct peer_address peer_address(const struct bench *bench)
{
    struct peer_address address = {.port = 0};
    const char *colon = strrchr(bench->options->url, ':');

    if (colon != NULL) {
        snprintf(address.host, sizeof(address.host), "%.*s", (int)(colon - bench->options->url),
                 bench->options->url);
        address.port = (int)strtol(colon + 1, NULL, 10);
    }
    return address;
}

int load_open(struct load *load, const struct bench *bench, uint64_t number)
{
    *load = (struct load){.bench = bench,
                          .result = &bench->results->producers[number],
                          .number = number,
                          .share = bench_share(bench->options, number),
                          .sample = bench->sample_interval > 0 ? 0 : UINT64_MAX,
                          .value = malloc(bench->options->event_size)};
    if (load->value == NULL)
        return command_failed("out of memory");
    memset(load->value, 'e', bench->options->event_size);
    return STATUS_DONE;
}

/* When the next event should leave. Rates are of all producers together. */
static int64_t due_us(const struct load *load)
{
    const struct bench_options *options = load->bench->options;
    return load->result->started_us +
           (int64_t)((double)load->next * (double)options->producers * 1e6 / (double)options->rate);
}

bool load_is_due(const struct load *load)
{
    return load->bench->options->rate == 0 || load->next == 0 || clock_monotonic_us() >= due_us(load);
}

static void sleep_until(int64_t time_us)
{
    struct timespec time = {.tv_sec = time_us / 1000000, .tv_nsec = time_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
        ;
}

/* The time that the next event carries if it is sampled: now or, with a rate, when it is due, which is waited for. */
static int64_t next_time_us(struct load *load)
{
    if (load->next == 0)
        load->result->started_us = clock_monotonic_us();
    if (load->bench->options->rate == 0)
        return load->next == load->sample ? clock_monotonic_us() : 0;
    int64_t time_us = due_us(load);
    if (clock_monotonic_us() < time_us)
        sleep_until(time_us);
    return time_us;
}

bool load_next(struct load *load)
{
    if (load->next == load->share)
        return false;
    int64_t time_us = next_time_us(load);
    if (load->next == load->sample)
        load->sample += load->bench->sample_interval;
    else
        time_us = 0;
    bench_event_put(load->value, load->bench->run, load->number, load->next, time_us);
    load->next++;
    atomic_store_explicit(&load->result->emitted, load->next, memory_order_relaxed);
    return true;
}

void load_acked(struct load *load)
{
    load->result->acked_us = clock_monotonic_us();
}

void load_close(struct load *load)
{
    free(load->value);
}

bool peer_note(const struct bench *bench, uint64_t listener, const void *value, size_t size)
{
    return bench_listener_note(bench, &bench->results->listeners[listener], value, size, clock_monotonic_us);
}

void peer_confirmed(struct load *load, int64_t emitted_us)
{
    load->result->acked++;
    histogram_add(&load->result->latency_us, (uint64_t)(clock_monotonic_us() - emitted_us));
}

static int usage(const char *reason, FILE *out)
{
    if (reason != NULL)
        fprintf(out, "bench_peer: %s\n", reason);
    fputs("usage: bench_peer PRODUCT WORKLOAD --url HOST:PORT [OPTION]...\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        fprintf(out, "  %-10s  %s:", peers[i]->name, peers[i]->about);
        for (const struct bench_workload *const *workload = peers[i]->workloads; *workload != NULL;
             workload++)
            fprintf(out, " %s", (*workload)->name);
        fputc('\n', out);
    }
    fputs("\nOptions:\n", out);
    options_help(rows, ARRAY_SIZE(rows), out);
    return reason != NULL ? STATUS_USAGE : STATUS_DONE;
}

static const struct bench_workload *find(const char *product, const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        if (strcmp(peers[i]->name, product) != 0)
            continue;
        for (const struct bench_workload *const *workload = peers[i]->workloads; *workload != NULL;
             workload++) {
            if (strcmp((*workload)->name, name) == 0)
                return *workload;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct bench_options options = {0};
    char asked = 0, error[256];

    signal(SIGPIPE, SIG_IGN);
    if (argc >= 2 && strcmp(argv[1], "--help") == 0)
        return usage(NULL, stdout);
    const struct bench_workload *workload = argc >= 3 ? find(argv[1], argv[2]) : NULL;
    if (workload == NULL)
        return usage("name a product and one of its workloads", stderr);
    int first =
        options_parse(rows, ARRAY_SIZE(rows), argc - 2, argv + 2, &options, &asked, error, sizeof(error));
    if (first == -ECANCELED)
        return usage(NULL, stdout);
    if (first < 0)
        return usage(error, stderr);
    if (workload->listener == NULL)
        options.listeners = 0;
    if (options.url == NULL)
        return usage("--url HOST:PORT: where is the server?", stderr);
    const char *wrong = bench_complaint(&options);
    return wrong != NULL ? usage(wrong, stderr) : bench_run(&options, workload);
}
