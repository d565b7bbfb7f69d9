/* test_client_groups.c: members of a group come, go, die and fall asleep while events flow: every event is handled, in order
 * per partition, and no partition has two owners. */
#include "tests/integration/group_members.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- a member in a process of its own, so that it can die or fall asleep ---- */

struct process {
    pid_t pid;
    int go;      /* written to: it begins */
    FILE *lines; /* "+P", "-P", "listening", "e P OFFSET" */
};

static void child_assigned(void *ctx, uint32_t partition, bool given)
{
    fprintf(ctx, "%c%u\n", given ? '+' : '-', partition);
}

static void child_listening(void *ctx)
{
    fputs("listening\n", ctx);
}

static int child_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    fprintf(ctx, "e %u %llu\n", event->partition, (unsigned long long)event->offset);
    return 0;
}

static void child_run(const char *url, FILE *lines, int commit_interval_ms)
{
    struct crier_options options = crier_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier *bus;
    setvbuf(lines, NULL, _IOLBF, 0);
    options.commit_interval_ms = commit_interval_ms;
    options.name = "child";
    listen.group = "g";
    listen.from = CRIER_EARLIEST;
    listen.session_timeout_ms = 1000;
    listen.assigned = child_assigned;
    listen.listening = child_listening;
    if (crier_open(url, &options, &bus) == 0 &&
        crier_listen(bus, "t", &listen, child_event, lines, NULL) == 0)
        for (;;)
            pause();
    _exit(1);
}

/* Before this process has a thread: a fork copies only the one that calls it. It waits for process_go. */
static struct process process_start(struct broker *broker, int commit_interval_ms)
{
    struct process process;
    int lines[2], go[2];
    char byte;
    cr_assert_eq(pipe(lines), 0);
    cr_assert_eq(pipe(go), 0);
    process.pid = fork();
    cr_assert_geq(process.pid, 0);
    if (process.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(go[1]);
        if (read(go[0], &byte, 1) == 1)
            child_run(broker_url(broker), fdopen(lines[1], "w"), commit_interval_ms);
        _exit(1);
    }
    close(lines[1]);
    close(go[0]);
    process.go = go[1];
    process.lines = fdopen(lines[0], "r");
    return process;
}

static void process_go(const struct process *process)
{
    cr_assert_eq(write(process->go, "g", 1), 1);
}

/* Its next line that begins with this. */
static const char *process_line(struct process *process, const char *begins)
{
    static char line[64];
    do
        cr_assert_not_null(fgets(line, sizeof(line), process->lines), "it ended");
    while (strncmp(line, begins, strlen(begins)) != 0);
    return line;
}

static void process_kill(struct process *process)
{
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
    close(process->go);
}

/* What it handled is as good as handled here. Reads up to its end, or until it has handled `count` events, or the event
 * `last` of `partitions` partitions. */
static void process_events(struct process *process, struct ledger *ledger, uint64_t count, uint64_t last,
                           int partitions)
{
    char line[64];
    unsigned partition;
    unsigned long long offset;
    while (count > 0 && partitions > 0 && fgets(line, sizeof(line), process->lines)) {
        if (sscanf(line, "e %u %llu\n", &partition, &offset) != 2)
            continue;
        cr_assert_lt(partition, PARTITIONS);
        pthread_mutex_lock(&ledger->lock);
        ledger_handled(ledger, NOBODY, partition, offset);
        pthread_mutex_unlock(&ledger->lock);
        count--;
        partitions -= offset == last;
    }
}

/* ---- describing ---- */

static void take_positions(void *ctx, const struct crier_group_info *info)
{
    uint64_t *positions = ctx;
    cr_assert_eq(info->partition_count, PARTITIONS);
    for (uint32_t i = 0; i < PARTITIONS; i++)
        positions[i] = info->partitions[i].has_position ? info->partitions[i].position : UINT64_MAX;
}

