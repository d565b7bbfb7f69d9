/* bench_check.c: the history of a measurement: each event noted as it comes, and all of it summed up. See bench.h.
 *
 * Thread:    bench_listener_note() the one that receives; bench_sum() the parent's, when the workers have ended.
 * Failures:  none: an event that is not of this run is counted as a stranger, so it never fills another's place. */
#include "tools/bench.h"

bool bench_listener_note(const struct bench *bench, struct bench_listener *result, const void *value,
                         size_t size, int64_t (*now_us)(void))
{
    if (size != bench->options->event_size) {
        result->strangers++;
        return false;
    }
    uint64_t word = le64_get(value), sent_us = le64_get((const uint8_t *)value + 8);
    uint64_t producer = word >> 40 & 0xff, sequence = word & (BENCH_EVENTS_MAX - 1);
    if (word >> 48 != bench->run || producer >= bench->options->producers ||
        sequence >= bench_share(bench->options, producer)) {
        result->strangers++;
        return false;
    }
    if (bench->group != NULL ? !bench_group_note(bench, producer, sequence, now_us)
                             : !history_note(&result->histories[producer], sequence))
        return false;
    if (sent_us != 0)
        histogram_add(&result->latency_us, (uint64_t)now_us() - sent_us);

    uint64_t received = atomic_load_explicit(&result->received, memory_order_relaxed) + 1;
    atomic_store_explicit(&result->received, received, memory_order_relaxed);
    if (bench->group != NULL)
        return bench_group_finished(bench);
    if (received != bench->options->events)
        return false;
    result->finished_us = now_us();
    return true;
}

static void sum_listener(const struct bench *bench, const struct bench_listener *listener,
                         struct bench_summary *sum)
{
    sum->received += atomic_load(&listener->received);
    sum->strangers += listener->strangers;
    histogram_merge(&sum->latency_us, &listener->latency_us);
    for (uint64_t producer = 0; bench->group == NULL && producer < bench->options->producers; producer++) {
        const struct history *history = &listener->histories[producer];
        sum->lost += history_lost(history, bench_share(bench->options, producer));
        sum->duplicated += history->duplicated;
        sum->reordered += history->reordered;
    }
}

/* From the first emit, or from the start if nobody emits, to the last thing that happened. */
static int64_t elapsed_us(const struct bench *bench, int64_t end_us)
{
    int64_t first_us = INT64_MAX, last_us = 0;

    for (uint64_t i = 0; i < bench->options->producers; i++) {
        const struct bench_producer *producer = &bench->results->producers[i];
        int64_t acked_us = producer->acked_us != 0 ? producer->acked_us : end_us;
        if (producer->started_us == 0)
            continue;
        first_us = producer->started_us < first_us ? producer->started_us : first_us;
        last_us = acked_us > last_us ? acked_us : last_us;
    }
    if (first_us == INT64_MAX)
        first_us = bench->started_us;
    for (uint64_t i = 0; i < bench->options->listeners; i++) {
        int64_t finished_us = bench->group != NULL ? atomic_load(&bench->group->finished_us)
                                                   : bench->results->listeners[i].finished_us;
        finished_us = finished_us != 0 ? finished_us : end_us;
        last_us = finished_us > last_us ? finished_us : last_us;
    }
    return first_us < last_us ? last_us - first_us : 1;
}

/* Without listeners it is acks that count. */
static void sum_acks(const struct bench *bench, struct bench_summary *sum)
{
    for (uint64_t i = 0; i < bench->options->producers; i++) {
        sum->acked += bench->results->producers[i].acked;
        histogram_merge(&sum->latency_us, &bench->results->producers[i].latency_us);
    }
    sum->lost = bench->options->events - sum->acked;
    sum->events_per_s = (double)sum->acked / sum->elapsed_s;
}

static void sum_group(const struct bench *bench, struct bench_summary *sum)
{
    sum->lost = bench->options->events - atomic_load(&bench->group->received);
    sum->duplicated = atomic_load(&bench->group->duplicated);
    sum->reordered = atomic_load(&bench->group->reordered);
    sum->events_per_s = sum->deliveries_per_s; /* one each */
}

static void sum_deliveries(const struct bench *bench, struct bench_summary *sum)
{
    for (uint64_t i = 0; i < bench->options->listeners; i++)
        sum_listener(bench, &bench->results->listeners[i], sum);
    for (uint64_t i = 0; i < bench->options->producers; i++) /* of requests: the whole way */
        histogram_merge(&sum->latency_us, &bench->results->producers[i].latency_us);
    sum->deliveries_per_s = (double)sum->received / sum->elapsed_s;
    sum->events_per_s = sum->deliveries_per_s / (double)bench->options->listeners;
    if (bench->group != NULL)
        sum_group(bench, sum);
}

void bench_sum(const struct bench *bench, int64_t end_us, struct bench_summary *ret_summary)
{
    struct bench_summary *sum = ret_summary;

    *sum = (struct bench_summary){.elapsed_s = (double)elapsed_us(bench, end_us) / 1e6};
    if (bench->options->listeners > 0)
        sum_deliveries(bench, sum);
    else
        sum_acks(bench, sum);
    sum->mb_per_s = sum->events_per_s * (double)bench->options->event_size / 1e6;
}

bool bench_summary_ok(const struct bench_summary *summary)
{
    return summary->lost == 0 && summary->duplicated == 0 && summary->reordered == 0 &&
           summary->unsettled == 0;
}
