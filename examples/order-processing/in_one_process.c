/* in_one_process.c: the whole example as one program: the four services on threads, and the broker inside.
 *
 * Role:    shows that a service does not know where its broker is: these are the programs beside, their main() under
 *          another name (CMakeLists.txt), given embed: URLs. The four buses share one broker and its folder, DIR/data.
 * Usage:   in_one_process --dir DIR --data FILE [--url URL]     prints what the services print
 * Thread:  main waits; a thread for each service, as its main thread.
 *
 * Failures: a service that cannot go on ends the process, as it ends its own elsewhere; status 1 if one has failed. */
#include "services.h"

#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
} parts[] = {{.name = "inventory", .run = inventory_service},
             {.name = "email", .run = email_service},
             {.name = "analytics", .run = analytics_service},
             {.name = "order", .run = order_service}};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void *part_run(void *ctx)
{
    struct part *part = ctx;
    const struct arguments *given = part->arguments;
    const char *words[] = {part->name, "--url", given->url, "--dir",     given->directory,
                           "--run",    "one",   "--data",   given->data, NULL};
    char *argv[sizeof(words) / sizeof(words[0])];
    memcpy(argv, words, sizeof(words)); /* a main() takes them without const, and does not write */
    part->status = part->run((int)(sizeof(words) / sizeof(words[0])) - 1, argv);
    return NULL;
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
    for (size_t i = 0; i < PARTS; i++) {
        parts[i].arguments = &arguments;
        if (pthread_create(&parts[i].thread, NULL, part_run, &parts[i]) != 0)
            errx(1, "no thread for the %s service", parts[i].name);
    }
    for (size_t i = 0; i < PARTS; i++) {
        pthread_join(parts[i].thread, NULL);
        failed |= parts[i].status != 0;
    }
    return failed;
}
