/* run.c: the processes of the demo: started, heard, watched, killed.
 *
 * Happy path:  start_process -> child.c: fork, exec -> its lines (a service's are JSON, see service.h) -> it ends by itself.
 * Failures:    a child that ends too early, or nothing new for a minute, or a run that takes too long: said on standard
 *              error, with the log to look at. One that we killed has not failed. */
#include "demo.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define PICTURE_MS      100
#define CHAOS_TURN_MS   10
#define PATIENCE_MS     60000
#define LIMIT_MS        300000 /* for all of it, when processes are killed: nobody watches for ever */
#define STOP_TIMEOUT_MS 10000
#define NAME_SIZE       32

const char *const role_names[ROLES] = {"broker", "order", "inventory", "email", "analytics"};

void log_path(const struct demo *demo, const char *name, char to[PATH_SIZE])
{
    snprintf(to, PATH_SIZE, "%s/logs/%s.log", demo->directory, name);
}

/* "inventory", or "inventory-2" if there are several. */
static void process_name(const struct demo *demo, enum role role, int number, char to[NAME_SIZE])
{
    if (demo->instances[role] > 1)
        snprintf(to, NAME_SIZE, "%s-%d", role_names[role], number);
    else
        snprintf(to, NAME_SIZE, "%s", role_names[role]);
}

/* ---- starting ---- */

static bool start(struct demo *demo, struct child *child, const char *name, const char *const argv[])
{
    char path[PATH_SIZE];
    log_path(demo, name, path);
    int rc = child_start(child, argv, path);
    if (rc < 0)
        fprintf(stderr, "demo: %s: %s\n", argv[0], strerror(-rc));
    return rc == 0;
}

/* Always on the address it had first. */
static bool start_broker(struct demo *demo, struct child *child)
{
    char program[PATH_SIZE], data[PATH_SIZE];
    const char *at = demo->url[0] ? demo->url + strlen("crier://") : "127.0.0.1:0";
    const char *argv[] = {program, "--data", data, "--listen", at, NULL};
    snprintf(program, sizeof(program), "%s/crierd", demo->bin);
    snprintf(data, sizeof(data), "%s/broker", demo->directory);
    return start(demo, child, role_names[BROKER], argv);
}

bool start_process(struct demo *demo, enum role role, int instance)
{
    char program[PATH_SIZE], name[NAME_SIZE], spread[16];
    struct process *process = &demo->processes[role][instance];
    process->demo = demo;
    process->role = role;
    process->number = instance + 1;
    process->up = process->killed = false;
    child_finish(&process->child);
    demo->moved_ms = screen_now_ms();
    if (role == BROKER)
        return start_broker(demo, &process->child);
    const char *argv[16] = {program, "--url",   demo->url, "--dir",    demo->directory,
                            "--run", demo->run, "--data",  demo->data, NULL};
    if (demo->chaos.count > 0) {
        snprintf(spread, sizeof(spread), "%d", chaos_duration_ms(&demo->chaos));
        memcpy(&argv[9], (const char *[]){"--hold", "--spread", spread, NULL}, 4 * sizeof(argv[0]));
    }
    snprintf(program, sizeof(program), "%s/../examples/%s_service", demo->bin, role_names[role]);
    process_name(demo, role, process->number, name);
    return start(demo, &process->child, name, argv);
}

bool start_checker(struct demo *demo)
{
    char program[PATH_SIZE];
    const char *argv[] = {program, demo->data, NULL};
    snprintf(program, sizeof(program), "%s/../examples/check_totals", demo->bin);
    demo->moved_ms = screen_now_ms();
    return start(demo, &demo->checker, "check_totals", argv);
}

/* ---- hearing ---- */

static void on_broker_line(struct process *process, char *line)
{
    struct demo *demo = process->demo;
    const char *address = strstr(line, "listening on ");
    if (address == NULL)
        return;
    if (demo->url[0] == '\0')
        snprintf(demo->url, sizeof(demo->url), "crier://%s", address + strlen("listening on "));
    process->up = true;
    demo->moved_ms = screen_now_ms();
}

static const char *state_of(const struct process *process)
{
    const char *state = json_string_value(json_object_get(process->report, "state"));
    return state ? state : "";
}

static void on_service_line(struct process *process, char *line)
{
    json_t *report = json_loads(line, 0, NULL);
    if (report == NULL)
        return; /* not ours; nothing relies on it */
    if (!json_equal(report, process->report))
        process->demo->moved_ms = screen_now_ms();
    json_decref(process->report);
    process->report = report;
    if (strcmp(state_of(process), "ready") == 0 || report_number(report, "percent") > 0)
        process->up = true; /* it listens; or it is in its file */
}

static void on_line(void *ctx, char *line)
{
    struct process *process = ctx;
    if (process->role == BROKER)
        on_broker_line(process, line);
    else
        on_service_line(process, line);
}

static void on_checker_line(void *ctx, char *line)
{
    struct demo *demo = ctx;
    json_decref(demo->recomputed);
    demo->recomputed = json_loads(line, 0, NULL);
}

