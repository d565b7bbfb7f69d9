/* broker_fixture.c: a real crierd for a test. See broker_fixture.h.
 *
 * Owns:      the child process, the temporary folder (data/ and log within), the pipe of the child's standard output.
 * Happy path: mkdtemp -> fork, exec -> read "listening on ..." -> the test -> SIGTERM -> waitpid -> remove the folder.
 * Failures:  no binary, no line within START_TIMEOUT_MS, a bad line: NULL or false, with the broker's log on stderr. */
#include "tests/support/broker_fixture.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 30000 /* under valgrind, on a busy machine */
#define ARGUMENTS_MAX    64
#define READY            "listening on 127.0.0.1:"

struct broker {
    struct broker_options options;
    char folder[PATH_MAX - 64]; /* holds data/ and log */
    char data[PATH_MAX];
    char log[PATH_MAX];
    char url[64];
    uint16_t port; /* 0: not known yet */
    pid_t pid;     /* -1: not running */
    int output;    /* the read end of its standard output, kept open so that it never meets a closed pipe */
};

static const char *binary(void)
{
    const char *path = getenv("CRIERD");

    return path ? path : CRIERD_PATH;
}

/* Fills argv for execvp; what it points to lives in the broker, the options or static memory. */
static void arguments_build(struct broker *broker, char *listen, size_t listen_size, const char **argv)
{
    size_t count = 0;
    static const char *const valgrind[] = {"valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
                                           NULL};
    const char *const *wrappers[] = {getenv("CRIER_TEST_VALGRIND") ? valgrind : NULL,
                                     broker->options.wrapper};

    for (size_t w = 0; w < 2; w++)
        for (const char *const *word = wrappers[w]; word && *word && count < ARGUMENTS_MAX; word++)
            argv[count++] = *word;
    snprintf(listen, listen_size, "127.0.0.1:%u", broker->port);
    argv[count++] = binary();
    argv[count++] = "--data";
    argv[count++] = broker->data;
    argv[count++] = "--listen";
    argv[count++] = listen;
    for (const char *const *word = broker->options.arguments; word && *word && count < ARGUMENTS_MAX; word++)
        argv[count++] = *word;
    argv[count] = NULL;
}

