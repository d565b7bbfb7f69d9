/* disk.h: the broker's disk over all its lives, with somebody watching.
 *
 * The store is the memory twin, wrapped: every entry that is said to be durable is kept here too, byte for byte. So every
 * later replay can be compared with what was said (I3, I7), the log's own rules can be checked (no hole in a partition),
 * batches and positions go to the history, and at the end the state that came out of all restarts and flushes can be
 * compared with the state that one replay of the whole log gives (I11). Thread: one. */
#ifndef CRIER_SIM_DISK_H
#define CRIER_SIM_DISK_H

#include "broker/core/core.h"
#include "proto/batch.h"
#include "storage/store_memory.h"
#include "tests/sim/checker.h"
#include "tests/sim/trace.h"

#define DISK_PLACES_MAX   8  /* partitions of a topic */
#define DISK_INSPECTS_MAX 64 /* more than there are connections */

struct disk_entry {
    uint8_t *bytes;
    size_t size;
    uint64_t at; /* place in the order of everything: when it was durable */
};

/* What a partition id stands for. */
struct disk_partition {
    uint32_t topic, place; /* "t<topic>", its place within it; HISTORY_NONE: of another topic */
    bool known;
    uint64_t next; /* offset */
    uint64_t log_start;
};

struct disk {
    struct trace *trace;
    struct history *history;
    struct report *report;
    struct ledger *ledger;            /* NULL: shared groups are not looked at */
    struct store_memory_image *image; /* between two lives */
    struct store store;               /* the wrapper: first half of every call */
    struct store *inner;              /* the twin; NULL between two lives */
    bool failed;                      /* in this life: an append's outcome was unknown */
    struct watch *watches;            /* appends under way */
    struct watch *read_watches;       /* reads under way */
    struct store_flush *flush;        /* the flush under way, and whom to tell */
    void (*flush_done)(struct store_flush *flush, void *ctx);
    void *flush_ctx;
    struct store_inspect *inspects[DISK_INSPECTS_MAX]; /* questions without an answer */
    size_t inspect_count;
    struct disk_entry *entries; /* entry i has index i + 1 */
    size_t entry_count, entry_capacity;
    uint64_t replay_next;                                    /* while a replay runs */
    struct disk_partition partitions[HISTORY_PARTITION_IDS]; /* by id */
    uint64_t ids[HISTORY_TOPICS_MAX][DISK_PLACES_MAX];       /* by topic and place */
};

void disk_init(struct disk *disk, struct trace *trace, struct history *history, struct report *report);
void disk_finish(struct disk *disk);

/* The next life of the store, on what the last one left. Valid until disk_crash. */
struct store *disk_open(struct disk *disk, const struct store_memory_options *options);
/* Power off; also after the store's stop(), for a clean image. */
void disk_crash(struct disk *disk);

/* The end of a partition (by topic and place), as the log says. */
uint64_t disk_end(const struct disk *disk, uint32_t topic, uint32_t place);
/* The events of a partition that no trim has taken. */
uint64_t disk_kept(const struct disk *disk, uint32_t topic, uint32_t place);

/* Everything that is in the log, part by part. */
struct disk_part {
    const struct entry_part *part;
    int64_t append_time_us;
    uint64_t at;  /* of its entry */
    size_t entry; /* its place in the log, from 0 */
};
typedef void disk_part_fn(void *ctx, const struct disk_part *part);
void disk_each_part(const struct disk *disk, disk_part_fn *fn, void *ctx);

/* disk_inspect.c. */
int disk_inspect(struct disk *disk, struct store_inspect *inspect);
unsigned disk_inspect_answer(struct disk *disk); /* one of them; returns how many */
uint8_t disk_file_byte(uint64_t position);       /* of any file */

/* disk_note.c. */
/* The events of a part of the log, which is right; for batch_iterator_finish(). Memory for it never fails. */
void disk_events(const struct entry_part *part, struct batch_iterator *ret_iterator);
void disk_note(struct disk *disk, const struct entry_part *parts, uint32_t part_count,
               int64_t append_time_us);

/* disk_state.c. Between two lives: is the state on the disk what replaying the log from its beginning gives? */
void disk_check_state(struct disk *disk, const struct core_config *config);

#endif
