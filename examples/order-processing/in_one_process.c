/* in_one_process.c: the whole example as one program: the four services on threads, and the broker inside, elsewhere, or nowhere.
 *
 * Role:    shows that a service does not know where its broker is: these are the programs beside, their main() under
 *          another name (CMakeLists.txt), given another URL. With embed:DIR/data, the default, the four buses share one
 *          broker; with crier://HOST:PORT it is elsewhere; with local:NAME there is none, and an order's way through all
 *          services is a function call.
 * Usage:   in_one_process --dir DIR --data FILE [--url URL]     prints what the services print. local:NAME needs a fresh DIR: the
 *          bus begins to count its events anew, and the ledgers there know those of before.
 * Thread:  main waits; a thread for each service, as its main thread.
 *
 * Happy path: the services that listen -> each of their groups has a member on every topic -> the order service
 * Failures: a service that cannot go on ends the process, as it ends its own elsewhere; status 1 if one has failed. */
#include "services.h"

#include <crier/crier.h>
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct arguments {
    const char *directory, *data;
    char url[4096];
};

static struct part {
    const char *name;
    int (*run)(int argc, char **argv);
    const struct arguments *arguments;
    pthread_t thread;
    int status;
    atomic_bool ended;
} parts[] = {{.name = "inventory", .run = inventory_service},
             {.name = "email", .run = email_service},
             {.name = "analytics", .run = analytics_service},
             {.name = "order", .run = order_service}};

#define PARTS     (sizeof(parts) / sizeof(parts[0]))
#define LISTENING (PARTS - 1) /* of them; the last one is the source */

static void *part_run(void *ctx)
{
    struct part *part = ctx;
    const struct arguments *given = part->arguments;
    const char *words[] = {part->name, "--url", given->url, "--dir",     given->directory,
                           "--run",    "one",   "--data",   given->data, NULL};
    char *argv[sizeof(words) / sizeof(words[0])];
    memcpy(argv, words, sizeof(words)); /* a main() takes them without const, and does not write */
    part->status = part->run((int)(sizeof(words) / sizeof(words[0])) - 1, argv);
    atomic_store(&part->ended, true);
    return NULL;
}

static void part_start(struct part *part, const struct arguments *arguments)
{
    part->arguments = arguments;
    if (pthread_create(&part->thread, NULL, part_run, part) != 0)
        errx(1, "no thread for the %s service", part->name);
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

/* A bus that keeps nothing has no orders for those who come late. */
static void await_listeners(const char *url)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    crier *bus;
    int rc = crier_open(url, NULL, &bus);
    if (rc < 0)
        errx(1, "%s: %s", url, crier_strerror(rc));
    for (size_t i = 0; i < LISTENING; i++)
        while (!listens(bus, &parts[i]) && !atomic_load(&parts[i].ended))
            nanosleep(&pause, NULL);
    crier_close(bus);
}

static void parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option rows[] = {{"dir", required_argument, NULL, 'd'},
                                         {"data", required_argument, NULL, 'f'},
                                         {"url", required_argument, NULL, 'u'},
                                         {0}};
    const char *url = NULL;
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'd')
            arguments->directory = optarg;
        else if (c == 'f')
            arguments->data = optarg;
        else if (c == 'u')
            url = optarg;
    }
    if (arguments->directory == NULL || arguments->data == NULL || optind != argc)
        errx(2, "usage: %s --dir DIR --data FILE [--url URL]", argv[0]);
    if (url)
        snprintf(arguments->url, sizeof(arguments->url), "%s", url);
    else
        snprintf(arguments->url, sizeof(arguments->url), "embed:%s/data", arguments->directory);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    int failed = 0;
    parse(&arguments, argc, argv);
    for (size_t i = 0; i < LISTENING; i++)
        part_start(&parts[i], &arguments);
    await_listeners(arguments.url);
    part_start(&parts[LISTENING], &arguments);
    for (size_t i = 0; i < PARTS; i++) {
        pthread_join(parts[i].thread, NULL);
        failed |= parts[i].status != 0;
    }
    return failed;
}
