/* worth.c: see worth.h. Log starts only rise, so what has been found dead stays dead. */
#include "storage/lmdb/worth.h"

struct weighing {
    struct worth *worth;
    struct log_starts *starts;
    uint64_t passed; /* wanted bytes before this run, in the walk that places the marks */
};

static bool wanted(struct log_starts *starts, uint64_t partition, uint64_t next_offset)
{
    return next_offset > log_starts_get(starts, partition);
}

static int add_run(void *ctx, const struct index_run *run)
{
    struct weighing *weighing = ctx;
    weighing->worth->total += run->bytes;
    if (wanted(weighing->starts, run->partition, run->next_offset))
        weighing->worth->live += run->bytes;
    return 0;
}

/* Mark k stands where (k + 1/2) / WORTH_MARKS of the wanted bytes are passed; a run has as many as lie in it. A log start that moved
 * since they were added up leaves some marks out: that is a doubt earlier, not an error. */
static int place_marks(void *ctx, const struct index_run *run)
{
    struct weighing *weighing = ctx;
    struct worth *worth = weighing->worth;
    if (!wanted(weighing->starts, run->partition, run->next_offset))
        return 0;
    weighing->passed += run->bytes;
    while (worth->taken < WORTH_MARKS &&
           (2 * (uint64_t)worth->taken + 1) * worth->live < 2 * WORTH_MARKS * weighing->passed) {
        worth->marks[worth->taken].partition = run->partition;
        worth->marks[worth->taken++].next_offset = run->next_offset;
    }
    return 0;
}

void worth_weigh(struct worth *worth, struct index *index, struct log_starts *starts)
{
    struct weighing weighing = {.worth = worth, .starts = starts};
    worth->weighed = true;
    worth->total = worth->live = 0;
    worth->taken = 0;
    (void)index_each_run(index, add_run, &weighing);
    if (worth->live > 0)
        (void)index_each_run(index, place_marks, &weighing);
    worth->standing = worth->taken;
}

bool worth_watch(struct worth *worth, struct log_starts *starts)
{
    unsigned before = worth->standing;
    for (unsigned i = 0; i < worth->standing;) {
        if (wanted(starts, worth->marks[i].partition, worth->marks[i].next_offset))
            i++;
        else
            worth->marks[i] = worth->marks[--worth->standing];
    }
    return worth->standing < before;
}

bool worth_in_doubt(const struct worth *worth)
{
    if (worth->standing == 0)
        return true;
    uint64_t dead = worth->live - worth->live / worth->taken * worth->standing;
    return worth_guessed(worth) && 2 * dead >= worth->live - worth->total / 2;
}
