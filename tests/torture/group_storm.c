/* group_storm.c: a thousand members of one group come, half of them go, come again, the broker is killed, they all come back
 * at once, and go: how long until everybody has its share, and how many partitions changed hands for it.
 *
 * Role:     one crierd, and N buses of libcrier on one loop in this process, each with a listener of one group on one topic
 *           of P partitions; real sockets, real disk.
 * Usage:    group_storm [--members N] [--partitions N] [--groups N]   --groups: and then so many groups of one member each.
 * Promises: I10: a partition is given to nobody while another has it. Moves: a change needs at most 1.2 times the least that
 *           makes the shares even again. Told, not promised: the time to settle, which depends on the machine.
 * Prints:   a line for each change; status 1 if a promise is broken or shares do not become even.
 * Thread:   one. */
#include "tests/support/broker_fixture.h"

#include "base/clock.h"

#include <crier/crier.h>

#include <err.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TOPIC             "storm"
#define GROUP             "storm"
#define NOBODY            UINT32_MAX
#define PATIENCE_S        60
#define GROUP_PARTITIONS  4
#define DESCRIPTORS_SPARE 64

struct member {
    struct storm *storm;
    uint32_t number;
    crier *bus;
    crier_listener *listener; /* NULL: it does not listen */
    uint32_t owned;
    bool listening;
};

struct storm {
    uint32_t members, partitions, groups;
    uint32_t groups_listening;
    struct event_base *base;
    struct member *member;
    uint32_t *owner;             /* by partition: a member, or NOBODY */
    uint32_t present, listening; /* members that should listen; that do */
    uint32_t connected;          /* buses */
    uint32_t left, released;     /* listeners that were asked to end; that have */
    uint64_t moves;              /* partitions given */
    uint64_t doubled;            /* of these, to a second owner */
    int failure;
};

static void parse(struct storm *storm, int argc, char **argv)
{
    static const struct option rows[] = {{"members", required_argument, NULL, 'm'},
                                         {"partitions", required_argument, NULL, 'p'},
                                         {"groups", required_argument, NULL, 'g'},
                                         {0}};
    *storm = (struct storm){.members = 1000, .partitions = 1000, .groups = 5000};
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        uint32_t value = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        if (c == 'm' && value >= 2)
            storm->members = value;
        else if (c == 'p' && value >= 1)
            storm->partitions = value;
        else if (c == 'g')
            storm->groups = value;
        else
            errx(2, "usage: group_storm [--members N] [--partitions N] [--groups N]");
    }
}

/* ---- what members hear ---- */

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    struct member *member = ctx;
    struct storm *storm = member->storm;
    if (given) {
        storm->doubled += storm->owner[partition] != NOBODY;
        storm->moves++;
        storm->owner[partition] = member->number;
        member->owned++;
    } else {
        if (storm->owner[partition] == member->number)
            storm->owner[partition] = NOBODY;
        member->owned--;
    }
}

static void on_listening(void *ctx)
{
    struct member *member = ctx;
    member->storm->listening += !member->listening;
    member->listening = true;
}

static void on_released(void *ctx, int code, const char *text)
{
    struct member *member = ctx;
    if (code < 0) {
        fprintf(stderr, "member %" PRIu32 ": %s\n", member->number, text ? text : crier_strerror(code));
        member->storm->failure = code;
    }
    member->storm->released++;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    (void)ctx;
    return 0;
}

static void on_connection(crier *bus, bool connected, const char *text, void *ctx)
{
    struct member *member = ctx;
    (void)bus;
    (void)text;
    member->storm->connected += connected ? 1 : -1u;
}

/* ---- changes ---- */

static bool is_even(const struct storm *storm)
{
    uint32_t share = storm->partitions / storm->present, larger = storm->partitions % storm->present;
    uint32_t owned = 0;
    for (uint32_t i = 0; i < storm->members; i++) {
        const struct member *member = &storm->member[i];
        if (!member->listener)
            continue;
        if (member->owned < share || member->owned > share + (larger > 0))
            return false;
        owned += member->owned;
    }
    return owned == storm->partitions;
}

static bool is_settled(const struct storm *storm)
{
    if (storm->released < storm->left || storm->listening < storm->present)
        return false;
    return storm->present == 0 || is_even(storm);
}

