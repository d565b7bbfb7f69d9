/* demo.c: runs the whole example: a broker, four services, and somebody who checks what they say.
 *
 * Role:      starts crierd on an empty folder and the services as processes of their own, shows how far they are, and puts
 *            their totals beside totals worked out from the same file by check_totals, which knows nothing of events.
 * Thread:    one; it waits in poll() for lines from its children, for a signal, or for the next picture.
 * Owns:      the children: each is ended, by its pid, on every way out.
 *
 * Happy path:  crierd says where it listens -> three services listen -> the order service reads the file -> every service
 *              is done -> check_totals -> agree.
 * --crash:     the three are killed (SIGKILL) in the middle of it and started again: the totals must not notice.
 * Failures:    a child that ends too early or says nothing new for a minute, totals that differ: status 1 and where the
 *              logs are. Ctrl-C: status 130. */
#include "child.h"
#include "screen.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE        4096
#define PICTURE_MS       100
#define PATIENCE_MS      60000
#define STOP_TIMEOUT_MS  10000
#define CRASH_AFTER      50 /* events a service has handled when --crash kills it; fewer if there are no more */
#define MAIN_FOLDER_MODE 0700

enum { ORDER, INVENTORY, EMAIL, ANALYTICS, SERVICES };
static const char *const service_names[SERVICES] = {"order", "inventory", "email", "analytics"};

struct member { /* a service */
    struct demo *demo;
    struct child child;
    json_t *report; /* its last line */
    bool listening; /* since it was started last */
    int restarts;
};

struct demo {
    const char *bin, *data; /* where the programs are; the order file */
    char directory[PATH_SIZE - 256];
    bool keep, stay, crash;
    char url[256], run[64];
    struct child broker, checker;
    struct member members[SERVICES];
    json_t *recomputed;
    struct screen screen;
    int signal_fd;
    bool interrupted;
    int64_t moved_ms; /* when a child last said something new */
    int64_t finished_ms;
};

static const char usage[] =
    "usage: order_demo --data FILE [--dir DIR] [--bin DIR] [--keep] [--stay] [--crash]\n\n"
    "Runs four services and a broker on an order file, and checks what comes out.\n\n"
    "  --data FILE  CSV: InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    "  --dir DIR    where data and logs go; emptied of an earlier run first (default build/demo)\n"
    "  --bin DIR    where crierd is (default: ../bin beside this program's folder)\n"
    "  --keep       keep the events, the mail and the ledgers; otherwise only logs and tables stay\n"
    "  --stay       when all is done, let the broker run on until Ctrl-C, to look around (keeps all)\n"
    "  --crash      kill inventory, email and analytics in the middle of it, and start them again\n";

/* ---- children ---- */

static void log_path(const struct demo *demo, const char *name, char *to)
{
    snprintf(to, PATH_SIZE, "%s/logs/%s.log", demo->directory, name);
}

static bool start(struct demo *demo, struct child *child, const char *name, const char *const argv[])
{
    char path[PATH_SIZE];
    log_path(demo, name, path);
    int rc = child_start(child, argv, path);
    if (rc < 0)
        fprintf(stderr, "demo: %s: %s\n", argv[0], strerror(-rc));
    return rc == 0;
}

static bool start_service(struct demo *demo, int which)
{
    char program[PATH_SIZE];
    struct member *member = &demo->members[which];
    const char *argv[] = {program, "--url",   demo->url, "--dir",    demo->directory,
                          "--run", demo->run, "--data",  demo->data, NULL};
    snprintf(program, sizeof(program), "%s/../examples/%s_service", demo->bin, service_names[which]);
    member->demo = demo;
    member->listening = false;
    child_finish(&member->child);
    return start(demo, &member->child, service_names[which], argv);
}

static void on_broker_line(void *ctx, char *line)
{
    struct demo *demo = ctx;
    const char *address = strstr(line, "listening on ");
    if (address && demo->url[0] == '\0')
        snprintf(demo->url, sizeof(demo->url), "crier://%s", address + strlen("listening on "));
}

static const char *state_of(const struct member *member)
{
    const char *state = json_string_value(json_object_get(member->report, "state"));
    return state ? state : "";
}

static void on_service_line(void *ctx, char *line)
{
    struct member *member = ctx;
    json_t *report = json_loads(line, 0, NULL);
    if (report == NULL)
        return; /* not ours; nothing relies on it */
    if (!json_equal(report, member->report))
        member->demo->moved_ms = screen_now_ms();
    json_decref(member->report);
    member->report = report;
    if (strcmp(state_of(member), "ready") == 0)
        member->listening = true;
}

