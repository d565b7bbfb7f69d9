/* judge.c: see judge.h. */
#include "tests/torture/judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REPLAY_TIMEOUT_MS 120000

/* Everything the topic holds now. */
static bool replay(const char *url, struct witness *truth)
{
    int rc = witness_start(truth, url);
    bool complete = rc == 0 && witness_wait_end(truth, REPLAY_TIMEOUT_MS);
    if (!complete)
        fprintf(stderr, "the replay did not reach the end: %s\n",
                rc < 0 ? crier_strerror(rc) : "time is over");
    witness_stop(truth);
    return complete;
}

bool judge(const struct producers *producers, const char *url, const struct witness *listener,
           struct verdict *ret_verdict)
{
    struct witness truth;
    struct verdict verdict = {0};
    bool complete = replay(url, &truth);
    for (uint32_t i = 0; complete && i < PRODUCERS; i++) {
        struct completion *log;
        uint64_t count;
        complete = producers_log(producers, i, &log, &count) == 0;
        if (!complete) {
            fprintf(stderr, "producer %u left no log\n", i);
            break;
        }
        verdict_producer(&verdict, &truth, i, log, count);
        free(log);
    }
    verdict_truth(&verdict, &truth);
    verdict_listener(&verdict, &truth, listener);
    witness_finish(&truth);
    *ret_verdict = verdict;
    return complete;
}

void judge_print(const struct verdict *verdict)
{
    printf("%" PRIu64 " lost, %" PRIu64 " reordered, %" PRIu64 " duplicated, %" PRIu64 " phantom, %" PRIu64
           " changed, %" PRIu64 " gaps, %" PRIu64 " missed\n",
           verdict->lost, verdict->reordered, verdict->duplicated, verdict->phantom, verdict->changed,
           verdict->gaps, verdict->missed);
    if (verdict->lost)
        printf("lost: number %" PRIu64 " of producer %u\n", verdict->lost_one.number,
               verdict->lost_one.producer);
    if (verdict->gaps)
        printf("a gap: number %" PRIu64 " of producer %u, told: %s\n", verdict->gap_one.number,
               verdict->gap_one.producer, crier_strerror(verdict->gap_one.code));
}
