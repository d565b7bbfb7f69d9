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
 * --chaos:     everybody is, the broker too, many times, and each of the three runs as one to three instances.
 * Failures:    what has_failed() tells, or totals that differ: status 1 and where the logs are. Ctrl-C: status 130. */
#include "demo.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAIN_FOLDER_MODE 0700

static const char usage[] =
    "usage: order_demo --data FILE [--dir DIR] [--bin DIR] [--keep] [--stay]\n"
    "                  [--crash | --chaos [--seed N] [--kills N]]\n\n"
    "Runs four services and a broker on an order file, and checks what comes out.\n\n"
    "  --data FILE  CSV: InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    "  --dir DIR    where data and logs go; emptied of an earlier run first (default build/demo)\n"
    "  --bin DIR    where crierd is (default: ../bin beside this program's folder)\n"
    "  --keep       keep the events, the mail and the ledgers; otherwise only logs and tables stay\n"
    "  --stay       when all is done, let the broker run on until Ctrl-C, to look around (keeps all)\n"
    "  --crash      kill inventory, email and analytics in the middle of it, and start them again\n"
    "  --chaos      run one to three instances of each of them, and kill everybody, the broker too, many "
    "times\n"
    "  --seed N     of the chaos: who is killed, when, for how long (default: another one each time)\n"
    "  --kills N    of the chaos: how many, up to 1000 (default 12)\n";

/* ---- the run ---- */

static bool start_role(struct demo *demo, enum role role)
{
    for (int i = 0; i < demo->instances[role]; i++) {
        if (!start_process(demo, role, i))
            return false;
    }
    return true;
}

static bool wait_until_up(struct demo *demo, enum role first, enum role last)
{
    while (!all_up(demo, first, last)) {
        if (!turn(demo) || has_failed(demo))
            return false;
    }
    return true;
}

/* The listeners first, so that nothing they show was there before them. */
static bool start_broker_and_listeners(struct demo *demo)
{
    if (!start_role(demo, BROKER) || !wait_until_up(demo, BROKER, BROKER))
        return false;
    printf("  crierd listens on %s; every order is on its disk before it is acknowledged\n", demo->url);
    if (demo->chaos.count > 0)
        printf("  %d times somebody is killed (SIGKILL) and started again; seed %" PRIu64
               " repeats who and when\n",
               demo->chaos.count, demo->chaos.seed);
    printf("\n");
    for (int role = INVENTORY; role < ROLES; role++) {
        if (!start_role(demo, (enum role)role))
            return false;
    }
    return wait_until_up(demo, INVENTORY, ANALYTICS);
}

static void rows_of(struct demo *demo, struct screen_row rows[ROLES])
{
    for (int role = 0; role < ROLES; role++)
        rows[role] = role_row(demo, (enum role)role);
}

static bool run_services(struct demo *demo)
{
    struct screen_row rows[ROLES];
    screen_start(&demo->screen);
    if (!start_role(demo, ORDER))
        return false;
    for (bool all = false; !all;) {
        if (!turn(demo) || has_failed(demo) || !chaos_turn(demo))
            return false;
        all = all_done(demo);
        rows_of(demo, rows);
        screen_progress(&demo->screen, demo->chaos.count > 0 ? &rows[BROKER] : NULL, &rows[ORDER],
                        ROLES - ORDER, all);
    }
    demo->finished_ms = screen_now_ms();
    return true;
}

static bool recompute(struct demo *demo)
{
    if (!start_checker(demo))
        return false;
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

static void tell_kills(const struct demo *demo, const struct screen_row rows[ROLES])
{
    int64_t repeated = 0;
    printf("  %d kills (", demo->chaos.done);
    for (int role = 0; role < ROLES; role++) {
        printf("%s%s %d", role ? ", " : "", rows[role].name, rows[role].kills);
        repeated += rows[role].counts.repeated;
    }
    printf("), seed %" PRIu64 ". Of the orders, %s came a second time and were counted once.\n",
           demo->chaos.seed, NUMBER(repeated));
}

/* Returns how many totals differ. */
static int report(struct demo *demo)
{
    struct screen_row rows[ROLES];
    char path[PATH_SIZE];
    json_t *services = json_object();
    rows_of(demo, rows);
    for (int role = ORDER; role < ROLES; role++) /* every instance tells the whole service's */
        json_object_set(services, role_names[role],
                        json_object_get(demo->processes[role][0].report, "totals"));
    screen_services(&demo->screen, &rows[ORDER], ROLES - ORDER);
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
    if (demo->chaos.count > 0)
        tell_kills(demo, rows);
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
        printf("  Next: ./dev demo --stay    the broker stays, to look around with `crier on`, `crier topic "
               "list`\n"
               "        ./dev demo --chaos   broker and services are killed again and again; the totals do "
               "not notice\n"
               "        ./dev demo --data FILE.csv\n");
    }
    fflush(stdout);
}

