/* bench_command.c: what the `crier bench` commands share: their options, and their topic.
 *
 * Thread:    main.
 * Failures:  wrong use: one sentence, exit 2. A topic that cannot be made: said, exit 1. */
#include "tools/bench.h"
#include "tools/command.h"

#include <string.h>

#define CONNECTIONS_MAX 16384 /* of a producer; more than a process may open as files, usually */
#define IN_FLIGHT_MAX   (1u << 20)

/* What only crier's own load generators ask for. */
static const char *complaint(const struct bench_options *options)
{
    if (options->connections < 1 || options->connections > CONNECTIONS_MAX)
        return "--connections: from 1 to 16384";
    if (options->in_flight < 1 || options->in_flight > IN_FLIGHT_MAX ||
        options->connections * options->in_flight > IN_FLIGHT_MAX)
        return "--in-flight: from 1 to 1048576 of all connections together";
    return bench_complaint(options);
}

int bench_command(const struct command *command, const char *url, int argc, char **argv,
                  const struct bench_workload *workload)
{
    struct bench_options options = {.url = url,
                                    .connections = 1,
                                    .in_flight = 1,
                                    .listeners = workload->listener != NULL,
                                    .ephemeral = workload->ephemeral};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first != argc)
        return command_usage_error(command, "what is '%s'? It takes options only", argv[first]);
    const char *wrong = complaint(&options);
    if (wrong == NULL && strncmp(url, "embed:", 6) == 0)
        wrong =
            "its workers are processes, and an embed: folder is one process's; start crierd on the folder";
    if (wrong == NULL && workload->listener != NULL && options.listeners == 0)
        wrong = "--listeners: from 1 to 64";
    return wrong != NULL ? command_usage_error(command, "%s", wrong) : bench_run(&options, workload);
}

int bench_topic_create(struct bench *bench)
{
    struct crier_options options = command_bus_options("crier bench");
    struct crier_topic_options topic = {.struct_size = sizeof(topic),
                                        .partitions = 1,
                                        .durability = bench->options->durability,
                                        .ephemeral = bench->options->ephemeral};
    crier *bus;

    int status = command_open(bench->options->url, &options, &bus);
    if (status != STATUS_DONE)
        return status;
    int rc = crier_topic_create(bus, bench->topic, &topic);
    if (rc < 0 && !(rc == CRIER_EEXIST && bench->options->topic != NULL))
        status = command_failed("cannot create topic '%s': %s", bench->topic, crier_strerror(rc));
    return command_close(bus, status); /* its thread ends with it: from here on it is safe to fork */
}
