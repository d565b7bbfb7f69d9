/* exec.c: runs a command for one event. See exec.h.
 *
 * Thread:      main.
 * Happy path:  environment -> posix_spawn of /bin/sh -> the input through a pipe -> its exit status.
 * Failures:    whatever keeps the command from ending with status 0 is a reason in words. */
#include "tools/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void set_number(const char *name, int64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, number);
    setenv(name, text, 1);
}

/* In our own environment, which the command inherits. */
static void describe(const crier_event *event)
{
    setenv("CRIER_TOPIC", event->topic, 1);
    set_number("CRIER_PARTITION", event->partition);
    set_number("CRIER_OFFSET", (int64_t)event->offset);
    if (event->attempt > 0)
        set_number("CRIER_ATTEMPT", event->attempt);
    else
        unsetenv("CRIER_ATTEMPT");
    set_number("CRIER_TIMESTAMP_MS", event->timestamp_ms);

    char *key = event->key != NULL ? strndup(event->key, event->key_size) : NULL;
    if (key != NULL)
        setenv("CRIER_KEY", key, 1);
    else
        unsetenv("CRIER_KEY");
    free(key);
}

/* Starts /bin/sh with the read end as its standard input; output_fd: -1: ours. 0 or an errno. */
static int spawn(const char *command, int input_fd, int output_fd, pid_t *ret_pid)
{
    const char *words[] = {"sh", "-c", command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;

    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0)
        goto destroy_actions;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* main() ignores it; the command's own pipes expect the usual */
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &none); /* ours has SIGINT and SIGTERM blocked: see waiter.h */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn_file_actions_adddup2(&actions, input_fd, STDIN_FILENO);
    if (rc == 0 && output_fd >= 0)
        rc = posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, (char *const *)words, environ);
    posix_spawnattr_destroy(&attributes);
destroy_actions:
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return; /* it has read enough */
        data += written;
        size -= (size_t)written;
    }
}

/* Waits for its end. 0 or -1 with the reason. */
static int outcome(pid_t pid, char *reason, size_t reason_size)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            snprintf(reason, reason_size, "has no known end: %s", strerror(errno));
            return -1;
        }
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        snprintf(reason, reason_size, "ended with status %d", WEXITSTATUS(status));
    else
        snprintf(reason, reason_size, "was ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    return -1;
}

/* Memory that looks like a file twice as large as may be, and cannot grow: what is written beyond fails for the command, which
 * is over the limit by then, in whatever pieces the kernel takes it. -1: errno tells. */
static int output_open(void)
{
    int fd = memfd_create("crier-output", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 ||
        (ftruncate(fd, 2 * EXEC_OUTPUT_MAX) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0))
        return fd;
    close(fd);
    return -1;
}

/* The place is shared with the command: as far as it has written. */
static bool output_is_too_much(int fd)
{
    return lseek(fd, 0, SEEK_CUR) > EXEC_OUTPUT_MAX;
}

/* All that has been written. false: no memory, or it cannot be read. */
static bool output_read(int fd, struct exec_output *output)
{
    off_t size = lseek(fd, 0, SEEK_CUR);

    if (size < 0 || !(output->data = malloc((size_t)size + 1)))
        return false;
    while (output->size < (size_t)size) {
        ssize_t got =
            pread(fd, output->data + output->size, (size_t)size - output->size, (off_t)output->size);
        if (got <= 0)
            return false;
        output->size += (size_t)got;
    }
    if (output->size > 0 && output->data[output->size - 1] == '\n')
        output->size--;
    return true;
}

/* Starts it, feeds it, waits for it. */
static int run(const char *command, int output_fd, const void *input, size_t input_size, char *reason,
               size_t reason_size)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        snprintf(reason, reason_size, "could not be started: %s", strerror(errno));
        return -1;
    }
    int rc = spawn(command, fds[0], output_fd, &pid);
    close(fds[0]);
    if (rc != 0) {
        close(fds[1]);
        snprintf(reason, reason_size, "could not be started: %s", strerror(rc));
        return -1;
    }
    write_all(fds[1], input, input_size);
    close(fds[1]);
    return outcome(pid, reason, reason_size);
}

int exec_command(const char *command, const crier_event *event, const void *input, size_t input_size,
                 struct exec_output *output, char *reason, size_t reason_size)
{
    int fd = -1;

    describe(event);
    if (output != NULL && (fd = output_open()) < 0) {
        snprintf(reason, reason_size, "could not be started: %s", strerror(errno));
        return -1;
    }
    int rc = run(command, fd, input, input_size, reason, reason_size);
    if (output != NULL && output_is_too_much(fd)) {
        snprintf(reason, reason_size, "printed more than a reply may have: %d MiB", EXEC_OUTPUT_MAX >> 20);
        rc = -1;
    } else if (rc == 0 && output != NULL && !output_read(fd, output)) {
        snprintf(reason, reason_size, "printed more than there is memory for");
        rc = -1;
    }
    if (fd >= 0)
        close(fd);
    return rc;
}
