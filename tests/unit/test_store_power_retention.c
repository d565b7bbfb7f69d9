/* test_store_power_retention.c: the power fails while segments are removed, swept and written; what is wanted is there.
 *
 * As test_store_power.c, on the same kind of disk, with three partitions: 1 is trimmed all the time (its old segments are
 * removed whole), 2 is kept (so that segments with some of it are swept), 3 is deleted half-way. At drawn moments an image
 * of the disk is kept; one in four is what a killed process leaves, synced or not, and power cuts in the next life take it away. Each must come up by itself, hold everything acknowledged above the log starts that had been told by
 * that moment, byte for byte, take more, and survive a further cut while it does.
 *
 * A plain program: [SEED [STATES]]; at least so many states are looked at, and every kind of moment is among them.
 * `./dev torture --power N`. */
#include "tests/unit/power_points.h"
#include "tests/unit/store_fixture.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGES_MAX 48
#define ENTRIES    180
#define KEPT       25 /* entries of partition 1 that are kept */
#define DELETED_AT 90 /* partition 3 is */
#define FIRST_2    60 /* the entry with the first batch of partition 2 */
#define SIZE_1     15000
#define SIZE_2     700
#define SIZE_3     4000

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s (in %s)\n", __FILE__, __LINE__, #condition, current);           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static char current[200] = "the first life";

/* Entry i (from 1) holds offset i - 1 of partition 1, from FIRST_2 on every fifth one also one of 2, every third one of 3. */
struct known {
    uint64_t acknowledged, flushed, trimmed;
};

struct image {
    char path[160];
    struct known known;
};

struct power {
    struct random random; /* used by whoever makes a call: with the disk's lock */
    struct random choice; /* the test's own */
    char folder[100];
    unsigned one_in;
    struct image images[IMAGES_MAX];
    unsigned image_count, image_max;
    _Atomic uint64_t acknowledged, flushed, trimmed;
};

static uint64_t states[POINTS], after_deletion, kills;

static void on_call(void *ctx, const struct disk_power_call *call)
{
    struct power *power = ctx;
    enum power_point point = power_point_of(call);
    if (power->image_count == power->image_max || !power_drawn(&power->random, point, power->one_in))
        return;
    states[point]++;
    after_deletion += power->trimmed >= DELETED_AT;
    struct image *image = &power->images[power->image_count++];
    static unsigned serial;
    (void)snprintf(image->path, sizeof(image->path), "%s-image-%u", power->folder, ++serial);
    image->known = (struct known){power->acknowledged, power->flushed, power->trimmed};
    if (random_below(&power->random, 4) == 0) {
        kills++;
        disk_power_killed(image->path);
    } else {
        disk_power_image(image->path, &power->random);
    }
}

static struct fixture *open_at(const char *path)
{
    struct fixture *f = fixture_create_at(path);
    f->options.segment_size = 512u << 10;
    if (fixture_start(f) < 0) {
        (void)fprintf(stderr, "%s: %d %s\n", current, f->start_code, f->error);
        abort();
    }
    return f;
}

static void tell(struct power *power, struct fixture *f, uint64_t log_start)
{
    power->trimmed = log_start; /* before it is acted on */
    REQUIRE(f->store->ops->trim(f->store, 1, log_start) == 0);
    if (log_start >= DELETED_AT)
        REQUIRE(f->store->ops->trim(f->store, 3, STORE_DELETED) == 0);
}

static void append_some(struct power *power, struct fixture *f, uint64_t from, uint64_t count)
{
    for (uint64_t at = from; at < from + count; at++) {
        struct fixture_append *a = fixture_append_create(f);
        fixture_append_data(a, 1, at, 1, SIZE_1);
        if (at >= FIRST_2 && at % 5 == 0)
            fixture_append_data(a, 2, (at - FIRST_2) / 5, 1, SIZE_2);
        if (at % 3 == 0 && power->trimmed < DELETED_AT)
            fixture_append_data(a, 3, at / 3, 1, SIZE_3);
        fixture_submit(f, a);
        fixture_wait(f, &a->done);
        REQUIRE(a->append.status == STORE_OK);
        power->acknowledged = a->append.index;
        fixture_append_destroy(a);
        if (at % 4 == 0) {
            REQUIRE(fixture_flush(f, power->acknowledged, NULL, 0) == STORE_OK);
            power->flushed = power->acknowledged;
        }
        if (at % 10 == 9 && at > KEPT)
            tell(power, f, at - KEPT);
    }
}

static void expect(struct fixture *f, uint64_t partition, uint64_t from, uint64_t until, size_t size)
{
    for (uint64_t at = from; at < until;) {
        struct store_read *read = fixture_read(f, partition, at, until, 1u << 20);
        REQUIRE(read->status == 0 && read->count > 0);
        for (uint32_t i = 0; i < read->count; i++, at++)
            REQUIRE(fixture_batch_is(&read->batches[i], partition, at, 1, size));
        fixture_read_destroy(read);
    }
}

