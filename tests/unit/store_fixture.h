/* store_fixture.h: a store of either filling, driven step by step, so that one test states a promise for both.
 *
 *   struct fixture *f = fixture_open(FIXTURE_LMDB);
 *   fixture_emit(f, partition 1, offset 0, span 1, 100 bytes);      waits until it is durable
 *   fixture_reopen(f, FIXTURE_CRASH);                              a new life on the same disk
 *
 * Batches are made from (partition, offset, size), so that what is read can be compared with what was written without
 * keeping it. Time in the fixture is virtual for the twin and irrelevant for LMDB: waiting means polling a descriptor.
 *
 * Thread: the test's. A step that does not come to its end within 20 s fails the test. */
#ifndef CRIER_TESTS_STORE_FIXTURE_H
#define CRIER_TESTS_STORE_FIXTURE_H

#include "storage/entry.h"
#include "storage/store.h"
#include "storage/store_memory.h"

enum fixture_kind { FIXTURE_LMDB, FIXTURE_MEMORY };
enum fixture_end { FIXTURE_CLEAN, FIXTURE_CRASH };

#define FIXTURE_PARTS_MAX   8
#define FIXTURE_ENTRIES_MAX 4096

struct fixture_row {
    uint8_t key[64], value[64];
    size_t key_size, value_size;
};

struct fixture {
    enum fixture_kind kind;
    struct store *store;
    char path[128];               /* LMDB: the data folder */
    bool path_borrowed;           /* not removed at the end */
    struct store_options options; /* LMDB; change before fixture_start_new */
    struct store_memory_options memory_options;
    struct store_memory_image *image; /* between two lives of the twin */
    int64_t now_us;
    uint64_t epoch; /* of the next append */
    /* what the last start found */
    uint64_t applied_index;
    struct fixture_row rows[64];
    size_t row_count;
    uint64_t replayed_first, replayed_last; /* indexes; 0: none */
    size_t replayed_count;
    int start_code;
    char error[512];
};

struct fixture_append {
    struct store_append append;
    struct entry_part parts[FIXTURE_PARTS_MAX];
    bool done;
};

/* A new store with default options, open and started. */
struct fixture *fixture_open(enum fixture_kind kind);
/* A new folder or memory, options to be set, then fixture_start. */
struct fixture *fixture_create(enum fixture_kind kind);
struct fixture *fixture_create_at(const char *path); /* LMDB, in a folder of the caller's */
/* Opens, loads, replays, starts. 0 or the code (also in start_code, with the sentence in error). */
int fixture_start(struct fixture *f);
/* Ends this life. The store is closed afterwards. */
void fixture_end(struct fixture *f, enum fixture_end end);
void fixture_reopen(struct fixture *f, enum fixture_end end); /* end and start, which must succeed */
void fixture_destroy(struct fixture *f);                      /* ends what runs, removes the folder */

/* Lets the store work until *done; fails the test if that never comes. */
void fixture_wait(struct fixture *f, const bool *done);
void fixture_pump(struct fixture *f); /* one step: waits for a completion, hands it out */

/* ---- batches ---- */
struct slice fixture_batch(uint64_t partition, uint64_t offset, uint32_t span,
                           size_t size); /* the caller's */
bool fixture_batch_is(const struct store_batch *batch, uint64_t partition, uint64_t offset, uint32_t span,
                      size_t size);
void fixture_copy_folder(const char *from, const char *to);
void fixture_remove_folder(const char *path);

/* ---- requests ---- */
struct fixture_append *fixture_append_create(struct fixture *f); /* no parts yet; epoch and time set */
void fixture_append_data(struct fixture_append *a, uint64_t partition, uint64_t offset, uint32_t span,
                         size_t size);
void fixture_append_command(struct fixture_append *a, uint16_t command, const void *bytes, size_t size);
void fixture_append_destroy(struct fixture_append *a);
void fixture_submit(struct fixture *f, struct fixture_append *a); /* waits for room in the queue */

/* One batch, durable or refused on return: the status. */
int fixture_emit(struct fixture *f, uint64_t partition, uint64_t offset, uint32_t span, size_t size);
/* A finished read; its batches are released by fixture_read_destroy. */
void fixture_read_done(struct store_read *read, void *ctx); /* set the bool that ctx points to */
void fixture_flush_done(struct store_flush *flush, void *ctx);
struct store_read *fixture_read(struct fixture *f, uint64_t partition, uint64_t offset, uint64_t until,
                                size_t bytes_max);
void fixture_read_destroy(struct store_read *read);
/* Reads the whole of offset..until in steps; batches of span 1 and this size, each as it was emitted. Fails the test. */
void fixture_expect(struct fixture *f, uint64_t partition, uint64_t offset, uint64_t until, size_t size);
/* The found offset, or -1 (everything is older), or the code. */
int64_t fixture_lookup(struct fixture *f, uint64_t partition, int64_t time_us);
int64_t fixture_lookup_any(struct fixture *f, uint64_t partition,
                           int64_t time_us); /* the code is an answer too */
void fixture_look_up(struct fixture *f,
                     struct store_lookup *lookup); /* any; done and ctx are the fixture's */
/* Rows "key=value" at a cut; value NULL deletes. The status. */
int fixture_flush(struct fixture *f, uint64_t applied_index, const char *const *pairs, size_t count);
const struct fixture_row *fixture_find_row(const struct fixture *f, const char *key);
struct store_stats fixture_stats(struct fixture *f);

#endif
