/* test_stop_sends.c: a broker that stops with more to send than a turn may goes on at once, and not when it next looks whether it is
 * done (stop_due in broker/reactor.c).
 *
 * The whole broker, on a thread of this process; listeners that do not read until it has much for each of them. Then it is held
 * where a turn ends, until they have made room and it has been told to stop. What counts is the timer that is set after a turn
 * that leaves something to send: it is for now. No clock is read. */
#include "base/check.h"
#include "broker/broker.h"
#include "broker/reactor_internal.h"
#include "client/transport.h"
#include "embed/url.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTENERS 32
#define EVENTS    64
#define VALUE_SIZE                                                                                           \
    (128u * 1024) /* of all a listener gets 8 MiB: more than its socket and the broker's share for it take */
#define STOP    (-1) /* errands that are no connection */
#define NOTHING (-2)

static int errands[2];
static int served[2]; /* at its end when the broker is */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held, is_held; /* the broker's thread is to wait at the end of its turn, and does */
static unsigned full_sockets;

/* The broker's thread's own. */
static _Thread_local bool is_broker;
static unsigned unfinished, waited; /* turns, while it stops */
static bool socket_full[1024];

/* ---- between the reactor and its libraries ---- */

int __real_event_add(struct event *event, const struct timeval *timeout);
int __wrap_event_add(struct event *event, const struct timeval *timeout);
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static void hold_here(void)
{
    pthread_mutex_lock(&lock);
    while (held) {
        is_held = true;
        pthread_cond_broadcast(&changed);
        pthread_cond_wait(&changed, &lock);
    }
    is_held = false;
    pthread_mutex_unlock(&lock);
}

int __wrap_event_add(struct event *event, const struct timeval *timeout)
{
    if (is_broker && timeout && event->ev_fd < 0) { /* a turn has ended */
        const struct reactor *reactor = event_get_callback_arg(event);
        bool more = reactor->stopping && reactor->dirty;
        unfinished += more;
        waited += more && (timeout->tv_sec > 0 || timeout->tv_usec > 0);
        hold_here();
    }
    return __real_event_add(event, timeout);
}

static ssize_t sent_so_much(int fd, ssize_t size)
{
    if (is_broker && size < 0 && errno == EAGAIN && !socket_full[fd]) {
        socket_full[fd] = true;
        pthread_mutex_lock(&lock);
        full_sockets++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        errno = EAGAIN;
    }
    return size;
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
    return sent_so_much(fd, __real_send(fd, data, size, flags));
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return sent_so_much(fd, __real_sendmsg(fd, message, flags));
}

/* ---- the broker ---- */

static void errands_do(struct broker *broker, void *ctx)
{
    int errand;

    (void)ctx;
    while (read(errands[0], &errand, sizeof(errand)) == (ssize_t)sizeof(errand)) {
        if (errand == STOP)
            broker_stop(broker, "the test is over");
        else if (errand != NOTHING)
            broker_adopt(broker, errand, "test");
    }
}

static void errand(int what)
{
    CHECK(write(errands[1], &what, sizeof(what)) == (ssize_t)sizeof(what));
}

static void *serve(void *broker)
{
    is_broker = true;
    broker_serve(broker);
    close(served[1]);
    return NULL;
}

static struct broker *broker_begin(const struct config *config)
{
    struct broker_options options = {.config = config, .software = "test", .control = errands_do};
    struct broker *broker;
    char error[256];