/* Turns the loop until *reached says so. False: it took too long, or a listener failed. */
static bool turn_until(struct storm *storm, bool (*reached)(const struct storm *storm))
{
    int64_t until_us = clock_monotonic_us() + PATIENCE_S * INT64_C(1000000);
    while (!reached(storm)) {
        if (storm->failure || clock_monotonic_us() > until_us)
            return false;
        event_base_loop(storm->base, EVLOOP_ONCE);
    }
    return true;
}

static void join(struct member *member)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = GROUP;
    options.from = CRIER_EARLIEST;
    options.released = on_released;
    options.listening = on_listening;
    options.assigned = on_assigned;
    int rc = crier_listen(member->bus, TOPIC, &options, on_event, member, &member->listener);
    if (rc < 0)
        errx(1, "member %" PRIu32 ": %s", member->number, crier_strerror(rc));
    member->storm->present++;
}

static void leave(struct member *member)
{
    member->storm->present--;
    member->storm->left++;
    member->storm->listening -= member->listening;
    member->listening = false;
    crier_unlisten(member->listener);
    member->listener = NULL; /* its end follows; what it has is already nobody's */
}

/* How many partitions have to change hands so that shares are even: those of nobody, and what is too much of anybody. */
static uint64_t least_moves(const struct storm *storm)
{
    uint64_t least = 0;
    uint32_t share, larger;
    if (storm->present == 0)
        return 0;
    share = storm->partitions / storm->present;
    larger = storm->partitions % storm->present;
    for (uint32_t p = 0; p < storm->partitions; p++)
        least += storm->owner[p] == NOBODY || !storm->member[storm->owner[p]].listener;
    for (uint32_t i = 0; i < storm->members; i++) {
        const struct member *member = &storm->member[i];
        if (!member->listener || member->owned <= share)
            continue;
        uint32_t keeps = share + (larger > 0);
        larger -= larger > 0;
        least += member->owned > keeps ? member->owned - keeps : 0;
    }
    return least;
}

/* Members first..last-1 join or leave, all at once. False: a promise is broken. */
static bool change(struct storm *storm, const char *what, uint32_t first, uint32_t last, bool joins)
{
    int64_t start_us = clock_monotonic_us();
    uint64_t moves = storm->moves;
    for (uint32_t i = first; i < last; i++) {
        if (joins)
            join(&storm->member[i]);
        else
            leave(&storm->member[i]);
    }
    uint64_t least = least_moves(storm);
    bool settled = turn_until(storm, is_settled);
    moves = storm->moves - moves;
    /* Who is alone at first has everything, and gives it up again: that is the price of not waiting for others. */
    if (joins && first == 0 && last == storm->members)
        least += storm->partitions - storm->partitions / storm->members;
    bool few = 10 * moves <= 12 * least;
    printf("%-28s %7.1f ms  %6" PRIu64 " moves, at least %6" PRIu64 "  %s\n", what,
           (double)(clock_monotonic_us() - start_us) / 1e3, moves, least,
           !settled         ? "NOT SETTLED"
           : storm->doubled ? "OWNERSHIP DOUBLED"
           : few            ? "good"
                            : "TOO MANY MOVES");
    fflush(stdout);
    return settled && few && storm->doubled == 0;
}

/* All of them come back at once. False: a promise is broken. */
static bool restart(struct storm *storm, struct broker *broker)
{
    broker_kill(broker);
    int64_t start_us = clock_monotonic_us();
    for (uint32_t i = 0; i < storm->members; i++) {
        storm->listening -= storm->member[i].listening;
        storm->member[i].listening = false;
    }
    if (!broker_restart(broker))
        return false;
    bool settled = turn_until(storm, is_settled);
    printf("%-28s %7.1f ms  %s\n", "the broker is killed", (double)(clock_monotonic_us() - start_us) / 1e3,
           !settled         ? "NOT SETTLED"
           : storm->doubled ? "OWNERSHIP DOUBLED"
                            : "good");
    fflush(stdout);
    return settled && storm->doubled == 0;
}

static void on_group_listening(void *ctx)
{
    ((struct storm *)ctx)->groups_listening++;
}

static bool all_groups_listen(const struct storm *storm)
{
    return storm->groups_listening == storm->groups;
}

