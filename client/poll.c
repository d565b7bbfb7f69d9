/* poll.c: what a bus waits for, and the three ways somebody waits for it.
 *
 * Role:     one epoll descriptor holds everything a bus waits for: the wake-up, the socket or the look-up of a name, descriptors at the
 *           ends of streams. With it
 *           and poll_timeout_us() a bus can live on any loop: its own thread (epoll_wait), a caller's libevent base (two
 *           events and one timer), or whatever the caller has (crier_fd, crier_timeout_ms, crier_process). A caller's base
 *           watches the socket itself: through a descriptor of ours every answer would cost a system call more.
 * Thread:   the I/O thread: the bus's own, or whichever runs the caller's loop.
 * Owns:     both descriptors and the events on the caller's base.
 *
 * Happy path:  poll_step: epoll_wait -> what is ready is read -> loop_turn -> the caller's timer
 * Failures:    no descriptors or memory: CRIER_ENOMEM at the opening; later a failed connection attempt. */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/handles.h"

#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_MAX 16 /* what is ready beyond that is ready in the next turn */

/* ---- the socket, on a caller's base ---- */

static void on_base_socket(evutil_socket_t fd, short what, void *ctx)
{
    crier *bus = ctx;

    (void)fd;
    loop_enter(bus);
    socket_ready(bus, WATCH_SOCKET, what & EV_READ, what & EV_WRITE);
    loop_turn(bus);
}

static int base_watch(crier *bus, int fd, short what)
{
    bus->base_socket = event_new(bus->options.base, fd, (short)(what | EV_PERSIST), on_base_socket, bus);
    if (bus->base_socket && event_add(bus->base_socket, NULL) == 0)
        return 0;
    errno = ENOMEM;
    return -1;
}

static void base_unwatch(crier *bus)
{
    event_free(bus->base_socket);
    bus->base_socket = NULL;
}

/* ---- descriptors ---- */