bool turn(struct demo *demo)
{
    struct pollfd fds[ROLES * INSTANCES_MAX + 2] = {{demo->signal_fd, POLLIN, 0},
                                                    {demo->checker.fd, POLLIN, 0}};
    struct process *whose[ROLES * INSTANCES_MAX];
    struct signalfd_siginfo info;
    nfds_t count = 0;
    for (int role = 0; role < ROLES; role++) {
        for (int i = 0; i < demo->instances[role]; i++) {
            whose[count] = &demo->processes[role][i];
            fds[2 + count++] = (struct pollfd){demo->processes[role][i].child.fd, POLLIN, 0};
        }
    }
    poll(fds, count + 2, demo->chaos.done < demo->chaos.count ? CHAOS_TURN_MS : PICTURE_MS);
    if (fds[0].revents && read(demo->signal_fd, &info, sizeof(info)) > 0)
        demo->interrupted = true;
    if (fds[1].revents)
        child_read(&demo->checker, on_checker_line, demo);
    for (nfds_t i = 0; i < count; i++) {
        if (fds[2 + i].revents)
            child_read(&whose[i]->child, on_line, whose[i]);
    }
    return !demo->interrupted;
}

/* ---- watching ---- */

bool is_done(const struct process *process)
{
    return process->child.fd < 0 && process->child.status == 0 && strcmp(state_of(process), "done") == 0;
}

bool all_done(const struct demo *demo)
{
    for (int role = ORDER; role < ROLES; role++) {
        for (int i = 0; i < demo->instances[role]; i++) {
            if (!is_done(&demo->processes[role][i]))
                return false;
        }
    }
    return true;
}

bool all_up(const struct demo *demo, enum role first, enum role last)
{
    for (int role = (int)first; role <= (int)last; role++) {
        for (int i = 0; i < demo->instances[role]; i++) {
            if (!demo->processes[role][i].up)
                return false;
        }
    }
    return true;
}

/* Started, ended, and neither done nor killed by us. */
static const struct process *find_dead(const struct demo *demo)
{
    for (int role = 0; role < ROLES; role++) {
        for (int i = 0; i < demo->instances[role]; i++) {
            const struct process *process = &demo->processes[role][i];
            if (process->demo && !process->killed && process->child.fd < 0 && !is_done(process))
                return process;
        }
    }
    return NULL;
}

bool has_failed(struct demo *demo)
{
    char path[PATH_SIZE], name[NAME_SIZE];
    const struct process *dead = find_dead(demo);
    int64_t now_ms = screen_now_ms();
    if (dead) {
        process_name(demo, dead->role, dead->number, name);
        log_path(demo, name, path);
        fprintf(stderr, "demo: %s ended before its work was done; its last words are in %s\n", name, path);
        return true;
    }
    bool silent = now_ms - demo->moved_ms > PATIENCE_MS;
    bool endless = demo->chaos.count > 0 && now_ms - demo->screen.started_ms > LIMIT_MS;
    if (silent)
        fprintf(stderr, "demo: nothing has moved for %d s; the logs are in %s/logs\n", PATIENCE_MS / 1000,
                demo->directory);
    else if (endless)
        fprintf(stderr, "demo: not done after %d s; the logs are in %s/logs\n", LIMIT_MS / 1000,
                demo->directory);
    return silent || endless;
}

static struct counts counts_of(json_t *report)
{
    return (struct counts){report_number(report, "in"), report_number(report, "out"),
                           report_number(report, "failed"), report_number(report, "repeated")};
}

static struct counts counts_sum(struct counts a, struct counts b)
{
    return (struct counts){a.in + b.in, a.out + b.out, a.failed + b.failed, a.repeated + b.repeated};
}

struct screen_row role_row(struct demo *demo, enum role role)
{
    struct screen_row row = {
        .name = role_names[role], .percent = role == ORDER ? 0 : -1, .instances = demo->instances[role]};
    for (int i = 0; i < demo->instances[role]; i++) {
        const struct process *process = &demo->processes[role][i];
        row.counts = counts_sum(row.counts, counts_sum(process->earlier, counts_of(process->report)));
        row.lag += report_number(process->report, "lag");
        if (role == ORDER)
            row.percent = report_number(process->report, "percent");
        row.kills += process->kills;
        row.up[i] = process->up;
    }
    return row;
}

/* ---- ending ---- */

void kill_process(struct process *process)
{
    child_signal(&process->child, SIGKILL);
    while (child_read(&process->child, on_line, process))
        poll(&(struct pollfd){process->child.fd, POLLIN, 0}, 1, -1);
    process->earlier = counts_sum(process->earlier, counts_of(process->report));
    json_decref(process->report);
    process->report = NULL;
    process->up = false;
    process->killed = true;
    process->kills++;
}

void stop_all(struct demo *demo)
{
    for (int role = ROLES - 1; role >= 0; role--) { /* the broker last */
        for (int i = 0; i < demo->instances[role]; i++)
            child_stop(&demo->processes[role][i].child, STOP_TIMEOUT_MS);
    }
    child_stop(&demo->checker, STOP_TIMEOUT_MS);
}