static void on_checker_line(void *ctx, char *line)
{
    struct demo *demo = ctx;
    json_decref(demo->recomputed);
    demo->recomputed = json_loads(line, 0, NULL);
}

/* ---- the run ---- */

/* Waits a little for news and takes it in. False: interrupted. */
static bool turn(struct demo *demo)
{
    struct pollfd fds[SERVICES + 3] = {
        {demo->signal_fd, POLLIN, 0}, {demo->broker.fd, POLLIN, 0}, {demo->checker.fd, POLLIN, 0}};
    struct signalfd_siginfo info;
    for (int i = 0; i < SERVICES; i++)
        fds[i + 3] = (struct pollfd){demo->members[i].child.fd, POLLIN, 0};
    poll(fds, SERVICES + 3, PICTURE_MS);
    if (fds[0].revents && read(demo->signal_fd, &info, sizeof(info)) > 0)
        demo->interrupted = true;
    if (fds[1].revents)
        child_read(&demo->broker, on_broker_line, demo);
    if (fds[2].revents)
        child_read(&demo->checker, on_checker_line, demo);
    for (int i = 0; i < SERVICES; i++) {
        if (fds[i + 3].revents)
            child_read(&demo->members[i].child, on_service_line, &demo->members[i]);
    }
    return !demo->interrupted;
}

/* Ended, and with everything handled. */
static bool is_done(const struct member *member)
{
    return member->child.fd < 0 && member->child.status == 0 && strcmp(state_of(member), "done") == 0;
}

static void picture(struct demo *demo, bool force)
{
    struct screen_row rows[SERVICES];
    for (int i = 0; i < SERVICES; i++)
        rows[i] = (struct screen_row){service_names[i], demo->members[i].report, demo->members[i].restarts};
    screen_progress(&demo->screen, rows, SERVICES, force);
}

/* A child that is gone before its time, or silence: tells, and returns true. */
static bool has_failed(struct demo *demo)
{
    char path[PATH_SIZE];
    const char *culprit = demo->broker.fd < 0 ? "crierd" : NULL;
    for (int i = 0; culprit == NULL && i < SERVICES; i++) {
        struct member *member = &demo->members[i];
        if (member->demo && member->child.fd < 0 && !is_done(member))
            culprit = service_names[i];
    }
    if (culprit) {
        log_path(demo, culprit, path);
        fprintf(stderr, "demo: %s ended before its work was done; its last words are in %s\n", culprit, path);
    } else if (screen_now_ms() - demo->moved_ms > PATIENCE_MS) {
        culprit = "everybody";
        fprintf(stderr, "demo: nothing has moved for %d s; the logs are in %s/logs\n", PATIENCE_MS / 1000,
                demo->directory);
    }
    return culprit != NULL;
}

/* --crash: the service is killed without warning, and started again at once. */
static bool crash(struct demo *demo, int which)
{
    struct member *member = &demo->members[which];
    child_signal(&member->child, SIGKILL);
    while (child_read(&member->child, on_service_line, member))
        poll(&(struct pollfd){member->child.fd, POLLIN, 0}, 1, -1);
    member->restarts++;
    return start_service(demo, which);
}

/* --crash: each listening service once, in the middle of its work; then the run may end. */
static bool disturb(struct demo *demo)
{
    const struct member *orders = &demo->members[ORDER];
    int killed = 0;
    for (int i = INVENTORY; i < SERVICES; i++) {
        struct member *member = &demo->members[i];
        int64_t in = report_number(member->report, "in");
        bool all_read = report_number(orders->report, "percent") == 100;
        if (member->restarts == 0 && (in >= CRASH_AFTER || (all_read && in > 0)) && !crash(demo, i))
            return false;
        killed += member->restarts;
    }
    if (killed == SERVICES - INVENTORY)
        child_signal(&demo->members[ORDER].child, SIGUSR1);
    return true;
}

static bool start_broker(struct demo *demo)
{
    char program[PATH_SIZE], data[PATH_SIZE];
    const char *argv[] = {program, "--data", data, "--listen", "127.0.0.1:0", NULL};
    snprintf(program, sizeof(program), "%s/crierd", demo->bin);
    snprintf(data, sizeof(data), "%s/broker", demo->directory);
    if (!start(demo, &demo->broker, "crierd", argv))
        return false;
    while (demo->url[0] == '\0') {
        if (!turn(demo) || has_failed(demo))
            return false;
    }
    printf("  crierd listens on %s; every order is on its disk before it is acknowledged\n\n", demo->url);
    return true;
}