static void finish(struct demo *demo)
{
    for (int role = 0; role < ROLES; role++) {
        for (int i = 0; i < INSTANCES_MAX; i++) {
            child_finish(&demo->processes[role][i].child);
            json_decref(demo->processes[role][i].report);
        }
    }
    child_finish(&demo->checker);
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

enum mode { PLAIN, CRASH, CHAOS };

static void make_plan(struct demo *demo, enum mode mode)
{
    static const int crash[] = {INVENTORY, EMAIL, ANALYTICS};
    static const int everybody[] = {BROKER, ORDER, INVENTORY, EMAIL, ANALYTICS};
    for (int role = 0; role < ROLES; role++)
        demo->instances[role] = 1;
    for (int role = INVENTORY; mode == CHAOS && role < ROLES; role++)
        demo->instances[role] = chaos_choose(demo->chaos.seed, (uint64_t)role, INSTANCES_MAX);
    if (mode == CRASH)
        demo->chaos.count = (int)(sizeof(crash) / sizeof(crash[0]));
    if (mode == CRASH)
        chaos_plan(&demo->chaos, crash, demo->chaos.count, demo->instances);
    else if (mode == CHAOS)
        chaos_plan(&demo->chaos, everybody, (int)(sizeof(everybody) / sizeof(everybody[0])), demo->instances);
    else
        demo->chaos.count = 0;
}

static uint64_t parse_number(const char *option, const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value > max || *text == '-')
        errx(2, "--%s: '%s' is no number up to %" PRIu64, option, text, max);
    return value;
}

static _Noreturn void tell_usage(bool asked)
{
    fputs(usage, asked ? stdout : stderr);
    exit(asked ? 0 : 2);
}

static void parse(struct demo *demo, int argc, char **argv)
{
    static const struct option rows[] = {{"data", required_argument, NULL, 'f'},
                                         {"dir", required_argument, NULL, 'd'},
                                         {"bin", required_argument, NULL, 'b'},
                                         {"keep", no_argument, NULL, 'k'},
                                         {"stay", no_argument, NULL, 's'},
                                         {"crash", no_argument, NULL, 'c'},
                                         {"chaos", no_argument, NULL, 'x'},
                                         {"seed", required_argument, NULL, 'r'},
                                         {"kills", required_argument, NULL, 'n'},
                                         {"help", no_argument, NULL, 'h'},
                                         {0}};
    const char *directory = "build/demo";
    enum mode mode = PLAIN;
    demo->chaos.seed = (uint64_t)time(NULL);
    demo->chaos.count = CHAOS_KILLS_DEFAULT;
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        switch (c) {
        case 'f':
            demo->data = optarg;
            break;
        case 'd':
            directory = optarg;
            break;
        case 'b':
            demo->bin = optarg;
            break;
        case 'k':
            demo->keep = true;
            break;
        case 's':
            demo->stay = true;
            break;
        case 'c':
        case 'x':
            mode = c == 'c' ? CRASH : CHAOS;
            break;
        case 'r':
            demo->chaos.seed = parse_number("seed", optarg, UINT64_MAX);
            break;
        case 'n':
            demo->chaos.count = (int)parse_number("kills", optarg, CHAOS_KILLS_MAX);
            break;
        default:
            tell_usage(c == 'h');
        }
    }
    if (demo->data == NULL || optind != argc)
        tell_usage(false);
    if (access(demo->data, R_OK) < 0)
        err(2, "%s", demo->data);
    if ((size_t)snprintf(demo->directory, sizeof(demo->directory), "%s", directory) >=
        sizeof(demo->directory))
        errx(2, "--dir: too long");
    make_plan(demo, mode);
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
    static struct demo demo = {.checker.fd = -1};
    int status = 1;

    for (int role = 0; role < ROLES; role++) {
        for (int i = 0; i < INSTANCES_MAX; i++)
            demo.processes[role][i].child.fd = -1;
    }
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
    if (start_broker_and_listeners(&demo) && run_services(&demo) && recompute(&demo)) {
        status = report(&demo) == 0 ? 0 : 1;
        suggest(&demo);
        while (demo.stay && turn(&demo) && demo.processes[BROKER][0].child.fd >= 0)
            ;
    }
    stop_all(&demo);
    if (!demo.keep && !demo.stay && status == 0)
        remove_data(&demo);
    finish(&demo);
    free(bin);
    return demo.interrupted && !demo.stay ? 130 : status;
}