/* Groups of one member each, spread over the buses, on a topic of their own; they end when their buses are closed. */
static bool many_groups(struct storm *storm)
{
    struct crier_listen_options options = crier_listen_options_default();
    int64_t start_us = clock_monotonic_us();
    char name[32];
    options.group = name;
    options.listening = on_group_listening;
    for (uint32_t i = 0; i < storm->groups; i++) {
        snprintf(name, sizeof(name), "group-%" PRIu32, i);
        int rc = crier_listen(storm->member[i % storm->members].bus, TOPIC "-groups", &options, on_event,
                              storm, NULL);
        if (rc < 0)
            errx(1, "%s: %s", name, crier_strerror(rc));
    }
    bool good = turn_until(storm, all_groups_listen);
    printf("%" PRIu32 " groups of one member    %7.1f ms  %s\n", storm->groups,
           (double)(clock_monotonic_us() - start_us) / 1e3, good ? "good" : "NOT SETTLED");
    return good;
}

static bool run(struct storm *storm, struct broker *broker)
{
    uint32_t half = storm->members / 2;
    char text[64];
    snprintf(text, sizeof(text), "%" PRIu32 " members join", storm->members);
    bool good = change(storm, text, 0, storm->members, true);
    snprintf(text, sizeof(text), "%" PRIu32 " of them leave", half);
    good = good && change(storm, text, 0, half, false);
    snprintf(text, sizeof(text), "%" PRIu32 " join again", half);
    good = good && change(storm, text, 0, half, true);
    good = good && restart(storm, broker);
    good = good && change(storm, "all leave", 0, storm->members, false);
    return good && many_groups(storm);
}

/* ---- before and after ---- */

static bool all_connected(const struct storm *storm)
{
    return storm->connected == storm->members;
}

static void open_buses(struct storm *storm, const char *url)
{
    struct crier_options options = crier_options_default();
    options.base = storm->base;
    options.connect_timeout_ms = 0;
    options.connection = on_connection;
    for (uint32_t i = 0; i < storm->members; i++) {
        storm->member[i] = (struct member){.storm = storm, .number = i};
        options.ctx = &storm->member[i];
        int rc = crier_open(url, &options, &storm->member[i].bus);
        if (rc < 0)
            errx(1, "bus %" PRIu32 ": %s", i, crier_strerror(rc));
    }
    if (!turn_until(storm, all_connected))
        errx(1, "only %" PRIu32 " of %" PRIu32 " buses have a connection", storm->connected, storm->members);
}

static void create_topic(struct storm *storm, const char *name, uint32_t partitions)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = partitions};
    int rc = crier_topic_create(storm->member[0].bus, name, &options);
    if (rc < 0)
        errx(1, "topic %s: %s", name, crier_strerror(rc));
}

static void need_descriptors(uint32_t count)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= count + DESCRIPTORS_SPARE)
        return;
    limit.rlim_cur = count + DESCRIPTORS_SPARE;
    if (limit.rlim_max < limit.rlim_cur)
        limit.rlim_max = limit.rlim_cur; /* root may */
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "%" PRIu32 " descriptors", count);
}

int main(int argc, char **argv)
{
    struct storm storm;
    parse(&storm, argc, argv);
    need_descriptors(2 * storm.members);
    storm.member = calloc(storm.members, sizeof(*storm.member));
    storm.owner = malloc(storm.partitions * sizeof(*storm.owner));
    storm.base = event_base_new();
    struct broker *broker = broker_start(NULL);
    if (!storm.member || !storm.owner || !storm.base || !broker)
        errx(1, "could not begin");
    for (uint32_t i = 0; i < storm.partitions; i++)
        storm.owner[i] = NOBODY;
    open_buses(&storm, broker_url(broker));
    create_topic(&storm, TOPIC, storm.partitions);
    create_topic(&storm, TOPIC "-groups", GROUP_PARTITIONS);
    bool good = run(&storm, broker);
    for (uint32_t i = 0; i < storm.members; i++)
        crier_close(storm.member[i].bus);
    if (!good)
        broker_log_print(broker);
    if (broker_destroy(broker) != 0)
        good = false;
    event_base_free(storm.base);
    free(storm.member);
    free(storm.owner);
    return good ? 0 : 1;
}