/* The listeners first, so that nothing they show was there before them. */
static bool start_listeners(struct demo *demo)
{
    for (int i = INVENTORY; i < SERVICES; i++) {
        if (!start_service(demo, i))
            return false;
    }
    for (bool all = false; !all;) {
        all = true;
        for (int i = INVENTORY; i < SERVICES; i++)
            all = all && demo->members[i].listening;
        if (!turn(demo) || has_failed(demo))
            return false;
    }
    return true;
}

static bool run_services(struct demo *demo)
{
    screen_start(&demo->screen);
    if (!start_service(demo, ORDER))
        return false;
    for (bool all = false; !all;) {
        if (!turn(demo) || has_failed(demo) || (demo->crash && !disturb(demo)))
            return false;
        all = true;
        for (int i = 0; i < SERVICES; i++)
            all = all && is_done(&demo->members[i]);
        picture(demo, all);
    }
    demo->finished_ms = screen_now_ms();
    return true;
}

static bool recompute(struct demo *demo)
{
    char program[PATH_SIZE];
    const char *argv[] = {program, demo->data, NULL};
    snprintf(program, sizeof(program), "%s/../examples/check_totals", demo->bin);
    if (!start(demo, &demo->checker, "check_totals", argv))
        return false;
    demo->moved_ms = screen_now_ms();
    while (demo->checker.fd >= 0) {
        if (!turn(demo) || has_failed(demo))
            return false;
    }
    if (demo->recomputed == NULL)
        fprintf(stderr, "demo: check_totals failed; see %s/logs/check_totals.log\n", demo->directory);
    return demo->recomputed != NULL;
}

/* ---- the end ---- */

static void print_file(const char *path)
{
    char line[512];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        printf("  %s", line);
    if (file)
        fclose(file);
}

/* Returns how many totals differ. */
static int report(struct demo *demo)
{
    struct screen_row rows[SERVICES];
    char path[PATH_SIZE];
    json_t *services = json_object();
    for (int i = 0; i < SERVICES; i++) {
        struct member *member = &demo->members[i];
        rows[i] = (struct screen_row){service_names[i], member->report, member->restarts};
        json_object_set(services, service_names[i], json_object_get(member->report, "totals"));
    }
    screen_services(&demo->screen, rows, SERVICES);
    int differ = screen_totals(&demo->screen, services, demo->recomputed);
    printf("\n");
    snprintf(path, sizeof(path), "%s/revenue.txt", demo->directory);
    print_file(path);

    double seconds = (double)(demo->finished_ms - demo->screen.started_ms) / 1e3;
    int64_t lines = report_number(demo->recomputed, "lines"),
            orders = report_number(demo->recomputed, "messages");
    printf(
        "\n  %s  %s lines became %s orders in %.1f s: %s lines/s, through four services and a durable log.\n",
        differ ? PAINT(&demo->screen, SCREEN_RED, "TOTALS DIFFER.")
               : PAINT(&demo->screen, SCREEN_GREEN, "All totals agree."),
        NUMBER(lines), NUMBER(orders), seconds, NUMBER((int64_t)((double)lines / seconds)));
    json_decref(services);
    return differ;
}

static void suggest(const struct demo *demo)
{
    printf("\n  Logs: %s/logs\n", demo->directory);
    if (demo->stay || demo->keep)
        printf("  Mail: %s/Maildir\n", demo->directory);
    if (demo->stay) {
        printf("\n  The broker is still there. In another terminal:\n"
               "    export CRIER_URL=%s PATH=%s:$PATH\n"
               "    crier topic list\n"
               "    crier on orders.placed --from earliest --count 3\n"
               "    crier on stock.low --from earliest --timeout 1s\n"
               "    crier emit orders.placed 'no order at all'\n"
               "  Ctrl-C ends it.\n",
               demo->url, demo->bin);
    } else if (demo->keep) {
        printf("\n  Next: start the broker on these events, and look at them from another terminal:\n"
               "    %s/crierd --data %s/broker\n"
               "    %s/crier on orders.placed --from earliest --count 3\n",
               demo->bin, demo->directory, demo->bin);
    } else {
        printf(
            "  Next: ./dev demo --stay    the broker stays, to look around with `crier on`, `crier topic "
            "list`\n"
            "        ./dev demo --crash   services are killed in the middle of it; the totals do not notice\n"
            "        ./dev demo --data FILE.csv\n");
    }
    fflush(stdout);
}