static void expect_positions(crier *bus, uint64_t each)
{
    uint64_t positions[PARTITIONS];
    cr_assert_eq(crier_group_describe(bus, "g", "t", take_positions, positions), 0);
    for (int i = 0; i < PARTITIONS; i++)
        cr_assert_eq(positions[i], each, "partition %d stands at %llu", i, (unsigned long long)positions[i]);
}

/* ---- the tests ---- */

TestSuite(client_groups, .timeout = 120);

Test(client_groups, members_that_come_and_go_under_load_handle_each_event_once_and_in_order)
{
    struct broker *broker = broker_start(NULL);
    struct ledger ledger;
    struct member members[MEMBERS_MAX];
    uint64_t number = 0;
    cr_assert_not_null(broker);
    crier *producer = bus_open(broker, "producer");
    topic_create(producer);
    ledger_init(&ledger);
    for (int i = 0; i < MEMBERS_MAX; i++)
        members[i] = (struct member){.ledger = &ledger, .number = i, .bus = bus_open(broker, "member")};
    join(&members[0], 0);
    await_owned(&ledger, 8, 0, 0);
    for (int round = 0; round < 5; round++) { /* nobody waits for the events before the next change */
        emit(producer, &number, 2000);
        join(&members[1], 0);
        emit(producer, &number, 2000);
        await_owned(&ledger, 4, 4, 0);
        emit(producer, &number, 2000);
        join(&members[2], 0);
        emit(producer, &number, 2000);
        await(&ledger, &(struct goal){.owned = {3, 3, 2}, .owned_matters = true});
        emit(producer, &number, 2000);
        leave(&members[0]);
        emit(producer, &number, 2000);
        await_owned(&ledger, 0, 4, 4);
        leave(&members[2]);
        leave(&members[1]);
        emit(producer, &number, 2000);
        join(&members[0], 0);
        await_owned(&ledger, 8, 0, 0);
    }
    await_handled(&ledger, number);
    for (int i = 0; i < MEMBERS_MAX; i++)
        cr_assert_eq(crier_close(members[i].bus), 0);
    expect_positions(producer, number / PARTITIONS);
    cr_assert_eq(crier_close(producer), 0);
    cr_assert_eq(ledger.handled, number);
    cr_assert_eq(ledger.repeated, 0, "whoever leaves in good order commits what it handled");
    for (int i = 0; i < PARTITIONS; i++)
        cr_assert_eq(ledger.owner[i], NOBODY, "closing takes every partition");
    ledger_finish(&ledger);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_groups, the_partitions_of_a_killed_member_go_to_the_others_with_nothing_left_out)
{
    struct broker *broker = broker_start(NULL);
    struct ledger ledger;
    uint64_t number = 0;
    cr_assert_not_null(broker);
    struct process process = process_start(broker, 100);
    crier *producer = bus_open(broker, "producer");
    topic_create(producer);
    emit(producer, &number, 8000);
    ledger_init(&ledger);
    process_go(&process);
    process_line(&process, "listening");
    struct member member = {.ledger = &ledger, .number = 0, .bus = bus_open(broker, "survivor")};
    process_events(&process, &ledger, 1000, UINT64_MAX,
                   1); /* it is in the middle of it, some committed, some not */
    process_kill(&process);
    process_events(&process, &ledger, UINT64_MAX, UINT64_MAX, 1);
    join(&member, 0);
    await_owned(&ledger, 8, 0, 0);
    emit(producer, &number, 800);
    await_handled(&ledger, number);
    cr_assert_eq(crier_close(member.bus), 0);
    cr_assert_eq(crier_close(producer), 0);
    ledger_finish(&ledger);
    fclose(process.lines);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_groups, a_member_that_fell_asleep_has_nothing_to_say_when_it_wakes_up_and_joins_again)
{
    struct broker *broker = broker_start(NULL);
    struct ledger ledger;
    uint64_t number = 0;
    cr_assert_not_null(broker);
    struct process process = process_start(broker, 60000);
    crier *producer = bus_open(broker, "producer");
    topic_create(producer);
    emit(producer, &number, 80);
    ledger_init(&ledger);
    process_go(&process); /* it has handled all and committed nothing ... */
    for (int i = 0; i < 80; i++)
        process_line(&process, "e ");
    kill(process.pid, SIGSTOP); /* ... when it falls asleep */
    expect_positions(producer, 0);
    hold(&ledger, true);
    struct member member = {.ledger = &ledger, .number = 0, .bus = bus_open(broker, "awake")};
    join(&member, 60000); /* its first handler call will take long */
    await(&ledger, &(struct goal){.owned = {8}, .owned_matters = true, .waiting = 1});
    kill(process.pid, SIGCONT);
    process_line(&process, "-");         /* it learns what happened ... */
    process_line(&process, "listening"); /* ... and is back, with nothing yet */
    expect_positions(producer, 0);       /* what it had not committed is not its own to commit any more */
    hold(&ledger, false);
    await_owned(&ledger, 4, 0, 0); /* the other half is the sleeper's again, from where it is committed */
    emit(producer, &number, 80);
    process_events(&process, &ledger, UINT64_MAX, number / PARTITIONS - 1, 4);
    await_handled(&ledger, number);
    process_kill(&process);
    cr_assert_eq(crier_close(member.bus), 0);
    cr_assert_eq(crier_close(producer), 0);
    ledger_finish(&ledger);
    fclose(process.lines);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_groups, a_broker_that_crashes_finds_its_members_again)
{
    struct broker *broker = broker_start(NULL);
    struct ledger ledger;
    struct member members[2];
    uint64_t number = 0;
    cr_assert_not_null(broker);
    crier *producer = bus_open(broker, "producer");
    topic_create(producer);
    ledger_init(&ledger);
    for (int i = 0; i < 2; i++) {
        members[i] = (struct member){.ledger = &ledger, .number = i, .bus = bus_open(broker, "member")};
        join(&members[i], 0);
    }
    await_owned(&ledger, 4, 4, 0);
    for (int round = 0; round < 3; round++) {
        unsigned joined = ledger.joined;
        emit(producer, &number, 4000);
        broker_kill(broker);
        await_owned(&ledger, 0, 0, 0);
        cr_assert(broker_restart(broker));
        await(&ledger, &(struct goal){.joined = joined + 2, .owned = {4, 4}, .owned_matters = true});
    }
    await_handled(&ledger, number); /* each of them, some more than once */
    for (int i = 0; i < 2; i++)
        cr_assert_eq(crier_close(members[i].bus), 0);
    cr_assert_eq(crier_close(producer), 0);
    ledger_finish(&ledger);
    cr_assert_eq(broker_destroy(broker), 0);
}

