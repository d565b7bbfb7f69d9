/* test_store_kill.c: a process that appends is killed at any moment; every entry it had acknowledged is there.
 *
 *   parent ── starts ──▶ child: opens the folder, appends, flushes, tells each acknowledged batch on its standard output
 *          ── reads so many of them, SIGKILL ──▶
 *          opens a copy of the folder: everything acknowledged in any life is there, byte for byte, the log is contiguous,
 *          and what nobody heard of is what the child would have written next
 *          ── the next child goes on in the folder as the killed one left it ──▶
 *
 * A plain program; the seed is printed, and can be given as its argument. */
#include "tests/unit/store_fixture.h"

#include "base/clock.h"
#include "base/random.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARTITIONS 3
#define ROUNDS     25
#define AHEAD      24

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

extern char **environ;

struct ack {
    uint64_t partition, offset;
};

static size_t size_of(uint64_t partition, uint64_t offset)
{
    static const size_t sizes[] = {61, 500, 1990, 3000, 20000, 90000};
    return sizes[(partition * 3 + offset) % 6];
}

static struct fixture *open_at(const char *path)
{
    struct fixture *f = fixture_create_at(path);
    f->options.segment_size = 1u << 20;
    if (fixture_start(f) < 0) {
        (void)fprintf(stderr, "start: %d %s\n", f->start_code, f->error);
        abort();
    }
    return f;
}

/* The offset behind a partition's last batch. */
static uint64_t find_end(struct fixture *f, uint64_t partition)
{
    uint64_t end = 0;
    for (;;) {
        struct store_read *read = fixture_read(f, partition, end, UINT64_MAX, 1u << 20);
        REQUIRE(read->status == 0);
        for (uint32_t i = 0; i < read->count; i++, end++)
            REQUIRE(fixture_batch_is(&read->batches[i], partition, end, 1, size_of(partition, end)));
        bool more = read->count > 0;
        fixture_read_destroy(read);
        if (!more)
            return end;
    }
}

/* ---- the child ---- */

struct child {
    struct fixture *f;
    uint64_t next[PARTITIONS], acknowledged[PARTITIONS];
    unsigned under_way, count;
    uint64_t applied;
    bool flushing;
    struct store_flush flush;
    struct store_row rows[PARTITIONS];
    struct store_rows all;
    char keys[PARTITIONS][8], values[PARTITIONS][24];
};

struct child_append {
    struct store_append append;
    struct entry_part part;
    struct child *child;
};

static void child_done(struct store_append *append, void *ctx)
{
    struct child_append *a = ctx;
    struct child *child = a->child;
    REQUIRE(append->status == STORE_OK);
    struct ack ack = {a->part.partition, a->part.base_offset};
    REQUIRE(write(STDOUT_FILENO, &ack, sizeof(ack)) == (ssize_t)sizeof(ack));
    child->acknowledged[ack.partition] = ack.offset + 1;
    child->applied = append->index;
    child->under_way--;
    child->count++;
    slice_unref(&a->part.payload);
    free(a);
}

static void child_append(struct child *child, uint64_t partition)
{
    struct child_append *a = calloc(1, sizeof(*a));
    REQUIRE(a);
    uint64_t offset = child->next[partition]++;
    a->child = child;
    a->part = (struct entry_part){.kind = PART_DATA,
                                  .partition = partition,
                                  .base_offset = offset,
                                  .span = 1,
                                  .payload = fixture_batch(partition, offset, 1, size_of(partition, offset))};
    a->append = (struct store_append){.done = child_done,
                                      .ctx = a,
                                      .type = ENTRY_NORMAL,
                                      .term = 1,
                                      .append_time_us = 1,
                                      .parts = &a->part,
                                      .part_count = 1};
    child->under_way++;
    REQUIRE(child->f->store->ops->append(child->f->store, &a->append) == 0);
}

static void child_flushed(struct store_flush *flush, void *ctx)
{
    REQUIRE(flush->status == 0);
    ((struct child *)ctx)->flushing = false;
}

/* The rows are the acknowledged offsets at the applied index: the parent compares. */
static void child_flush(struct child *child)
{
    for (unsigned i = 0; i < PARTITIONS; i++) {
        int key = snprintf(child->keys[i], sizeof(child->keys[i]), "t%u", i);
        int value = snprintf(child->values[i], sizeof(child->values[i]), "%" PRIu64, child->acknowledged[i]);
        child->rows[i] = (struct store_row){(uint8_t *)child->keys[i], (size_t)key,
                                            (uint8_t *)child->values[i], (size_t)value};
    }
    child->all = (struct store_rows){.rows = child->rows, .count = PARTITIONS};
    child->flush = (struct store_flush){.done = child_flushed,
                                        .ctx = child,
                                        .applied_index = child->applied,
                                        .rows = &child->all,
                                        .row_count = PARTITIONS};
    child->flushing = true;
    REQUIRE(child->f->store->ops->flush(child->f->store, &child->flush) == 0);
}