static void stop_all(struct demo *demo)
{
    for (int i = 0; i < SERVICES; i++)
        child_stop(&demo->members[i].child, STOP_TIMEOUT_MS);
    child_stop(&demo->checker, STOP_TIMEOUT_MS);
    child_stop(&demo->broker, STOP_TIMEOUT_MS);
}

static void finish(struct demo *demo)
{
    for (int i = 0; i < SERVICES; i++) {
        child_finish(&demo->members[i].child);
        json_decref(demo->members[i].report);
    }
    child_finish(&demo->checker);
    child_finish(&demo->broker);
    json_decref(demo->recomputed);
    close(demo->signal_fd);
}

/* ---- folders ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_data(const struct demo *demo)
{
    static const char *const names[] = {
        "broker", "Maildir", "inventory.mdb", "analytics.mdb", "inventory.mdb-lock", "analytics.mdb-lock"};
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", demo->directory, names[i]);
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

static void make_folder(const char *path)
{
    if (mkdir(path, MAIN_FOLDER_MODE) < 0 && errno != EEXIST)
        err(1, "%s", path);
}

static void prepare_folders(struct demo *demo)
{
    char path[PATH_SIZE];
    make_folder(demo->directory);
    remove_data(demo);
    snprintf(path, sizeof(path), "%s/logs", demo->directory);
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    make_folder(path);
}

/* ---- main ---- */

static void parse(struct demo *demo, int argc, char **argv)
{
    static const struct option rows[] = {
        {"data", required_argument, NULL, 'f'}, {"dir", required_argument, NULL, 'd'},
        {"bin", required_argument, NULL, 'b'},  {"keep", no_argument, NULL, 'k'},
        {"stay", no_argument, NULL, 's'},       {"crash", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},       {0}};
    const char *directory = "build/demo";
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'f')
            demo->data = optarg;
        else if (c == 'd')
            directory = optarg;
        else if (c == 'b')
            demo->bin = optarg;
        else if (c == 'k')
            demo->keep = true;
        else if (c == 's')
            demo->stay = true;
        else if (c == 'c')
            demo->crash = true;
        else {
            fputs(usage, c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (demo->data == NULL || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    if (access(demo->data, R_OK) < 0)
        err(2, "%s", demo->data);
    if ((size_t)snprintf(demo->directory, sizeof(demo->directory), "%s", directory) >=
        sizeof(demo->directory))
        errx(2, "--dir: too long");
}

/* ../bin as seen from the folder this program is in. Returned (free). */
static char *own_bin(void)
{
    char self[PATH_SIZE], path[PATH_SIZE];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (size < 0)
        err(1, "/proc/self/exe");
    self[size] = '\0';
    *strrchr(self, '/') = '\0';
    if ((size_t)snprintf(path, sizeof(path), "%s/../bin", self) >= sizeof(path))
        errx(1, "%s: too long", self);
    char *bin = realpath(path, NULL);
    if (bin == NULL)
        err(1, "%s", path);
    return bin;
}

static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
    struct demo demo = {.broker.fd = -1, .checker.fd = -1};
    int status = 1;

    for (int i = 0; i < SERVICES; i++)
        demo.members[i].child.fd = -1;
    parse(&demo, argc, argv);
    char *bin = demo.bin ? NULL : own_bin();
    if (bin)
        demo.bin = bin;
    if ((demo.signal_fd = take_signals()) < 0)
        err(1, "signalfd");
    prepare_folders(&demo);
    snprintf(demo.run, sizeof(demo.run), "run-%jd", (intmax_t)time(NULL));
    screen_init(&demo.screen);
    demo.moved_ms = screen_now_ms();

    printf("\n%s\n", PAINT(&demo.screen, SCREEN_BOLD, "  crier: order processing with four services"));
    if (start_broker(&demo) && start_listeners(&demo) && run_services(&demo) && recompute(&demo)) {
        status = report(&demo) == 0 ? 0 : 1;
        suggest(&demo);
        while (demo.stay && turn(&demo) && demo.broker.fd >= 0)
            ;
    }
    stop_all(&demo);
    if (!demo.keep && !demo.stay && status == 0)
        remove_data(&demo);
    finish(&demo);
    free(bin);
    return demo.interrupted && !demo.stay ? 130 : status;
}
