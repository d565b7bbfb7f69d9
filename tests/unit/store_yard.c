/* store_yard.c: see store_yard.h. */
#include "tests/unit/store_yard.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define TOGETHER 50 /* batches emitted before the state is flushed */

static struct fixture *fill(bool turns)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 256u << 10;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    for (uint64_t i = 0; i < (uint64_t)YARD_PARTITIONS * YARD_OFFSETS; i += TOGETHER) {
        struct fixture_append *appends[TOGETHER];
        for (uint64_t k = 0; k < TOGETHER; k++) {
            uint64_t at = i + k, partition = turns ? at % YARD_PARTITIONS : at / YARD_OFFSETS;
            appends[k] = fixture_append_create(f);
            fixture_append_data(appends[k], 1 + partition, turns ? at / YARD_PARTITIONS : at % YARD_OFFSETS,
                                1, YARD_SIZE);
            fixture_submit(f, appends[k]);
        }
        for (unsigned k = 0; k < TOGETHER; k++) {
            fixture_wait(f, &appends[k]->done);
            cr_assert_eq(appends[k]->append.status, STORE_OK);
            fixture_append_destroy(appends[k]);
        }
        cr_assert_eq(fixture_flush(f, fixture_stats(f).last_index, NULL, 0), STORE_OK);
    }
    fixture_end(f, FIXTURE_CLEAN);
    return f;
}

struct yard *yard_open(bool turns)
{
    struct yard *yard = calloc(1, sizeof(*yard));
    cr_assert_not_null(yard);
    yard->f = fill(turns);
    cr_assert_eq(log_starts_init(&yard->starts), 0);
    cr_assert_eq(segments_init(&yard->segments, &yard->folder, &yard->health, 256u << 10), 0);
    cr_assert_eq(folder_open(&yard->folder, yard->f->path, false, NULL, yard->error, sizeof(yard->error)), 0);
    state_begin(&yard->state, &yard->folder);
    cr_assert_eq(meta_open(&yard->meta, &yard->folder, yard->error, sizeof(yard->error)), 0);
    yard->recovery = (struct recovery){
        .folder = &yard->folder, .meta = &yard->meta, .segments = &yard->segments, .health = &yard->health};
    cr_assert_eq(recover_open(&yard->recovery, yard->error, sizeof(yard->error)), 0, "%s", yard->error);
    cr_assert_eq(state_open(&yard->state, false, yard->error, sizeof(yard->error)), 0, "%s", yard->error);
    yard->now_us = 1000000;
    yard->cleaner = (struct cleaner){.place = {.folder = &yard->folder,
                                               .meta = &yard->meta,
                                               .segments = &yard->segments,
                                               .health = &yard->health,
                                               .starts = &yard->starts,
                                               .remains = &yard->cleaner.remains},
                                     .settle_us = YARD_SETTLE_US,
                                     .due_us = yard->now_us,
                                     .state = &yard->state};
    return yard;
}

void yard_close(struct yard *yard)
{
    cleaner_stop(&yard->cleaner);
    recover_finish(&yard->recovery);
    segments_finish(&yard->segments);
    log_starts_finish(&yard->starts);
    state_close(&yard->state);
    meta_close(&yard->meta);
    folder_close(&yard->folder);
    fixture_destroy(yard->f);
    free(yard);
}
