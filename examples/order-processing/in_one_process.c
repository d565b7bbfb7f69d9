/* in_one_process.c: the whole example as one program: the four services on threads, and the broker inside, elsewhere, or nowhere.
 *
 * Role:    shows that a service does not know where its broker is: these are the programs beside, their main() under
 *          another name (CMakeLists.txt), given another URL. With embed:DIR/data, the default, the four buses share one
 *          broker; with crier://HOST:PORT it is elsewhere; with local:NAME there is none, and an order's way through all
 *          services is a function call.
 * Usage:   in_one_process --dir DIR --data FILE [--url URL] [--spread MS]   prints what the services print. local:NAME needs a
 *          fresh DIR: the bus begins to count its events anew, and the ledgers there know those of before.
 * Thread:  main waits; a thread for each service, as its main thread.
 * Ends:    when every service has, or with SIGTERM or SIGINT: main asks all of them at once and waits for them; a second signal, or
 *          15 s, ends the process.
 *
 * Happy path: the services that listen -> each of their groups has a member on every topic -> the order service
 * Failures: a service that cannot go on ends the process, as it ends its own elsewhere; status 1 if one has failed. */
#include "services.h"

#include <crier/crier.h>
#include <crier/shutdown.h>
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    const char *directory, *data, *spread_ms;
    char url[4096];
    crier_shutdown *shutdown;
    char stop_fd[16];
    size_t started;   /* of parts, the first so many */
    atomic_int ended; /* of those */
};

static struct part {
    const char *name;
    int (*run)(int argc, char **argv);
    struct arguments *arguments;
    pthread_t thread;
    int status;
    atomic_bool ended;
} parts[] = {{.name = "inventory", .run = inventory_service},
             {.name = "email", .run = email_service},
             {.name = "analytics", .run = analytics_service},
             {.name = "order", .run = order_service}};

#define PARTS     (sizeof(parts) / sizeof(parts[0]))
#define LISTENING (PARTS - 1) /* of them; the last one is the source */
#define LOOK_MS   2

static void *part_run(void *ctx)
{
    struct part *part = ctx;
    struct arguments *given = part->arguments;
    const char *words[] = {part->name,       "--url",     given->url,     "--dir",     given->directory,
                           "--run",          "one",       "--data",       given->data, "--spread",
                           given->spread_ms, "--stop-fd", given->stop_fd, NULL};
    char *argv[sizeof(words) / sizeof(words[0])];
    memcpy(argv, words, sizeof(words)); /* a main() takes them without const, and does not write */
    part->status = part->run((int)(sizeof(words) / sizeof(words[0])) - 1, argv);
    atomic_store(&part->ended, true);
    if (atomic_fetch_add(&given->ended, 1) + 1 == (int)PARTS)
        crier_shutdown_ask(given->shutdown);
    return NULL;
}

static void part_start(struct arguments *arguments)
{
    struct part *part = &parts[arguments->started];
    part->arguments = arguments;
    if (pthread_create(&part->thread, NULL, part_run, part) != 0)
        errx(1, "no thread for the %s service", part->name);
    arguments->started++;
}

/* A hook of the end: by now all of them have ended, or have been asked to. */
static int join_parts(void *ctx)
{
    const struct arguments *arguments = ctx;
    int failed = 0;
    for (size_t i = 0; i < arguments->started; i++) {
        pthread_join(parts[i].thread, NULL);
        failed |= parts[i].status != 0;
    }
    return failed ? CRIER_EHANDLER : 0;
}

/* ---- who listens? ---- */

static void look(void *ctx, const struct crier_group_info *info)
{
    *(bool *)ctx = info->member_count > 0;
}

static bool listens(crier *bus, const struct part *part)
{
    bool placed = false, cancelled = false;
    return crier_group_describe(bus, part->name, "orders.placed", look, &placed) == 0 && placed &&
           crier_group_describe(bus, part->name, "orders.cancelled", look, &cancelled) == 0 && cancelled;
}

/* A bus that keeps nothing has no orders for those who come late. false: a signal came. */
static bool await_listeners(const struct arguments *arguments)
{
    crier *bus;
    bool go_on = true;
    int rc = crier_open(arguments->url, NULL, &bus);
    if (rc < 0)
        errx(1, "%s: %s", arguments->url, crier_strerror(rc));
    for (size_t i = 0; i < LISTENING; i++)
        while (go_on && !listens(bus, &parts[i]) && !atomic_load(&parts[i].ended))
            go_on = crier_shutdown_wait(arguments->shutdown, LOOK_MS) == CRIER_ETIMEDOUT;
    crier_close(bus);
    return go_on;
}

static void parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option rows[] = {{"dir", required_argument, NULL, 'd'},
                                         {"data", required_argument, NULL, 'f'},
                                         {"url", required_argument, NULL, 'u'},
                                         {"spread", required_argument, NULL, 's'},
                                         {0}};
    const char *url = NULL;
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'd')
            arguments->directory = optarg;
        else if (c == 'f')
            arguments->data = optarg;
        else if (c == 'u')
            url = optarg;
        else if (c == 's')
            arguments->spread_ms = optarg;
    }
    if (arguments->directory == NULL || arguments->data == NULL || optind != argc)
        errx(2, "usage: %s --dir DIR --data FILE [--url URL] [--spread MS]", argv[0]);
    if (url)
        snprintf(arguments->url, sizeof(arguments->url), "%s", url);
    else
        snprintf(arguments->url, sizeof(arguments->url), "embed:%s/data", arguments->directory);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.spread_ms = "0"};
    parse(&arguments, argc, argv);
    if (crier_shutdown_open(NULL, &arguments.shutdown) < 0 ||
        crier_shutdown_add(arguments.shutdown, "join the services", join_parts, &arguments) < 0)
        errx(1, "signals");
    snprintf(arguments.stop_fd, sizeof(arguments.stop_fd), "%d", crier_shutdown_fd(arguments.shutdown));
    while (arguments.started < LISTENING)
        part_start(&arguments);
    if (await_listeners(&arguments))
        part_start(&arguments);
    crier_shutdown_wait(arguments.shutdown, -1);
    return crier_shutdown_close(arguments.shutdown) < 0;
}
