/* test_store_power.c: the power fails at any moment; every entry that was acknowledged is there, and nothing else.
 *
 * A store appends, rolls and flushes on a disk that notes what is durable (tests/support/disk_power.h). At drawn moments an
 * image of that disk is kept: each unsynced sector there or not, each unsynced name there or not. Afterwards each image is
 * started: it must come up by itself with everything acknowledged by that moment, contiguous, byte for byte; then it
 * appends, and the power fails again while it starts.
 *
 * And in some runs the first process is killed at such a moment: the next one finds all it wrote, synced or not, and then the power
 * fails.
 *
 * Moments have names, by the file that is about to change (power_points.h), and each name is counted.
 *
 * A plain program: [SEED [STATES]]; at least so many states are looked at. `./dev torture --power N`. */
#include "tests/unit/power_points.h"
#include "tests/unit/store_fixture.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMAGES_MAX 48
#define APPENDS    160

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s (in %s)\n", __FILE__, __LINE__, #condition, current);           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static char current[200] = "the first life"; /* which image is being looked at */

static uint64_t states[POINTS];

struct image {
    char path[160];
    uint64_t acknowledged; /* entries, at that moment */
    uint64_t flushed;      /* F, acknowledged at that moment */
};

struct power {
    struct random random; /* used by whoever makes a call: with the disk's lock */
    struct random choice; /* the test's own */
    char folder[100];
    unsigned one_in; /* chance of an image at a rare call; twice as rare in a commit */
    struct image images[IMAGES_MAX];
    unsigned image_count, image_max;
    _Atomic uint64_t acknowledged, flushed;
};

static size_t size_of(uint64_t offset)
{
    static const size_t sizes[] = {61, 700, 1990, 3000, 12000, 60000};
    return sizes[offset * 5 % 6];
}

static void on_call(void *ctx, const struct disk_power_call *call)
{
    struct power *power = ctx;
    enum power_point point = power_point_of(call);
    if (power->image_count == power->image_max || !power_drawn(&power->random, point, power->one_in))
        return;
    struct image *image = &power->images[power->image_count++];
    static unsigned serial;
    (void)snprintf(image->path, sizeof(image->path), "%s-image-%u", power->folder, ++serial);
    image->acknowledged = power->acknowledged;
    image->flushed = power->flushed;
    states[point]++;
    disk_power_image(image->path, &power->random);
}

/* The store makes its folder itself. */
static struct fixture *open_at(const char *path)
{
    char data[200];
    (void)snprintf(data, sizeof(data), "%s/data", path);
    struct fixture *f = fixture_create_at(data);
    f->options.segment_size = 512u << 10;
    if (fixture_start(f) < 0) {
        (void)fprintf(stderr, "%s: %d %s\n", current, f->start_code, f->error);
        abort();
    }
    return f;
}

/* One partition, one batch an entry: entry i holds offset i - 1. */
static void expect_all(struct fixture *f, uint64_t until)
{
    for (uint64_t at = 0; at < until;) {
        struct store_read *read = fixture_read(f, 1, at, until, 1u << 20);
        REQUIRE(read->status == 0 && read->count > 0);
        for (uint32_t i = 0; i < read->count; i++, at++)
            REQUIRE(fixture_batch_is(&read->batches[i], 1, at, 1, size_of(at)));
        fixture_read_destroy(read);
    }
}

static void flush_at(struct power *power, struct fixture *f, uint64_t index)
{
    char row[32];
    (void)snprintf(row, sizeof(row), "tnext=%" PRIu64, index);
    REQUIRE(fixture_flush(f, index, (const char *const[]){row}, 1) == STORE_OK);
    power->flushed = index;
}

/* Appends in small groups, so that commits hold several entries, and flushes now and then. */
static void append_some(struct power *power, struct fixture *f, uint64_t from, uint64_t count)
{
    for (uint64_t at = from; at < from + count;) {
        struct fixture_append *group[4];
        unsigned size = 1 + (unsigned)random_below(&power->choice, 4);
        for (unsigned i = 0; i < size; i++) {
            group[i] = fixture_append_create(f);
            fixture_append_data(group[i], 1, at + i, 1, size_of(at + i));
            fixture_submit(f, group[i]);
        }
        for (unsigned i = 0; i < size; i++) {
            fixture_wait(f, &group[i]->done);
            REQUIRE(group[i]->append.status == STORE_OK);
            power->acknowledged = group[i]->append.index;
            fixture_append_destroy(group[i]);
        }
        at += size;
        if (at % 7 == 0)
            flush_at(power, f, at - random_below(&power->choice, 3));
    }
}

/* A start on what the power cut left. Returns the last index. */
static uint64_t check_life(const struct image *image, struct fixture *f)
{
    uint64_t last = fixture_stats(f).last_index;
    REQUIRE(last >= image->acknowledged);
    REQUIRE(last <= image->acknowledged + 4); /* at most the one group under way */
    REQUIRE(f->applied_index >= image->flushed);
    if (f->applied_index > 0) {
        const struct fixture_row *row = fixture_find_row(f, "tnext");
        char value[65] = "";
        REQUIRE(row);
        memcpy(value, row->value, row->value_size);
        REQUIRE(strtoull(value, NULL, 10) == f->applied_index);
    }
    REQUIRE(f->replayed_count == last - f->applied_index);
    expect_all(f, last);
    return last;
}