int poll_watch(crier *bus, int fd, enum bus_watch watch)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = watch};

    if (watch == WATCH_SOCKET && bus->options.base)
        return base_watch(bus, fd, EV_READ);
    return epoll_ctl(bus->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

void poll_watch_output(crier *bus, int fd, bool output)
{
    struct epoll_event event = {.events = EPOLLIN | (output ? EPOLLOUT : 0), .data.u64 = WATCH_SOCKET};

    if (bus->base_socket) {
        (void)event_del(bus->base_socket);
        (void)event_assign(bus->base_socket, bus->options.base, fd,
                           (short)(EV_READ | EV_PERSIST | (output ? EV_WRITE : 0)), on_base_socket, bus);
        (void)event_add(bus->base_socket, NULL);
        return;
    }
    (void)epoll_ctl(bus->poll_fd, EPOLL_CTL_MOD, fd, &event);
}

void poll_unwatch(crier *bus, int fd)
{
    if (bus->base_socket && event_get_fd(bus->base_socket) == fd)
        base_unwatch(bus);
    else
        (void)epoll_ctl(bus->poll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- descriptors of streams ---- */

int poll_arm_watcher(crier *bus, int fd, struct poll_watcher *watcher, bool input, bool output)
{
    struct epoll_event event = {.events = (input ? EPOLLIN : 0) | (output ? EPOLLOUT : 0) | EPOLLONESHOT,
                                .data.ptr = watcher};

    if (epoll_ctl(bus->poll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    return errno == ENOENT ? epoll_ctl(bus->poll_fd, EPOLL_CTL_ADD, fd, &event) : -1;
}

void poll_disarm_watcher(crier *bus, int fd)
{
    (void)epoll_ctl(bus->poll_fd, EPOLL_CTL_DEL, fd, NULL); /* perhaps it never waited */
}

static void wake_up_taken(crier *bus)
{
    uint64_t count;

    if (read(bus->wake_fd, &count, sizeof(count)) < 0) {
        /* another turn took it: nothing is lost by another look */
    }
}

/* ---- waiting ---- */

int64_t poll_timeout_us(crier *bus)
{
    int64_t due = loop_due(bus), left;

    if (due == ENGINE_NEVER)
        return ENGINE_NEVER;
    left = due - clock_monotonic_us();
    return left > 0 ? left : 0;
}

/* Whole milliseconds, rounded up: waking early would only mean waiting again. */
static int timeout_ms(int64_t timeout_us)
{
    if (timeout_us == ENGINE_NEVER)
        return -1;
    return timeout_us > INT_MAX * INT64_C(1000) - 999 ? INT_MAX : (int)((timeout_us + 999) / 1000);
}

void poll_step(crier *bus, int64_t timeout_us)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(bus->poll_fd, events, EVENTS_MAX, timeout_ms(timeout_us));

    loop_enter(bus); /* callbacks run from here on */
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == WATCH_WAKE)
            wake_up_taken(bus);
        else if (events[i].data.u64 >= WATCHES) /* an address */
            ((struct poll_watcher *)events[i].data.ptr)->ready(events[i].data.ptr);
        else
            socket_ready(bus, (enum bus_watch)events[i].data.u64, events[i].events & (uint32_t)~EPOLLOUT,
                         events[i].events & (uint32_t)(EPOLLOUT | EPOLLERR | EPOLLHUP));
    }
    loop_turn(bus);
}

/* Nobody runs the caller's base just now: its socket is waited for here. */
static void base_pump(crier *bus, int64_t timeout_us)
{
    struct pollfd fds[] = {
        {.fd = bus->poll_fd, .events = POLLIN},
        {.fd = event_get_fd(bus->base_socket),
         .events = (short)(POLLIN | (event_get_events(bus->base_socket) & EV_WRITE ? POLLOUT : 0))}};

    if (poll(fds, 2, timeout_ms(timeout_us)) > 0 && fds[1].revents) {
        loop_enter(bus);
        socket_ready(bus, WATCH_SOCKET, fds[1].revents & ~POLLOUT,
                     fds[1].revents & (POLLOUT | POLLERR | POLLHUP));
    }
}

/* Until the deadline, on the thread that drives a bus without a thread of its own: in a blocking call. */
bool poll_pump(crier *bus, int64_t deadline_us)
{
    int64_t timeout_us = poll_timeout_us(bus), left;

    if (!poll_may_pump(bus))
        return false;
    if (deadline_us != ENGINE_NEVER) {
        left = deadline_us - clock_monotonic_us();
        timeout_us = left < timeout_us ? left : timeout_us;
    }
    if (timeout_us < 0)
        timeout_us = 0;
    if (bus->base_socket) {
        base_pump(bus, timeout_us);
        timeout_us = 0;
    }
    poll_step(bus, timeout_us);
    return true;
}

void poll_run(crier *bus)
{
    loop_turn(bus);
    while (!bus->down)
        poll_step(bus, poll_timeout_us(bus));
}

/* ---- a caller's libevent base ---- */

static void on_base_ready(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    poll_step(ctx, 0);
}

static void on_base_timer(evutil_socket_t fd, short what, void *ctx)
{
    crier *bus = ctx;

    (void)fd;
    (void)what;
    bus->base_timer_due = ENGINE_NEVER; /* it has fired: arm it anew */
    poll_step(bus, 0);
}

void poll_arm(crier *bus)
{
    int64_t due = bus->base_timer ? loop_due(bus) : ENGINE_NEVER, delay;
    struct timeval interval;

    if (due >= bus->base_timer_due)
        return; /* it fires early and is armed anew: cheaper than moving it with every byte received */
    bus->base_timer_due = due;
    delay = due - clock_monotonic_us();
    if (delay < 0)
        delay = 0;
    interval = (struct timeval){.tv_sec = delay / 1000000, .tv_usec = delay % 1000000};
    event_add(bus->base_timer, &interval);
}

static int base_join(crier *bus)
{
    struct event_base *base = bus->options.base;

    bus->base_event = event_new(base, bus->poll_fd, EV_READ | EV_PERSIST, on_base_ready, bus);
    bus->base_timer = event_new(base, -1, 0, on_base_timer, bus);
    if (!bus->base_event || !bus->base_timer || event_add(bus->base_event, NULL) < 0)
        return CRIER_ENOMEM;
    return 0;
}

void poll_leave_base(crier *bus)
{
    if (bus->base_event)
        event_free(bus->base_event);
    if (bus->base_timer)
        event_free(bus->base_timer);
    if (bus->base_socket)
        base_unwatch(bus);
    bus->base_event = bus->base_timer = NULL;
}

/* libevent tells nobody whether a loop is running (event_base_get_running_event() crashes when it is not), but in its
 * callbacks the cached time stands still. */
bool poll_may_pump(crier *bus)
{
    struct timeval before, after;
    int64_t began;

    if (!bus->options.base)
        return true;
    event_base_gettimeofday_cached(bus->options.base, &before);
    began = clock_monotonic_us();
    while (clock_monotonic_us() < began + 3)
        continue;
    event_base_gettimeofday_cached(bus->options.base, &after);
    return before.tv_sec != after.tv_sec || before.tv_usec != after.tv_usec;
}

/* ---- opening and closing ---- */

int poll_open(crier *bus)
{
    bus->base_timer_due = ENGINE_NEVER;
    bus->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    bus->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bus->poll_fd < 0 || bus->wake_fd < 0 || poll_watch(bus, bus->wake_fd, WATCH_WAKE) < 0)
        return CRIER_ENOMEM;
    return bus->options.base ? base_join(bus) : 0;
}

void poll_close(crier *bus)
{
    poll_leave_base(bus);
    if (bus->wake_fd >= 0)
        close(bus->wake_fd);
    if (bus->poll_fd >= 0)
        close(bus->poll_fd);
    bus->wake_fd = bus->poll_fd = -1;
}

/* ---- the caller's own loop ---- */

int crier_fd(crier *bus)
{
    handle_check(&bus_handles, bus);
    return bus && bus->options.polled ? bus->poll_fd : CRIER_EINVAL;
}

int crier_timeout_ms(crier *bus)
{
    handle_check(&bus_handles, bus);
    return bus && bus->options.polled ? timeout_ms(poll_timeout_us(bus)) : -1;
}

int crier_process(crier *bus)
{
    handle_check(&bus_handles, bus);
    if (!bus || !bus->options.polled)
        return CRIER_EINVAL;
    if (atomic_load_explicit(&bus->in_turn, memory_order_relaxed) ||
        (bus->emitter && emitter_lock_is_inside(&bus->emitter->lock)))
        return CRIER_EDEADLK;
    poll_step(bus, 0);
    return 0;
}
