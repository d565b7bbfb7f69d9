/* child.c: see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_SIZE 65536

/* In the new process. */
static _Noreturn void become(const char *const argv[], int out, int log, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* Ctrl-C is for the demo: it tells its children itself */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && dup2(out, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execv(argv[0], (char *const *)argv); /* an old signature: it changes nothing */
    _exit(127);
}

int child_start(struct child *child, const char *const argv[], const char *log_path)
{
    int ends[2], rc = 0;
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return -errno;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        rc = -errno;
        goto close_log;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(argv, ends[1], log, parent);
    if (pid < 0) {
        rc = -errno;
        close(ends[0]);
    } else {
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        *child = (struct child){.pid = pid, .fd = ends[0]};
    }
    close(ends[1]);
close_log:
    close(log);
    return rc;
}

/* Hands out the whole lines and keeps the rest. */
static void give_lines(struct child *child, void (*on_line)(void *ctx, char *line), void *ctx)
{
    char *at = child->text, *end = child->text + child->size, *line_end;
    while ((line_end = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        *line_end = '\0';
        on_line(ctx, at);
        at = line_end + 1;
    }
    child->size = (size_t)(end - at);
    memmove(child->text, at, child->size);
}

bool child_read(struct child *child, void (*on_line)(void *ctx, char *line), void *ctx)
{
    for (;;) {
        if (child->capacity - child->size < READ_SIZE) {
            char *text = realloc(child->text, 2 * child->capacity + READ_SIZE);
            if (text == NULL)
                abort();
            child->text = text;
            child->capacity = 2 * child->capacity + READ_SIZE;
        }
        ssize_t n = read(child->fd, child->text + child->size, child->capacity - child->size);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0)
            break;
        child->size += (size_t)n;
        give_lines(child, on_line, ctx);
    }
    close(child->fd);
    child->fd = -1;
    waitpid(child->pid, &child->status, 0);
    child->pid = 0;
    return false;
}

void child_signal(struct child *child, int signal)
{
    if (child->pid > 0)
        kill(child->pid, signal);
}

void child_stop(struct child *child, int timeout_ms)
{
    if (child->pid <= 0)
        return;
    close(child->fd); /* nobody reads any more: a child must not wait for that */
    child->fd = -1;
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, child->pid, 0), .events = POLLIN};
    kill(child->pid, SIGTERM);
    if (end.fd < 0 || poll(&end, 1, timeout_ms) <= 0)
        kill(child->pid, SIGKILL);
    waitpid(child->pid, &child->status, 0);
    child->pid = 0;
    if (end.fd >= 0)
        close(end.fd);
}

void child_finish(struct child *child)
{
    if (child->fd > 0)
        close(child->fd);
    free(child->text);
    *child = (struct child){.fd = -1};
}