static void check_image(struct power *power, const struct image *image, bool again)
{
    struct power second = {
        .random = power->random, .choice = power->choice, .one_in = 6, .image_max = again ? 3 : 0};
    (void)snprintf(current, sizeof(current), "%s", image->path);
    (void)snprintf(second.folder, sizeof(second.folder), "%s", power->folder);
    second.acknowledged = image->acknowledged;
    second.flushed = image->flushed;
    disk_power_begin(image->path, on_call, &second);
    struct fixture *f = open_at(image->path);
    uint64_t last = check_life(image, f);
    second.acknowledged = last; /* found once, it must be found for ever */
    append_some(&second, f, last, 3);
    fixture_end(f, FIXTURE_CLEAN);
    (void)disk_power_end();
    f->store = NULL;
    fixture_destroy(f);
    power->random = second.random;
    for (unsigned i = 0; i < second.image_count; i++) {
        /* Before the second life had acknowledged anything, the first one's promise is what counts. */
        check_image(power, &second.images[i], false);
        fixture_remove_folder(second.images[i].path);
    }
}

static void run_once(uint64_t seed)
{
    static struct power power;
    power = (struct power){
        .random = random_seeded(seed), .choice = random_seeded(~seed), .one_in = 8, .image_max = IMAGES_MAX};
    const char *parent = getenv("TMPDIR");
    (void)snprintf(power.folder, sizeof(power.folder), "%s/crier-power-XXXXXX", parent ? parent : "/tmp");
    REQUIRE(mkdtemp(power.folder));
    disk_power_begin(power.folder, on_call, &power);
    struct fixture *f = open_at(power.folder);
    append_some(&power, f, 0, APPENDS);
    REQUIRE(fixture_stats(f).segments > 3);
    fixture_end(f, FIXTURE_CLEAN);
    uint64_t calls = disk_power_end();
    REQUIRE(calls > 200);
    fixture_destroy(f);
    unsigned images = power.image_count;
    for (unsigned i = 0; i < images; i++) {
        struct image image = power.images[i];
        check_image(&power, &image, true);
        fixture_remove_folder(image.path);
    }
    fixture_remove_folder(power.folder);
}

/* ---- killed before the power fails ---- */

/* What a killed process did not sync the next one finds all the same, in the kernel's cache. */
struct kill {
    struct power power;
    uint64_t at; /* the call before which the process is killed */
    struct image image;
};

static uint64_t kills;

static void on_call_kill(void *ctx, const struct disk_power_call *call)
{
    struct kill *kill = ctx;
    if (call->number != kill->at)
        return;
    kills++;
    kill->image.acknowledged = kill->power.acknowledged;
    kill->image.flushed = kill->power.flushed;
    disk_power_killed(kill->image.path);
}

static void first_life(struct kill *kill, uint64_t appends)
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(kill->power.folder, sizeof(kill->power.folder), "%s/crier-power-XXXXXX",
                   parent ? parent : "/tmp");
    REQUIRE(mkdtemp(kill->power.folder));
    (void)snprintf(kill->image.path, sizeof(kill->image.path), "%s-killed", kill->power.folder);
    disk_power_begin(kill->power.folder, on_call_kill, kill);
    struct fixture *f = open_at(kill->power.folder);
    append_some(&kill->power, f, 0, appends);
    fixture_end(f, FIXTURE_CLEAN);
    (void)disk_power_end();
    fixture_destroy(f);
    fixture_remove_folder(kill->power.folder);
}

/* Every second one is killed while the folder is made. */
static void run_killed(uint64_t seed)
{
    static struct kill kill;
    kill = (struct kill){
        .power = {
            .random = random_seeded(seed), .choice = random_seeded(~seed), .one_in = 8, .image_max = 5}};
    kill.at = 1 + random_below(&kill.power.choice, seed % 2 ? 50 : 400);
    uint64_t before = kills;
    first_life(&kill, 60);
    if (kills > before) {
        check_image(&kill.power, &kill.image, true);
        fixture_remove_folder(kill.image.path);
    }
}

static uint64_t states_seen(void)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < POINTS; i++)
        count += states[i];
    return count;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)clock_wall_us();
    uint64_t wanted = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
    unsigned runs = 0;
    for (; states_seen() < wanted; runs++) {
        printf("seed %" PRIu64 "\n", seed + runs);
        (void)fflush(stdout);
        run_once(seed + runs);
        REQUIRE(states_seen() > runs);
        for (unsigned i = 0; i < 8; i++)
            run_killed(seed * 8 + runs * 8 + i);
    }
    struct disk_power_losses losses = disk_power_losses();
    REQUIRE(kills > 0);
    REQUIRE(losses.torn > 0 && losses.lost > 0 && losses.lengths > 0 && losses.names > 0);
    printf("%" PRIu64 " states after power cuts in %u runs (torn writes %" PRIu64 ", lost %" PRIu64
           ", lost lengths %" PRIu64 ", lost names %" PRIu64 "):",
           states_seen(), runs, losses.torn, losses.lost, losses.lengths, losses.names);
    for (unsigned i = 0; i < POINTS; i++)
        printf(" %s %" PRIu64 "%s", power_point_names[i], states[i], i + 1 < POINTS ? "," : "");
    printf("; %" PRIu64
           " times a process was killed before; every acknowledged entry was there, and nothing else\n",
           kills);
    return 0;
}
