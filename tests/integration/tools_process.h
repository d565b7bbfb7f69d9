/* tools_process.h: the real `crier` as a child process: its words, its input, its two outputs, its end.
 *
 *     struct process *on = crier_start(url, "on", "greetings", "--verbose", NULL);
 *     process_expect_error(on, "listening to greetings");     waits for it
 *     ...
 *     cr_assert_str_eq(process_line(on), "hello");             waits for a line
 *     cr_assert(eq(int, process_end(on), 0));                  waits for the end
 *
 * Nothing sleeps: every wait is for bytes or for the end of a pipe, and fails the test after DEADLINE_MS.
 * Thread: one. */
#ifndef CRIER_TESTS_INTEGRATION_TOOLS_PROCESS_H
#define CRIER_TESTS_INTEGRATION_TOOLS_PROCESS_H

#include <stddef.h>

struct process;

/* Runs `crier --url URL words...`; url NULL: without --url. The words end with NULL. */
struct process *crier_start(const char *url, ...) __attribute__((sentinel));

void process_write(struct process *process, const char *text); /* to its standard input */
void process_write_bytes(struct process *process, const char *data, size_t size);
void process_close_input(struct process *process);
void process_close_output(struct process *process); /* as a reader that has seen enough */
void process_signal(struct process *process, int number);

/* The next line of its standard output, without the newline; "(end of output)" if there is none. Borrowed until the
 * next call. */
const char *process_line(struct process *process);
/* Waits until its standard error has `text` in it. */
void process_expect_error(struct process *process, const char *text);

/* Closes its input, waits for its end: the exit status, or -signal. */
int process_wait(struct process *process);
/* After process_wait(): everything it printed that process_line() has not taken, and all of its standard error.
 * NUL-terminated; borrowed until process_destroy(). */
const char *process_output(struct process *process, size_t *ret_size);
const char *process_errors(struct process *process);
void process_destroy(struct process *process);

/* process_wait() and process_destroy(). */
int process_end(struct process *process);

#endif