    CHECK(pipe2(errands, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(served, O_CLOEXEC) == 0);
    options.control_fd = errands[0];
    CHECK(broker_open(&options, &broker, error, sizeof(error)) == 0);
    return broker;
}

/* ---- its clients ---- */

static int bus_connect(void *ctx)
{
    int ends[2];

    (void)ctx;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    errand(ends[1]);
    return ends[0];
}

static crier *bus_open(bool polled)
{
    struct bus_transport transport = {.connect = bus_connect};
    struct crier_options options = crier_options_default();
    crier *bus;

    options.polled = polled;
    options.close_timeout_ms = 0;
    options.listen_credit = 16u << 20;
    CHECK(bus_start(NULL, &transport, &options, &bus) == 0);
    return bus;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

static void on_listening(void *ctx)
{
    *(bool *)ctx = true;
}

static crier *listener_open(void)
{
    static bool listening;
    struct crier_listen_options listen = crier_listen_options_default();
    crier *bus = bus_open(true);

    listening = false;
    listen.listening = on_listening;
    CHECK(crier_listen(bus, "t", &listen, on_event, &listening, NULL) == 0);
    while (!listening) {
        struct pollfd fd = {.fd = crier_fd(bus), .events = POLLIN};
        poll(&fd, 1, crier_timeout_ms(bus));
        CHECK(crier_process(bus) == 0);
    }
    return bus;
}

/* Everything that is in its socket. */
static void listener_read(crier *bus)
{
    struct pollfd fd = {.fd = crier_fd(bus), .events = POLLIN};

    while (crier_timeout_ms(bus) == 0 || poll(&fd, 1, 0) == 1)
        CHECK(crier_process(bus) == 0);
}

/* Until the broker is gone. */
static void listeners_read(crier *const *listeners)
{
    struct pollfd fds[LISTENERS + 1] = {{.fd = served[0], .events = POLLIN}};

    for (unsigned i = 0; i < LISTENERS; i++)
        fds[1 + i] = (struct pollfd){.fd = crier_fd(listeners[i]), .events = POLLIN};
    while (!fds[0].revents) {
        CHECK(poll(fds, LISTENERS + 1, -1) > 0);
        for (unsigned i = 0; i < LISTENERS; i++)
            if (fds[1 + i].revents)
                CHECK(crier_process(listeners[i]) == 0);
    }
}

/* ---- the test ---- */

/* No socket has room for more, and the broker has seen to that everywhere. */
static void sockets_fill(crier *producer)
{
    static char value[VALUE_SIZE];
    int64_t round_trip_us;

    for (unsigned i = 0; i < EVENTS; i++)
        CHECK(crier_emit(producer, "t", value, sizeof(value)) == 0);
    CHECK(crier_flush(producer, -1) == 0);
    pthread_mutex_lock(&lock);
    while (full_sockets < LISTENERS)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < 10; i++)
        CHECK(crier_ping(producer, &round_trip_us) == 0);
}

static void broker_hold(bool hold)
{
    pthread_mutex_lock(&lock);
    held = hold;
    if (hold)
        errand(NOTHING);
    pthread_cond_broadcast(&changed);
    while (hold && !is_held)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    static struct embed_url url;
    static crier *listeners[LISTENERS];
    char folder[] = "/tmp/crier-stop-XXXXXX", text[64], error[256];
    struct broker *broker;
    pthread_t thread;
    crier *producer;

    CHECK(mkdtemp(folder));
    snprintf(text, sizeof(text), "embed:%s", folder);
    CHECK(embed_url_parse(text, &url, error, sizeof(error)) == 0);
    url.config.data = url.folder;
    broker = broker_begin(&url.config);
    CHECK(pthread_create(&thread, NULL, serve, broker) == 0);
    for (unsigned i = 0; i < LISTENERS; i++)
        listeners[i] = listener_open();
    producer = bus_open(false);
    sockets_fill(producer);

    broker_hold(true);
    for (unsigned i = 0; i < LISTENERS; i++)
        listener_read(listeners[i]);
    errand(STOP);
    broker_hold(false);
    listeners_read(listeners);
    pthread_join(thread, NULL);
    printf("%u turns had more to send while it stopped, %u waited before they went on\n", unfinished, waited);
    fflush(stdout);
    CHECK(unfinished > 0 && waited == 0);

    (void)crier_close(producer);
    for (unsigned i = 0; i < LISTENERS; i++)
        (void)crier_close(listeners[i]);
    broker_close(broker);
    snprintf(text, sizeof(text), "rm -r %s", folder);
    return system(text) == 0 ? 0 : 1;
}
