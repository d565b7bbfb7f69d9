/* test_orders_stop.c: a signal in the middle ends the order services in order, all four of them in one process: each says how far it
 * came, and the process exits with 0. On a bus of each kind that needs no server.
 *
 * test_orders_stop PROGRAM FILE embed|local */
#include "base/check.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reading the file takes so long, unless it is stopped: far longer than the test may. */
#define SPREAD_MS "3600000"

static pid_t start(const char *program, const char *folder, const char *file, const char *url,
                   FILE **ret_output)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(program, program, "--dir", folder, "--data", file, "--url", url, "--spread", SPREAD_MS,
              (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    CHECK((*ret_output = fdopen(fds[0], "r")));
    return pid;
}

/* Signals when all four services are at work; keeps what each said last. */
static void read_and_stop(FILE *output, pid_t pid, json_t *last)
{
    char line[1 << 16];
    bool asked = false;
    while (fgets(line, sizeof(line), output)) {
        json_t *json = json_loads(line, 0, NULL);
        CHECK(json);
        const char *service = json_string_value(json_object_get(json, "service"));
        json_object_set(last, service, json_object_get(json, "state"));
        if (!asked && json_object_size(last) == 4) {
            CHECK(kill(pid, SIGTERM) == 0);
            asked = true;
        }
        json_decref(json);
    }
    CHECK(asked);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/crier-orders-XXXXXX", url[128], command[128];
    const char *name;
    json_t *last = json_object(), *state;
    FILE *output;
    int status;
    CHECK(argc == 4 && mkdtemp(folder));
    snprintf(url, sizeof(url), strcmp(argv[3], "embed") == 0 ? "embed:%s/data" : "local:orders", folder);
    pid_t pid = start(argv[1], folder, argv[2], url, &output);
    read_and_stop(output, pid, last);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    json_object_foreach(last, name, state)
    {
        fprintf(stderr, "%s %s\n", name, json_string_value(state));
        CHECK(strcmp(json_string_value(state), "stopped") == 0);
    }
    fclose(output);
    json_decref(last);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK(system(command) == 0); /* NOLINT(cert-env33-c) */
    return 0;
}
