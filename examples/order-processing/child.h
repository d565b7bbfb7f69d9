/* child.h: a process the demo started: what it says, line by line, and how it ends.
 *
 * Its standard output is read here, its standard error goes to a log file. It is told to end when the demo dies, however
 * the demo dies. Thread: main. */
#ifndef ORDER_PROCESSING_CHILD_H
#define ORDER_PROCESSING_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child {
    pid_t pid;  /* 0: not running */
    int fd;     /* its standard output; -1: it has ended */
    int status; /* as waitpid() gives it, once it has ended */
    char *text; /* what was read and is no whole line yet */
    size_t size, capacity;
};

/* Starts argv[0] with its standard error appended to log_path. 0 or -errno. */
int child_start(struct child *child, const char *const argv[], const char *log_path);
/* Reads what is there and calls on_line for each line (its end cut off). False: that was all, and it has ended. */
bool child_read(struct child *child, void (*on_line)(void *ctx, char *line), void *ctx);
void child_signal(struct child *child, int signal);
/* Asks it to end, insists after timeout_ms, and waits for that. */
void child_stop(struct child *child, int timeout_ms);
void child_finish(struct child *child); /* frees; the process has ended */

#endif