static _Noreturn void run_child(const char *path, uint64_t seed)
{
    struct child child = {.f = open_at(path)};
    struct random random = random_seeded(seed);
    for (uint64_t i = 0; i < PARTITIONS; i++)
        child.next[i] = child.acknowledged[i] = find_end(child.f, i);
    child.applied = fixture_stats(child.f).last_index;
    for (;;) { /* until killed */
        while (child.under_way < AHEAD)
            child_append(&child, random_below(&random, PARTITIONS));
        if (!child.flushing && child.count > 20) {
            child.count = 0;
            child_flush(&child);
        }
        fixture_pump(child.f);
    }
}

/* ---- the parent ---- */

struct tally {
    uint64_t ends[PARTITIONS]; /* acknowledged below */
    uint64_t count;
};

static void hear(struct tally *tally, const struct ack *ack)
{
    REQUIRE(ack->partition < PARTITIONS);
    REQUIRE(ack->offset >= tally->ends[ack->partition]);
    tally->ends[ack->partition] = ack->offset + 1;
    tally->count++;
}

/* Reads acknowledgements: so many, or to the end. */
static void listen(int fd, struct tally *tally, uint64_t count)
{
    struct ack ack;
    for (uint64_t i = 0; i < count; i++) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        REQUIRE(poll(&poll_fd, 1, 20000) == 1);
        ssize_t got = read(fd, &ack, sizeof(ack)); /* written at once, so read at once */
        if (got == 0)
            return;
        REQUIRE(got == (ssize_t)sizeof(ack));
        hear(tally, &ack);
    }
}

static void check_state(const struct fixture *f, const uint64_t ends[PARTITIONS])
{
    for (unsigned i = 0; i < PARTITIONS && f->applied_index > 0; i++) {
        char key[8], value[65] = "";
        (void)snprintf(key, sizeof(key), "t%u", i);
        const struct fixture_row *row = fixture_find_row(f, key);
        REQUIRE(row);
        memcpy(value, row->value, row->value_size);
        REQUIRE(strtoull(value, NULL, 10) <= ends[i]);
    }
    REQUIRE(f->replayed_first == 0 || f->replayed_first == f->applied_index + 1);
}

static void check_folder(const char *path, const struct tally *tally)
{
    char copy[160];
    (void)snprintf(copy, sizeof(copy), "%s-copy", path);
    fixture_copy_folder(path, copy);
    struct fixture *f = open_at(copy);
    uint64_t ends[PARTITIONS], sum = 0;
    for (uint64_t i = 0; i < PARTITIONS; i++) {
        ends[i] = find_end(f, i);
        sum += ends[i];
        REQUIRE(ends[i] >= tally->ends[i]); /* nothing acknowledged is lost */
    }
    REQUIRE(sum == fixture_stats(f).last_index); /* each entry holds one batch */
    check_state(f, ends);
    fixture_destroy(f);
    fixture_remove_folder(copy);
}

static void run_round(const char *program, const char *path, struct random *random, struct tally *tally)
{
    int pipe_fds[2];
    REQUIRE(pipe(pipe_fds) == 0);
    char seed[32];
    (void)snprintf(seed, sizeof(seed), "%" PRIu64, random_next(random));
    char *const arguments[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "--child",
                               (char *)(uintptr_t)path, seed, NULL};
    posix_spawn_file_actions_t actions;
    REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
    REQUIRE(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO) == 0);
    REQUIRE(posix_spawn_file_actions_addclose(&actions, pipe_fds[0]) == 0);
    REQUIRE(posix_spawn_file_actions_addclose(&actions, pipe_fds[1]) == 0);
    pid_t pid;
    REQUIRE(posix_spawn(&pid, program, &actions, NULL, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[1]);
    uint64_t wanted = random_below(random, 120);
    listen(pipe_fds[0], tally, wanted);
    REQUIRE(kill(pid, SIGKILL) == 0);
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it did not fail by itself */
    listen(pipe_fds[0], tally, UINT64_MAX);
    close(pipe_fds[0]);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0)
        run_child(argv[2], strtoull(argv[3], NULL, 10));
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)clock_wall_us();
    printf("seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    struct random random = random_seeded(seed);
    struct tally tally = {0};
    char path[] = "/tmp/crier-kill-XXXXXX";
    REQUIRE(mkdtemp(path));
    for (int round = 0; round < ROUNDS; round++) {
        run_round("/proc/self/exe", path, &random, &tally);
        check_folder(path, &tally);
    }
    fixture_remove_folder(path);
    printf("%d kills, %" PRIu64 " acknowledged batches, none lost\n", ROUNDS, tally.count);
    REQUIRE(tally.count > ROUNDS);
    return 0;
}