/* In the child, between fork and exec: only calls that are safe there. */
_Noreturn static void child_run(const char *const *argv, int output, int log)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(output, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Reads one line without its end; false: no line before the deadline, or the broker closed its output. */
static bool line_read(int fd, char *to, size_t capacity)
{
    int64_t deadline_us = clock_monotonic_us() + START_TIMEOUT_MS * INT64_C(1000);
    size_t size = 0;

    while (size + 1 < capacity) {
        int64_t left_ms = (deadline_us - clock_monotonic_us()) / 1000;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (left_ms <= 0)
            return false;
        if (poll(&wait, 1, (int)left_ms) <= 0)
            continue;
        if (read(fd, to + size, 1) != 1)
            return false;
        if (to[size] == '\n') {
            to[size] = '\0';
            return true;
        }
        size++;
    }
    return false;
}

static bool ready_wait(struct broker *broker)
{
    char line[256];
    unsigned port;

    while (line_read(broker->output, line, sizeof(line))) {
        if (strncmp(line, READY, strlen(READY)) != 0)
            continue; /* other endpoints, HTTP */
        if (sscanf(line + strlen(READY), "%u", &port) != 1 || port == 0 || port > UINT16_MAX)
            return false;
        broker->port = (uint16_t)port;
        snprintf(broker->url, sizeof(broker->url), "crier://127.0.0.1:%u", port);
        return true;
    }
    return false;
}

bool broker_launch(struct broker *broker)
{
    const char *argv[2 * ARGUMENTS_MAX];
    char listen[32];
    int output[2], log;

    arguments_build(broker, listen, sizeof(listen), argv);
    if ((log = open(broker->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0)
        goto failed;
    if (pipe2(output, O_CLOEXEC) < 0)
        goto close_log;
    if ((broker->pid = fork()) == 0)
        child_run(argv, output[1], log);
    close(output[1]);
    close(log);
    broker->output = output[0];
    return broker->pid > 0;

close_log:
    close(log);
failed:
    fprintf(stderr, "%s: %s\n", broker->folder, strerror(errno));
    return false;
}

bool broker_await_ready(struct broker *broker)
{
    if (ready_wait(broker))
        return true;
    fprintf(stderr, "%s did not start\n", binary());
    broker_kill(broker);
    broker_log_print(broker);
    return false;
}

bool broker_restart(struct broker *broker)
{
    return broker_launch(broker) && broker_await_ready(broker);
}

bool broker_says_anything(const struct broker *broker)
{
    struct pollfd wait = {.fd = broker->output, .events = POLLIN};

    return poll(&wait, 1, 0) > 0 && (wait.revents & POLLIN);
}

static bool folder_make(struct broker *broker)
{
    const char *parent = broker->options.data ? broker->options.data : getenv("TMPDIR");

    snprintf(broker->folder, sizeof(broker->folder), "%s/crier-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(broker->folder)) {
        fprintf(stderr, "%s: %s\n", broker->folder, strerror(errno));
        return false;
    }
    snprintf(broker->data, sizeof(broker->data), "%s/data", broker->folder);
    snprintf(broker->log, sizeof(broker->log), "%s/log", broker->folder);
    return mkdir(broker->data, 0755) == 0;
}

static int entry_remove(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static void folder_remove(const struct broker *broker)
{
    if (!broker->options.data && !getenv("CRIER_TEST_KEEP"))
        nftw(broker->folder, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

struct broker *broker_start(const struct broker_options *options)
{
    struct broker *broker = calloc(1, sizeof(*broker));

    if (!broker)
        return NULL;
    if (options)
        broker->options = *options;
    broker->pid = -1;
    broker->output = -1;
    if (folder_make(broker) && broker_restart(broker))
        return broker;
    folder_remove(broker);
    free(broker);
    return NULL;
}

const char *broker_url(const struct broker *broker)
{
    return broker->url;
}

uint16_t broker_port(const struct broker *broker)
{
    return broker->port;
}

const char *broker_data(const struct broker *broker)
{
    return broker->data;
}

pid_t broker_pid(const struct broker *broker)
{
    return broker->pid;
}

/* Waits for its end after a signal. The exit status, or -signal. */
static int reap(struct broker *broker, int signal)
{
    int status = 0;

    if (broker->pid > 0) {
        kill(broker->pid, signal);
        while (waitpid(broker->pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    broker->pid = -1;
    if (broker->output >= 0)
        close(broker->output);
    broker->output = -1;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int broker_stop(struct broker *broker)
{
    int status = reap(broker, SIGTERM);

    if (status != 0) {
        fprintf(stderr, "crierd ended with %d\n", status);
        broker_log_print(broker);
    }
    return status;
}

void broker_kill(struct broker *broker)
{
    reap(broker, SIGKILL);
}

void broker_log_print(const struct broker *broker)
{
    FILE *log = fopen(broker->log, "re");
    char line[4096];

    while (log && fgets(line, sizeof(line), log))
        fprintf(stderr, "    %s", line);
    if (log)
        fclose(log);
}

uint64_t broker_log_count(const struct broker *broker, const char *text)
{
    FILE *log = fopen(broker->log, "re");
    char line[4096];
    uint64_t count = 0;

    while (log && fgets(line, sizeof(line), log))
        count += strstr(line, text) != NULL;
    if (log)
        fclose(log);
    return count;
}

bool broker_has_died(const struct broker *broker)
{
    siginfo_t info = {0};

    return broker->pid > 0 && waitid(P_PID, (id_t)broker->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

int broker_destroy(struct broker *broker)
{
    int status = 0;

    if (!broker)
        return 0;
    if (broker->pid > 0)
        status = broker_stop(broker);
    folder_remove(broker);
    free(broker);
    return status;
}