/* A start on what the power cut left. Returns the last index. */
static uint64_t check_life(const struct known *known, struct fixture *f)
{
    uint64_t last = fixture_stats(f).last_index;
    REQUIRE(last >= known->acknowledged && last <= known->acknowledged + 1);
    REQUIRE(f->applied_index >= known->flushed);
    expect(f, 1, known->trimmed, last, SIZE_1);
    expect(f, 2, 0, last > FIRST_2 ? (last - FIRST_2 + 4) / 5 : 0, SIZE_2);
    if (known->trimmed < DELETED_AT) {
        uint64_t until = (known->acknowledged + 2) / 3;
        expect(f, 3, 0, until, SIZE_3);
    }
    return last;
}

static unsigned check_image(struct power *power, const struct image *image, bool again)
{
    struct power second = {
        .random = power->random, .choice = power->choice, .one_in = 25, .image_max = again ? 3 : 0};
    (void)snprintf(current, sizeof(current), "%s", image->path);
    (void)snprintf(second.folder, sizeof(second.folder), "%s", power->folder);
    second.acknowledged = image->known.acknowledged;
    second.flushed = image->known.flushed;
    second.trimmed = image->known.trimmed;
    disk_power_begin(image->path, on_call, &second);
    struct fixture *f = open_at(image->path);
    uint64_t last = check_life(&image->known, f);
    REQUIRE(f->replayed_count == last - f->applied_index);
    second.acknowledged = last;
    tell(&second, f, image->known.trimmed); /* as the core does at its start */
    append_some(&second, f, last, 12);
    (void)check_life(&(struct known){second.acknowledged, f->applied_index, second.trimmed}, f);
    fixture_end(f, FIXTURE_CLEAN);
    (void)disk_power_end();
    f->store = NULL;
    fixture_destroy(f);
    power->random = second.random;
    unsigned images = second.image_count;
    for (unsigned i = 0; i < second.image_count; i++) {
        images += check_image(power, &second.images[i], false);
        fixture_remove_folder(second.images[i].path);
    }
    return images;
}

static unsigned run_once(uint64_t seed, struct store_stats *ret_stats)
{
    static struct power power;
    power = (struct power){
        .random = random_seeded(seed), .choice = random_seeded(~seed), .one_in = 20, .image_max = IMAGES_MAX};
    const char *parent = getenv("TMPDIR");
    (void)snprintf(power.folder, sizeof(power.folder), "%s/crier-power-XXXXXX", parent ? parent : "/tmp");
    REQUIRE(mkdtemp(power.folder));
    disk_power_begin(power.folder, on_call, &power);
    struct fixture *f = open_at(power.folder);
    append_some(&power, f, 0, ENTRIES);
    for (unsigned i = 0; i < 20000 && (fixture_stats(f).removed == 0 || fixture_stats(f).swept == 0); i++)
        REQUIRE(fixture_flush(f, power.acknowledged, NULL, 0) == STORE_OK);
    *ret_stats = fixture_stats(f);
    fixture_end(f, FIXTURE_CLEAN);
    (void)disk_power_end();
    fixture_destroy(f);
    unsigned images = power.image_count;
    for (unsigned i = 0; i < power.image_count; i++) {
        struct image image = power.images[i];
        images += check_image(&power, &image, true);
        fixture_remove_folder(image.path);
    }
    fixture_remove_folder(power.folder);
    return images;
}

static uint64_t states_seen(void)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < POINTS; i++)
        count += states[i];
    return count;
}

static bool seen_all(void)
{
    bool all = after_deletion > 0;
    for (unsigned i = 0; i < POINTS; i++)
        all = all && states[i] > 0;
    return all;
}

#define RUNS_MORE 20 /* until every kind of moment was drawn: one or two are enough nearly always */

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)clock_wall_us();
    uint64_t wanted = argc > 2 ? strtoull(argv[2], NULL, 10) : 100, removed = 0, swept = 0, images = 0;
    unsigned runs = 0, more = 0;
    for (; states_seen() < wanted || (!seen_all() && more++ < RUNS_MORE); runs++) {
        struct store_stats stats;
        printf("seed %" PRIu64 "\n", seed + runs);
        (void)fflush(stdout);
        images += run_once(seed + runs, &stats);
        removed += stats.removed;
        swept += stats.swept;
        REQUIRE(states_seen() > runs);
    }
    REQUIRE(kills > 0 && seen_all() && swept > 0 && removed > 0 && images == states_seen());
    printf("%" PRIu64 " power cuts in %u runs around %" PRIu64 " removed and %" PRIu64
           " swept segments, %" PRIu64 " of them after a deletion:",
           images, runs, removed, swept, after_deletion);
    for (unsigned i = 0; i < POINTS; i++)
        printf(" %s %" PRIu64 "%s", power_point_names[i], states[i], i + 1 < POINTS ? "," : "");
    printf("; %" PRIu64 " of them began with a kill; nothing wanted was lost\n", kills);
    return 0;
}
