/* service.h: what every service of the example needs around its handlers: a bus, an end, and a report.
 *
 * A service runs as one process or as several (its instances): service_open(), some service_on(), service_wait(),
 * service_close(). Its listeners form a group of the service's name: the instances share the partitions, one that is
 * started again goes on where it was, and what one that is gone had not finished, another one does.
 *
 * THE END. When the order service has read its file and everything it emitted is on disk, it emits the run's name on
 * SERVICE_END_TOPIC. A service that has heard it, and whose group then stands at the end of every partition, has handled
 * every order, whichever instance did.
 *
 * THE REPORT. Lines of JSON on standard output: {"state":"ready"} when everything listens, {"state":"working",...}
 * with counts five times a second, and {"state":"done",...,"totals":{...}} last. Complaints go to standard error.
 *
 * STOPPING. SIGTERM and SIGINT end a service in order: what it emitted is acknowledged, its position committed, the bus closed; a second
 * one, or 15 s, ends it at once, as a crash does. With --stop-fd, that descriptor says so instead of a signal, for all
 * services of a program at a time.
 *
 * FAILING. An event that is no order is counted as failed and skipped. A handler that returns < 0 could not do its work
 * (disk full): the listener stops before that event, the service ends with status 1, and the next start goes on there.
 *
 * THE BUS. Whatever the URL says: a broker elsewhere, one in this process, or none (local:NAME, for services that are threads of one
 * program: in_one_process.c). Without a broker nothing is kept: who listens later has missed it, so the source starts last.
 *
 * THREADS. Handlers run one at a time, on the bus's thread (of local:NAME on the thread that emits); everything else on the main
 * thread. */
#ifndef ORDER_PROCESSING_SERVICE_H
#define ORDER_PROCESSING_SERVICE_H

#include "order.h"

#include <crier/crier.h>
#include <crier/shutdown.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#define SERVICE_PARTITIONS                                                                                   \
    6 /* of each topic with orders: the orders of a customer stay in one, and so in order */
#define SERVICE_LISTENERS 4
#define SERVICE_END_TOPIC "orders.end"

struct service;

/* What a service does with an order. 0, or < 0: it could not, and stops here. */
typedef int service_handler(struct service *service, const crier_event *event, const struct order *order);

struct service_listener {
    struct service *service;
    service_handler *handler;
    crier_listener *listener; /* NULL once it has ended; under the service's mutex */
    atomic_bool listening;
};

struct service {
    const char *name;      /* also of its group */
    const char *url, *run; /* from the command line */
    const char *directory; /* for what it keeps, shared by its instances */
    const char *data;      /* the order file */
    crier *bus;
    void *state; /* the service's own */

    struct service_listener listeners[SERVICE_LISTENERS];
    int listener_count;
    pthread_mutex_t mutex; /* a listener of listeners[] is looked at, or goes; inside the bus's calls */
    atomic_bool run_ended; /* its name was heard on SERVICE_END_TOPIC */
    atomic_int failure;    /* the first code that ends the service */

    atomic_uint_fast64_t in, out, failed, repeated;
    crier_shutdown *shutdown; /* NULL with --stop-fd: somebody else's, who says so there */
    int stop_fd;              /* readable: it is time to end */
    int hold_fd, wake_fd;     /* SIGUSR1; something has happened */
    uint64_t lag;             /* when the bus was closed */
    uint64_t source_position; /* how far an earlier life of the source came, in this run */
    int percent;              /* of the input, for the report; -1: there is none */
    int spread_ms;            /* --spread: reading the input takes at least so long */
    int64_t reported_ms;
    bool done;     /* the group has handled all there is in this run */
    bool stopping; /* a signal came, or whoever has --stop-fd asks */
    bool held;     /* --hold: until SIGUSR1, the run does not end */
};

/* Reads the command line, opens the bus and creates the topics. Ends the process with a sentence if it cannot. */
void service_open(struct service *service, const char *name, void *state, int argc, char **argv);
/* The same for the one that emits what it reads: what it emitted of this run in an earlier life is known by its position. */
void service_open_source(struct service *service, const char *name, void *state, int argc, char **argv);
/* Calls handler for every order on the topic, from the group's position, the first time from the earliest. */
int service_on(struct service *service, const char *topic, service_handler *handler);
/* Emits; waits for room until a signal comes: on the main thread only. Counted as out when it is acknowledged. */
int service_emit(struct service *service, const char *topic, const char *key, const char *value,
                 size_t value_size);
/* The same as a step of the source, whose positions grow. One that an earlier life came to is for the caller to leave out. */
int service_emit_step(struct service *service, uint64_t position, const char *topic, const char *key,
                      const char *value, size_t value_size);
/* Tells everybody that nothing follows in this run, after everything emitted is on disk. With --hold it waits for SIGUSR1
 * first: a run that kills its services must not end before they are back. */
int service_end_run(struct service *service);

/* Handles signals and reports progress. False: a signal or a failure asks to end. */
bool service_turn(struct service *service);
/* The same, after waiting until something happens, at most so long. */
bool service_wait_turn(struct service *service, int timeout_ms);
int64_t service_now_ms(void); /* monotonic */
/* Waits for the end of the run, a signal or a failure. */
void service_wait(struct service *service);
/* A failure of the service's own; the first one counts. Any thread. code: < 0 */
void service_fail(struct service *service, int code, const char *text);

/* Closes the bus: positions are committed, no handler runs afterwards. A second signal meanwhile ends the process. */
void service_close(struct service *service);
/* The last line, with totals (taken). Returns the exit status. */
int service_report(struct service *service, json_t *totals);

#endif
