/* tools_process.c: the real `crier` as a child process. See tools_process.h.
 *
 * Owns:      the child and three pipes. Both outputs are read whenever anything is waited for, so that neither side can
 *            block the other.
 * Failures:  a child that neither says nor does what is awaited is killed, and the test fails with all it had said. */
#include "tests/integration/tools_process.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 30000 /* under sanitizers, on a busy machine */
#define WORDS_MAX   32

struct stream {
    int fd; /* -1: at its end */
    char *data;
    size_t size, capacity, taken;
};

struct process {
    pid_t pid;
    int input;
    struct stream output, errors;
    char *line; /* the last one given out */
};

static void start(struct process *process, const char *const *words)
{
    int input[2], output[2], errors[2];

    signal(SIGPIPE, SIG_IGN);
    cr_assert(pipe2(input, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0 && pipe2(errors, O_CLOEXEC) == 0);
    process->pid = fork();
    cr_assert(process->pid >= 0);
    if (process->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(input[0], 0) == 0 && dup2(output[1], 1) == 1 && dup2(errors[1], 2) == 2 &&
            close_range(3, ~0u, 0) == 0) /* of the test's framework: not every one is closed by exec */
            execv(CRIER_PATH, (char *const *)(uintptr_t)words);
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    close(errors[1]);
    process->input = input[1];
    process->output.fd = output[0];
    process->errors.fd = errors[0];
}

struct process *crier_start(const char *url, ...)
{
    struct process *process = calloc(1, sizeof(*process));
    const char *words[WORDS_MAX] = {"crier"};
    size_t count = 1;
    va_list list;

    cr_assert(process != NULL);
    if (url != NULL) {
        words[count++] = "--url";
        words[count++] = url;
    }
    va_start(list, url);
    do {
        cr_assert(count < WORDS_MAX);
        words[count] = va_arg(list, const char *);
    } while (words[count++] != NULL);
    va_end(list);
    start(process, words);
    return process;
}

/* ---- both outputs ---- */

static void stream_read(struct stream *stream)
{
    if (stream->capacity - stream->size < 2) {
        stream->capacity = stream->capacity * 2 + 65536;
        stream->data = realloc(stream->data, stream->capacity);
        cr_assert(stream->data != NULL);
    }
    ssize_t size = read(stream->fd, stream->data + stream->size, stream->capacity - stream->size - 1);
    if (size <= 0) {
        close(stream->fd);
        stream->fd = -1;
        size = 0;
    }
    stream->size += (size_t)size;
    stream->data[stream->size] = '\0';
}

static const char *text(const struct stream *stream)
{
    return stream->data != NULL ? stream->data : "";
}

static void fail(struct process *process, const char *what)
{
    kill(process->pid, SIGKILL);
    cr_assert_fail("%s; its output: <%s>, its errors: <%s>", what, text(&process->output),
                   text(&process->errors));
}

static int64_t deadline(void)
{
    return clock_monotonic_us() + DEADLINE_MS * INT64_C(1000);
}

/* Waits until one of the outputs has something, the end included, or the input has room. */
static void pump(struct process *process, int64_t deadline_us, bool until_input_has_room)
{
    struct pollfd fds[3] = {{.fd = process->output.fd, .events = POLLIN},
                            {.fd = process->errors.fd, .events = POLLIN},
                            {.fd = until_input_has_room ? process->input : -1, .events = POLLOUT}};
    int64_t left_ms = (deadline_us - clock_monotonic_us()) / 1000;
    int count;

    while ((count = poll(fds, 3, left_ms > 0 ? (int)left_ms : 0)) < 0 && errno == EINTR)
        ;
    if (count == 0)
        fail(process, "waited in vain");
    if (fds[0].revents != 0)
        stream_read(&process->output);
    if (fds[1].revents != 0)
        stream_read(&process->errors);
}

/* ---- input ---- */

void process_write_bytes(struct process *process, const char *data, size_t size)
{
    int64_t deadline_us = deadline();

    fcntl(process->input, F_SETFL, O_NONBLOCK);
    while (size > 0) {
        ssize_t written = write(process->input, data, size);
        if (written < 0 && errno == EPIPE)
            return; /* it reads no more; its status tells why */
        if (written < 0) {
            cr_assert(errno == EAGAIN);
            pump(process, deadline_us, true);
            continue;
        }
        data += written;
        size -= (size_t)written;
    }
}

void process_write(struct process *process, const char *string)
{
    process_write_bytes(process, string, strlen(string));
}

void process_close_input(struct process *process)
{
    if (process->input >= 0)
        close(process->input);
    process->input = -1;
}

void process_close_output(struct process *process)
{
    close(process->output.fd);
    process->output.fd = -1;
}

void process_signal(struct process *process, int number)
{
    kill(process->pid, number);
}

/* ---- what it says ---- */

const char *process_line(struct process *process)
{
    struct stream *stream = &process->output;
    int64_t deadline_us = deadline();
    char *newline = NULL;

    while (true) {
        if (stream->data != NULL)
            newline = memchr(stream->data + stream->taken, '\n', stream->size - stream->taken);
        if (newline != NULL || stream->fd < 0)
            break;
        pump(process, deadline_us, false);
    }
    free(process->line);
    if (newline == NULL) {
        process->line = strdup("(end of output)");
    } else {
        const char *from = stream->data + stream->taken;
        process->line = strndup(from, (size_t)(newline - from));
        stream->taken += (size_t)(newline - from) + 1;
    }
    return process->line;
}

void process_expect_error(struct process *process, const char *wanted)
{
    int64_t deadline_us = deadline();

    while (strstr(text(&process->errors), wanted) == NULL) {
        if (process->errors.fd < 0)
            fail(process, wanted);
        pump(process, deadline_us, false);
    }
}

int process_wait(struct process *process)
{
    int64_t deadline_us = deadline();
    int status;

    process_close_input(process);
    while (process->output.fd >= 0 || process->errors.fd >= 0)
        pump(process, deadline_us, false);
    cr_assert(waitpid(process->pid, &status, 0) == process->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

const char *process_output(struct process *process, size_t *ret_size)
{
    if (ret_size != NULL)
        *ret_size = process->output.size - process->output.taken;
    return text(&process->output) + process->output.taken;
}

const char *process_errors(struct process *process)
{
    return text(&process->errors);
}

void process_destroy(struct process *process)
{
    free(process->output.data);
    free(process->errors.data);
    free(process->line);
    free(process);
}

int process_end(struct process *process)
{
    int status = process_wait(process);
    process_destroy(process);
    return status;
}