struct description {
    unsigned count;
    char names[64];
    uint32_t members;
    size_t topics;
    uint32_t partitions, named;
};

static void take_description(void *ctx, const struct crier_group_info *info)
{
    struct description *description = ctx;
    description->count++;
    strcat(description->names, info->name);
    description->members = info->member_count;
    description->topics = info->topic_count;
    description->partitions = info->partition_count;
    description->named = 0;
    for (uint32_t i = 0; i < info->partition_count; i++)
        description->named += info->partitions[i].member && strcmp(info->partitions[i].member, "member") == 0;
}

Test(client_groups, groups_are_listed_described_moved_and_forgotten)
{
    struct broker *broker = broker_start(NULL);
    struct ledger ledger;
    struct description description = {0};
    struct crier_group_seek_options seek = crier_group_seek_options_default();
    uint64_t number = 0, positions[PARTITIONS];
    cr_assert_not_null(broker);
    crier *bus = bus_open(broker, "admin");
    topic_create(bus);
    emit(bus, &number, 80);
    ledger_init(&ledger);
    struct member member = {.ledger = &ledger, .bus = bus_open(broker, "member")};
    join(&member, 0);
    await_handled(&ledger, 80);
    cr_assert_eq(crier_group_describe(bus, "g", "t", take_description, &description), 0);
    cr_assert_eq(description.members, 1);
    cr_assert_eq(description.partitions, PARTITIONS);
    cr_assert_eq(description.named, PARTITIONS);
    cr_assert_eq(crier_group_seek(bus, "g", "t", NULL), CRIER_EBUSY);
    cr_assert_eq(crier_group_delete(bus, "g"), CRIER_EBUSY);
    cr_assert_eq(crier_close(member.bus), 0);
    expect_positions(bus, 10);

    cr_assert_eq(crier_group_seek(bus, "g", "t", NULL), 0);
    expect_positions(bus, 0);
    seek.to = CRIER_LIVE;
    cr_assert_eq(crier_group_seek(bus, "g", "t", &seek), 0);
    expect_positions(bus, 10);
    seek.to = CRIER_TIME;
    seek.value = 0;
    cr_assert_eq(crier_group_seek(bus, "g", "t", &seek), 0);
    expect_positions(bus, 0);
    seek.value = INT64_MAX;
    cr_assert_eq(crier_group_seek(bus, "g", "t", &seek), 0);
    expect_positions(bus, 10);
    seek.to = CRIER_OFFSET;
    seek.value = 4;
    seek.partition = 7;
    cr_assert_eq(crier_group_seek(bus, "g", "t", &seek), 0);
    cr_assert_eq(crier_group_describe(bus, "g", "t", take_positions, positions), 0);
    cr_assert_eq(positions[6], 10);
    cr_assert_eq(positions[7], 4);
    seek.partition = PARTITIONS;
    cr_assert_eq(crier_group_seek(bus, "g", "t", &seek), CRIER_EINVAL);
    seek.partition = 0;
    seek.value = 11;
    cr_assert_eq(crier_group_seek(bus, "g", "t", &seek), CRIER_EINVAL);
    cr_assert_eq(crier_group_seek(bus, "g", "nowhere", NULL), CRIER_ENOTOPIC);

    cr_assert_eq(crier_group_seek(bus, "fresh", "t", NULL), 0);
    description = (struct description){0};
    cr_assert_eq(crier_group_list(bus, take_description, &description), 0);
    cr_assert_eq(description.count, 2);
    cr_assert_str_eq(description.names, "freshg");
    cr_assert_eq(crier_group_delete(bus, "fresh"), 0);
    cr_assert_eq(crier_group_describe(bus, "fresh", NULL, take_description, &description), CRIER_EINVAL);
    cr_assert_eq(crier_group_delete(bus, "fresh"), CRIER_EINVAL);
    description = (struct description){0};
    cr_assert_eq(crier_group_describe(bus, "g", NULL, take_description, &description), 0);
    cr_assert_eq(description.topics, 1);
    cr_assert_eq(description.partitions, 0);
    cr_assert_eq(crier_close(bus), 0);
    ledger_finish(&ledger);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_groups, a_topic_of_very_many_partitions_is_described_whole)
{
    struct broker *broker = broker_start(NULL);
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = 1024};
    struct crier_listen_options listen = crier_listen_options_default();
    struct description description = {0};
    char name[64];
    struct ledger ledger;
    cr_assert_not_null(broker);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ledger_init(&ledger);
    struct member member = {.ledger = &ledger, .bus = bus_open(broker, name)};
    cr_assert_eq(crier_topic_create(member.bus, "wide", &options), 0);
    listen.group = "g";
    listen.listening = on_listening;
    cr_assert_eq(crier_listen(member.bus, "wide", &listen, on_event, &member, NULL), 0);
    await(&ledger, &(struct goal){.joined = 1});
    cr_assert_eq(crier_group_describe(member.bus, "g", "wide", take_description, &description), 0);
    cr_assert_eq(description.count, 1);
    cr_assert_eq(description.partitions, 1024);
    cr_assert_eq(crier_close(member.bus), 0);
    ledger_finish(&ledger);
    cr_assert_eq(broker_destroy(broker), 0);
}
