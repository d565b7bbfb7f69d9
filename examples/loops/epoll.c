/* epoll.c: a bus on an epoll loop of your own: no thread, no libevent. What you type is emitted, what is heard is printed.
 *
 *     epoll_loop crier://127.0.0.1:27437 chat       (or, with the library crier-embed, embed:./data)
 *
 * The loop waits for three descriptors: standard input, the end (crier/shutdown.h), and the bus's. The bus adds a timeout. That is all there
 * is to it: crier_fd(), crier_timeout_ms(), crier_process().
 *
 * Thread:    one. Handlers run inside crier_process().
 * Ends:      at the end of input, when every line has been heard, or with SIGINT or SIGTERM; a second one does not wait for the
 *            bus to close. */
#include <crier/crier.h>
#include <crier/shutdown.h>

#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct program {
    crier *bus;
    const char *topic;
    char input[4096];
    size_t input_size;
    bool input_ended, stop;
    unsigned long emitted, heard;
};

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct program *program = ctx;
    (void)bus;
    printf("%.*s\n", (int)event->value_size, (const char *)event->value);
    program->heard++;
    return 0;
}

/* Emits the whole lines there are, and keeps the rest. */
static void emit_lines(struct program *program)
{
    char *line = program->input, *end;
    size_t left = program->input_size;
    while ((end = memchr(line, '\n', left)) != NULL) {
        int rc = crier_emit(program->bus, program->topic, line, (size_t)(end - line));
        if (rc < 0)
            errx(1, "emit: %s",
                 crier_strerror(rc)); /* CRIER_EAGAIN: a program with more to say waits for drain */
        program->emitted++;
        left -= (size_t)(end + 1 - line);
        line = end + 1;
    }
    memmove(program->input, line, left);
    program->input_size = left;
}

static void on_input(struct program *program)
{
    ssize_t got = read(STDIN_FILENO, program->input + program->input_size,
                       sizeof(program->input) - program->input_size);
    if (got <= 0) { /* also a line that is too long */
        program->input_ended = true;
        return;
    }
    program->input_size += (size_t)got;
    emit_lines(program);
}

static void watch(int poll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void run(struct program *program, int stop_fd)
{
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch(poll_fd, STDIN_FILENO);
    watch(poll_fd, stop_fd);
    watch(poll_fd, crier_fd(program->bus));
    while (!program->stop && !(program->input_ended && program->heard >= program->emitted)) {
        struct epoll_event events[3];
        int count = epoll_wait(poll_fd, events, 3, crier_timeout_ms(program->bus));
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == STDIN_FILENO)
                on_input(program);
            else if (events[i].data.fd == stop_fd)
                program->stop = true;
        }
        if (program->input_ended)
            epoll_ctl(poll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        crier_process(program->bus); /* costs little when there is nothing to do */
    }
    close(poll_fd);
}

/* Emits what is left. */
static int close_bus(void *ctx)
{
    return crier_close(ctx);
}

int main(int argc, char **argv)
{
    struct crier_options options = crier_options_default();
    struct crier_listen_options listen_options = crier_listen_options_default();
    struct program program = {.topic = argc > 2 ? argv[2] : "chat"};
    char why[256];
    crier_shutdown *shutdown;

    if (crier_shutdown_open(NULL, &shutdown) < 0)
        err(1, "signals");
    options.polled = true;
    options.error_text = why;
    options.error_text_size = sizeof(why);
    if (crier_open(argc > 1 ? argv[1] : "crier://127.0.0.1:27437", &options, &program.bus) < 0)
        errx(1, "%s", why);
    listen_options.from = CRIER_EARLIEST;
    if (crier_listen(program.bus, program.topic, &listen_options, on_event, &program, NULL) < 0)
        errx(1, "%s is no name for a topic", program.topic);
    if (crier_shutdown_add(shutdown, "close the bus", close_bus, program.bus) < 0)
        errx(1, "out of memory");
    run(&program, crier_shutdown_fd(shutdown));
    int rc = crier_shutdown_close(shutdown);
    if (rc < 0)
        errx(1, "%s", crier_strerror(rc));
    return fflush(stdout) == 0 ? 0 : 1;
}
