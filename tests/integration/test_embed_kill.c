/* test_embed_kill.c: a process with an embedded broker is killed in the middle of emitting, again and again on one folder:
 * every event it was told is emitted is there for the next one. A plain program: it forks. */
#include "base/check.h"
#include "crier/crier.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS     6
#define ACKS_LEAST 2000 /* heard of before the kill */

static int ack_fd; /* the child's end of the pipe */

/* Each acknowledged number goes down the pipe, at once. */
static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    uint64_t number = (uint64_t)(uintptr_t)ctx;
    (void)bus;
    (void)offset;
    if (code == 0 && write(ack_fd, &number, sizeof(number)) != (ssize_t)sizeof(number))
        _exit(1);
}

static _Noreturn void emit_until_killed(const char *url, uint64_t number)
{
    struct crier_options bus_options = crier_options_default();
    struct crier_emit_options options = crier_emit_options_default();
    crier *bus;
    bus_options.emit_blocks = true;
    if (crier_open(url, &bus_options, &bus) < 0)
        _exit(1);
    options.done = on_emitted;
    for (;; number++) {
        options.ctx = (void *)(uintptr_t)number; /* NOLINT: a number, not a pointer */
        if (crier_emit_with(bus, "t", &number, sizeof(number), &options) < 0)
            _exit(1);
    }
}

/* Runs a child, kills it, and returns the highest number it was told is emitted; *ret_acked counts them. */
static uint64_t round_run(const char *url, uint64_t first, uint64_t *ret_acked)
{
    int fds[2], status;
    uint64_t number, highest = 0, heard = 0;
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        ack_fd = fds[1];
        emit_until_killed(url, first);
    }
    CHECK(child > 0);
    close(fds[1]);
    while (read(fds[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
        highest = number > highest ? number : highest;
        if (++heard == ACKS_LEAST)
            kill(child, SIGKILL); /* it goes on being told until it is dead */
    }
    close(fds[0]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    *ret_acked += heard;
    return highest;
}

struct found {
    atomic_uint_fast64_t highest, count, wanted;
    atomic_bool in_order;
};

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct found *found = ctx;
    uint64_t number;
    (void)bus;
    memcpy(&number, event->value, sizeof(number));
    if (number != found->highest + 1) /* numbers go on where the last life's were found to end */
        found->in_order = false;
    found->highest = number;
    found->count++;
    return 0;
}

/* Everything there is, by the highest offset. */
static void watermark(void *ctx, const struct crier_topic_info *info)
{
    *(uint64_t *)ctx = info->partitions[0].high_watermark;
}

static void look(const char *url, struct found *found)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_options bus_options = crier_options_default();
    uint64_t end = 0;
    crier *bus;
    bus_options.close_timeout_ms = 60000;
    CHECK(crier_open(url, &bus_options, &bus) == 0);
    CHECK(crier_topic_describe(bus, "t", watermark, &end) == 0);
    found->highest = 0;
    found->count = 0;
    found->in_order = true;
    options.from = CRIER_EARLIEST;
    CHECK(crier_listen(bus, "t", &options, on_event, found, NULL) == 0);
    while (found->count < end) {
        int64_t us;
        CHECK(crier_ping(bus, &us) == 0); /* a round trip: it delivers meanwhile */
    }
    CHECK(crier_close(bus) == 0);
}

/* Every number from 1 on is there once and in order: an acknowledged one that is lost would leave a hole, for what the
 * process emitted after it would be there. What was not acknowledged may be there or not. */
int main(void)
{
    char parent[] = "/tmp/crier-embed-kill-XXXXXX", url[128], command[128];
    struct found found = {0};
    uint64_t acked = 0;
    CHECK(mkdtemp(parent));
    snprintf(url, sizeof(url), "embed:%s/data", parent);
    for (int i = 0; i < ROUNDS; i++) {
        pid_t looker;
        int fds[2], status;
        uint64_t highest_acked = round_run(url, found.highest + 1, &acked), seen[3];
        CHECK(pipe(fds) == 0);
        looker = fork(); /* also in a process of its own: this one has no threads yet to fork with */
        if (looker == 0) {
            look(url, &found);
            uint64_t answer[3] = {found.highest, found.count, found.in_order};
            _exit(write(fds[1], answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1);
        }
        CHECK(looker > 0 && waitpid(looker, &status, 0) == looker && status == 0);
        CHECK(read(fds[0], seen, sizeof(seen)) == (ssize_t)sizeof(seen));
        close(fds[0]);
        close(fds[1]);
        found.highest = seen[0];
        CHECK(seen[2]);                  /* no hole, nothing twice */
        CHECK(seen[0] >= highest_acked); /* nothing acknowledged is lost at the end */
        CHECK(seen[1] >= acked);
    }
    printf("%d kills: %llu events acknowledged, %llu found\n", ROUNDS, (unsigned long long)acked,
           (unsigned long long)found.highest);
    snprintf(command, sizeof(command), "rm -rf '%s'", parent);
    return system(command) == 0 ? 0 : 1;
}
