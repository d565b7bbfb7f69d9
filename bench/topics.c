/* topics.c: is a producer as fast over a hundred thousand topics as over one?
 *
 *   crier_topics URL TOPICS [ROUNDS]                                                                              3 rounds
 *
 * Events of 100 B in batches of at most 4 KiB. First the topics are made, by one event in each. Then in turns: as many events
 * to one topic as to all; RUN of them in a row to each topic, which is what fills one batch, so that both ways the broker gets
 * batches of one size; and one event to each topic, again and again. In the end the broker is asked what it holds: every event
 * that was emitted, no more. Medians as one JSON object.
 *
 * One bus, its own thread; emits wait when the broker's grant is used up. */
#include "base/clock.h"

#include <crier/crier.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENT_SIZE = 100,
    BATCH_SIZE = 4096,
    RUN = 38,
    SINGLE_PASSES = 5,
    ROUNDS_MAX = 50,
    PATIENCE_MS = 600000
};

struct load {
    crier *bus;
    unsigned long topics, emitted;
    char (*names)[32];
};

static void emit(struct load *load, const char *topic)
{
    static const char value[EVENT_SIZE];
    int rc = crier_emit(load->bus, topic, value, sizeof(value));
    if (rc < 0)
        errx(1, "emit to %s: %s", topic, crier_strerror(rc));
    load->emitted++;
}

static void settle(struct load *load)
{
    int rc = crier_flush(load->bus, PATIENCE_MS);
    if (rc < 0)
        errx(1, "flush: %s", crier_strerror(rc));
}

static void names_make(struct load *load)
{
    load->names = calloc(load->topics, sizeof(load->names[0]));
    if (!load->names)
        err(1, "memory");
    for (unsigned long i = 0; i < load->topics; i++)
        (void)snprintf(load->names[i], sizeof(load->names[i]), "topics.%lu", i);
}

static void topics_make(struct load *load)
{
    for (unsigned long i = 0; i < load->topics; i++) {
        emit(load, load->names[i]);
        if (i % 1000 == 999)
            settle(load);
    }
    settle(load);
}

/* Events per second of `passes` over `topics` topics, `run` events in a row in each. */
static double flood(struct load *load, unsigned long topics, unsigned long run, unsigned long passes)
{
    int64_t began_us = clock_monotonic_us();
    for (unsigned long pass = 0; pass < passes; pass++)
        for (unsigned long topic = 0; topic < topics; topic++)
            for (unsigned long i = 0; i < run; i++)
                emit(load, load->names[topic]);
    settle(load);
    return (double)(topics * run * passes) * 1e6 / (double)(clock_monotonic_us() - began_us);
}

static void add_watermarks(void *ctx, const struct crier_topic_info *info)
{
    unsigned long *held = ctx;
    for (uint32_t i = 0; i < info->partition_count; i++)
        *held += info->partitions[i].high_watermark;
}

static void judge(const struct load *load)
{
    unsigned long held = 0;
    int rc = crier_topic_describe(load->bus, NULL, add_watermarks, &held);
    if (rc < 0)
        errx(1, "describe: %s", crier_strerror(rc));
    if (held != load->emitted)
        errx(1, "%lu events were acknowledged, and %lu are there", load->emitted, held);
}

static int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 3;
    struct load load = {.topics = argc > 2 ? strtoul(argv[2], NULL, 10) : 0};
    if (argc < 3 || load.topics == 0 || load.topics > 10000000 || rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "usage: crier_topics URL TOPICS [ROUNDS]");
    struct crier_options options = crier_options_default();
    options.emit_blocks = true;
    options.batch_size_max = BATCH_SIZE;
    int rc = crier_open(argv[1], &options, &load.bus);
    if (rc < 0)
        errx(1, "%s: %s", argv[1], crier_strerror(rc));
    names_make(&load);
    topics_make(&load);
    double one[ROUNDS_MAX], many[ROUNDS_MAX], single[ROUNDS_MAX], ratio[ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++) {
        one[i] = flood(&load, 1, load.topics * RUN, 1);
        many[i] = flood(&load, load.topics, RUN, 1);
        single[i] = flood(&load, load.topics, 1, SINGLE_PASSES);
        ratio[i] = many[i] / one[i];
        (void)fprintf(stderr, "    %u/%lu one topic %.0f, %lu topics %.0f, one event each %.0f events/s\n",
                      i + 1, rounds, one[i], load.topics, many[i], single[i]);
    }
    judge(&load);
    printf(
        "{\"topics\": %lu, \"one_topic\": %.0f, \"equal_fill\": %.0f, \"ratio\": %.2f, \"one_each\": %.0f}\n",
        load.topics, median(one, (unsigned)rounds), median(many, (unsigned)rounds),
        median(ratio, (unsigned)rounds), median(single, (unsigned)rounds));
    crier_close(load.bus);
    free(load.names);
    return 0;
}
