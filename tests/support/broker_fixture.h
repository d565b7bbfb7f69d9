/* broker_fixture.h: a real crierd for a test: started on port 0, stopped, killed, started again on its folder.
 *
 *     struct broker *broker = broker_start(NULL);
 *     ... crier_open(broker_url(broker), ...) ...
 *     broker_kill(broker);                      SIGKILL: as if it had crashed
 *     cr_assert(broker_restart(broker));        same folder, same port
 *     cr_assert_eq(broker_destroy(broker), 0);  SIGTERM; 0: it exited cleanly
 *
 * Nothing sleeps: starting waits for the line `listening on 127.0.0.1:PORT`. What the broker logs goes to a file beside
 * its folder and is printed when something about the broker fails, or by broker_log_print().
 *
 * Environment: CRIERD (another binary), CRIER_TEST_VALGRIND=1 (run it under valgrind), CRIER_TEST_KEEP=1 (keep the folder).
 * Thread: any, one at a time. The broker dies with the thread that started it. */
#ifndef CRIER_TESTS_SUPPORT_BROKER_FIXTURE_H
#define CRIER_TESTS_SUPPORT_BROKER_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct broker;

struct broker_options {
    const char *const
        *arguments; /* further arguments of crierd, ends with NULL; borrowed until destroyed; may be NULL */
    const char *const *wrapper; /* a command in front of crierd ("strace", ...), ends with NULL; as above */
    const char *data; /* an existing parent folder to work in, kept; NULL: a new one, removed at the end */
};

/* options NULL: none. NULL: it did not start; why is on standard error. */
struct broker *broker_start(const struct broker_options *options);
bool broker_restart(struct broker *broker); /* it was stopped or killed; false as broker_start */
/* The two halves of broker_restart: the process runs; it serves. Between them it can be killed and stopped. */
bool broker_launch(struct broker *broker);
bool broker_await_ready(struct broker *broker);
bool broker_says_anything(const struct broker *broker); /* between them: it serves already */

const char *broker_url(const struct broker *broker); /* crier://127.0.0.1:PORT; lives as long as the broker */
uint16_t broker_port(const struct broker *broker);
const char *broker_data(const struct broker *broker); /* its data folder */
pid_t broker_pid(const struct broker *broker);        /* -1: not running */

int broker_stop(struct broker *broker);  /* SIGTERM; its exit status, or -signal */
void broker_kill(struct broker *broker); /* SIGKILL */
void broker_log_print(const struct broker *broker);
/* How many lines of its log, of all its lives, contain the text. */
uint64_t broker_log_count(const struct broker *broker, const char *text);
bool broker_has_died(
    const struct broker *broker); /* by itself; broker_kill() and broker_restart() as usual */

/* Stops it if it runs, removes the folder, frees. The exit status of the stop, 0 if it did not run. Accepts NULL. */
int broker_destroy(struct broker *broker);

#endif
