/* failures.c: crier_sim_failures: the n-th allocation, commit, state flush, read or call on a socket fails, for every n.
 *
 *   crier_sim_failures [--every N] [--seed S] [--kind K]
 *                                  every N-th n only (default 1); allocation|commit|flush|read|link alone
 *   crier_sim_failures --nth N     that allocation alone, in this process, with its trace: for a debugger
 *
 * The scenario is one small run of the simulator without any other fault: clients emit, listen, ask, come and go. Each n is
 * a run in a process of its own, and has one of two ends:
 *
 *   kept      it ran to its end, and the checker found every promise kept: an error was told, a connection was closed
 *   stopped   a core or a client could not be opened and said so, or a small record of the core could not be had, and the process stopped by a CHECK in broker/core
 *             (docs/decisions/0003); of allocations only
 *
 * Anything else is a failure: a signal, a promise broken, a CHECK anywhere else. The simulator's own memory, and that of the
 * disk's twin, do not fail (sim.cmake). Thread: one. */
#include "base/check.h"
#include "tests/sim/sim.h"
#include "tests/support/allocation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 4096
#define SHOWN_MAX  2000

static const char *const kind_names[FAILURE_KINDS] = {"nothing", "allocation", "commit",
                                                      "flush",   "read",       "link"};

enum end { END_KEPT, END_STOPPED, END_BAD, ENDS };

struct loop {
    uint64_t seed, every;
    const char *only; /* kind; NULL: all */
    uint64_t ends[ENDS];
};

static struct sim_options scenario(uint64_t seed, const struct failure *failure)
{
    struct sim_options options = {.seed = seed, .failure = *failure};
    options.limits = (struct sim_limits){
        .faults_off = UINT32_MAX, .actions_max = 30, .clients_max = 3, .burst_max = 4, .calm = true};
    return options;
}

/* One run, here. Returns whether every promise was kept. */
static bool run(const struct sim_options *options, struct sim_result *result)
{
    sim_run(options, result);
    for (size_t i = 0; i < result->report.count; i++)
        fprintf(stderr, "breaks I%d: %s\n", result->report.violations[i].invariant,
                result->report.violations[i].text);
    return result->report.count == 0;
}

static void child(const struct loop *loop, const struct failure *failure, int output)
{
    static struct sim_result result;
    struct sim_options options = scenario(loop->seed, failure);
    options.print = output == STDERR_FILENO;
    dup2(output, STDERR_FILENO);
    if (failure->kind == FAIL_ALLOCATION && failure->for_ever)
        allocation_fail_from((unsigned)failure->nth - 1);
    else if (failure->kind == FAIL_ALLOCATION)
        allocation_fail_after((unsigned)failure->nth - 1);
    bool kept = run(&options, &result);
    fflush(NULL);
    _exit(kept ? 0 : 1);
}

static enum end judge(const struct failure *failure, int status, const char *output)
{
    bool stopped = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, "check failed");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return END_KEPT;
    if (stopped && failure->kind == FAIL_ALLOCATION && strstr(output, "broker/core/"))
        return END_STOPPED;
    if (stopped && failure->kind == FAIL_ALLOCATION &&
        (strstr(output, "client_open: check failed") ||
         strstr(output, "node_start: check failed: node->core")))
        return END_STOPPED; /* it could not be opened, and said so */
    return END_BAD;
}

static void one(struct loop *loop, const struct failure *failure)
{
    char output[OUTPUT_MAX + 1];
    size_t size = 0;
    int pipes[2], status;
    int rc = pipe(pipes);
    CHECK(rc == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(loop, failure, pipes[1]);
    close(pipes[1]);
    for (ssize_t some; size < OUTPUT_MAX && (some = read(pipes[0], output + size, OUTPUT_MAX - size)) > 0;)
        size += (size_t)some;
    output[size] = '\0';
    close(pipes[0]);
    pid_t waited = waitpid(pid, &status, 0);
    CHECK(waited == pid);
    enum end end = judge(failure, status, output);
    if (loop->ends[end]++ < SHOWN_MAX && end == END_BAD)
        printf("%s %" PRIu64 "%s: status %#x: %s\n", kind_names[failure->kind], failure->nth,
               failure->for_ever ? " and all after it" : "", (unsigned)status, output);
}

/* How many calls of a kind the scenario makes when none fails. */
static uint64_t calls(const struct loop *loop, enum failure_kind kind)
{
    static struct sim_result result;
    struct failure nothing = {0};
    struct sim_options options = scenario(loop->seed, &nothing);
    unsigned long before = allocation_count();
    bool kept = run(&options, &result);
    CHECK(kept);
    switch (kind) {
    case FAIL_ALLOCATION:
        return allocation_count() - before;
    case FAIL_COMMIT:
        return result.trace.count[TRACE_STORED];
    case FAIL_FLUSH:
        return result.trace.count[TRACE_FLUSHED];
    case FAIL_READ:
        return result.trace.count[TRACE_READ];
    case FAIL_LINK:
        return result.link_calls;
    default:
        return 0;
    }
}

static void each_kind(struct loop *loop)
{
    for (enum failure_kind kind = FAIL_ALLOCATION; kind < FAILURE_KINDS; kind++) {
        if (loop->only && strcmp(loop->only, kind_names[kind]) != 0)
            continue;
        uint64_t count = calls(loop, kind), kept = loop->ends[END_KEPT], stopped = loop->ends[END_STOPPED];
        bool has_for_ever = kind == FAIL_ALLOCATION || kind == FAIL_LINK;
        uint64_t every = kind == FAIL_ALLOCATION || kind == FAIL_LINK ? loop->every : 1;
        for (int for_ever = 0; for_ever <= has_for_ever; for_ever++)
            for (uint64_t nth = 1; nth <= count; nth += every)
                one(loop, &(struct failure){kind, nth, for_ever, allocation_never_fail});
        printf("%-10s %6" PRIu64 " calls: kept %" PRIu64 ", stopped by the core %" PRIu64 "\n",
               kind_names[kind], count, loop->ends[END_KEPT] - kept, loop->ends[END_STOPPED] - stopped);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct loop loop = {.seed = 7, .every = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--every"))
            loop.every = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seed"))
            loop.seed = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--nth"))
            child(&loop, &(struct failure){FAIL_ALLOCATION, strtoull(argv[i + 1], NULL, 10), false, NULL}, 2);
        else if (!strcmp(argv[i], "--kind"))
            loop.only = argv[i + 1];
    }
    if (loop.every == 0 || argc % 2 == 0) {
        fprintf(stderr, "usage: crier_sim_failures [--every N] [--seed S] [--kind K]\n");
        return 2;
    }
    each_kind(&loop);
    printf("%" PRIu64 " runs, %" PRIu64 " bad\n",
           loop.ends[END_KEPT] + loop.ends[END_STOPPED] + loop.ends[END_BAD], loop.ends[END_BAD]);
    return loop.ends[END_BAD] ? 1 : 0;
}
