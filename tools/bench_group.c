/* bench_group.c: the history of a shared group: each event is for one member, so no member can judge it alone. See bench.h.
 *
 * Role:      one mapping that all members write: a bit per event, and per key the highest sequence that has come.
 * Thread:    the receiving one of each member's process, all at once: nothing but atomics.
 * Why it holds: of a key-ordered group's key an event comes when the one before it has been settled, which its member does
 *              after it has noted it. So whoever notes a lower number later has it out of order.
 * Failures:  none that a member can cause: what is out of range is a stranger before it comes here. */
#include "tools/bench.h"

#include <errno.h>
#include <sys/mman.h>

int bench_group_init(struct bench *bench)
{
    const struct bench_options *options = bench->options;
    size_t highest_size = options->key_ordered
                              ? (size_t)(options->producers * options->keys) * sizeof(*bench->group->highest)
                              : 0;
    /* shares differ by one event at most */
    size_t seen_size = (size_t)((options->events + options->producers) / 8 + 1);
    size_t size = sizeof(struct bench_group) + highest_size + seen_size;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return -errno;
    bench->group = (void *)memory;
    bench->group->size = size;
    bench->group->highest = (void *)(memory + sizeof(struct bench_group));
    bench->group->seen = (void *)(memory + sizeof(struct bench_group) + highest_size);
    return 0;
}

void bench_group_finish(struct bench *bench)
{
    if (bench->group != NULL)
        munmap(bench->group, bench->group->size);
    bench->group = NULL;
}

/* Raises the key's highest to sequence + 1. */
static void note_order(const struct bench *bench, uint64_t producer, uint64_t sequence)
{
    uint64_t keys = bench->options->keys;
    atomic_uint_least64_t *highest = &bench->group->highest[producer * keys + sequence % keys];
    uint64_t before = atomic_load(highest);

    while (before <= sequence)
        if (atomic_compare_exchange_weak(highest, &before, sequence + 1))
            return;
    atomic_fetch_add(&bench->group->reordered, 1);
}

bool bench_group_note(const struct bench *bench, uint64_t producer, uint64_t sequence,
                      int64_t (*now_us)(void))
{
    struct bench_group *group = bench->group;
    uint64_t place = sequence * bench->options->producers + producer;
    uint8_t bit = (uint8_t)(1u << place % 8);

    if (atomic_fetch_or(&group->seen[place / 8], bit) & bit) {
        atomic_fetch_add(&group->duplicated, 1);
        return false;
    }
    if (bench->options->key_ordered)
        note_order(bench, producer, sequence);
    if (atomic_fetch_add(&group->received, 1) + 1 == bench->options->events)
        atomic_store(&group->finished_us, now_us());
    return true;
}

bool bench_group_finished(const struct bench *bench)
{
    return atomic_load(&bench->group->finished_us) != 0;
}
