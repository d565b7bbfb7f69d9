/* socket.c: the connection's bytes: look the name up, connect, receive, send.
 *
 * Role:     one socket at a time, nonblocking: received straight into the engine's buffer, sent
 *           with one gathering call straight out of its batches.
 * Thread:   the I/O thread.
 * Owns:     struct bus_socket.
 *
 * Happy path:  socket_open -> (name looked up) -> connect -> writable -> engine_connected -> readable -> engine_received
 *              -> loop_turn -> socket_send
 * Failures:    an address refuses, or does not answer in its share of the time: the next one; none does, the peer closes, the network fails:
 *              engine_disconnected with the reason, and the engine decides when to try again. */
#include "client/bus_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_BYTES_MAX (4u * 1024 * 1024) /* in one turn, then the rest of the loop has its chance */
#define SEND_BYTES_MAX    (8u * 1024 * 1024)
#define SEND_PIECES_MAX   64
#define ADDRESSES_US                                                                                         \
    (4 * INT64_C(1000000)) /* for all of a name: less than the engine waits for a connection */

static void address_try_next(crier *bus, const char *reason);

static void descriptor_close(crier *bus)
{
    struct bus_socket *sock = &bus->socket;

    (void)agenda_timer_remove(bus->agenda, &sock->late);
    if (sock->fd >= 0) {
        poll_unwatch(bus, sock->fd);
        close(sock->fd);
    }
    sock->output_watched = sock->connecting = false;
    sock->fd = -1;
}

static void resolve_unwatch(crier *bus)
{
    int fd = bus->socket.resolve ? resolve_fd(bus->socket.resolve) : -1;

    if (fd >= 0)
        poll_unwatch(bus, fd);
}

void socket_close(crier *bus)
{
    descriptor_close(bus);
    resolve_unwatch(bus);
    resolve_forget(bus->socket.resolve);
    bus->socket.resolve = NULL;
    bus->socket.address_count = bus->socket.address_next = 0;
}

/* "localhost:27437: Connection refused" */
static void connection_lost(crier *bus, int code, const char *reason)
{
    const struct endpoint *endpoint = &bus->url.endpoints[bus->connect_endpoint];
    char text[URL_HOST_MAX + 128];

    snprintf(text, sizeof(text), "%s%s%s: %s", endpoint->host, endpoint->port[0] ? ":" : "", endpoint->port,
             reason);
    socket_close(bus);
    engine_disconnected(bus->engine, clock_monotonic_us(), code, text);
    bus->again = true;
}

/* ---- receiving ---- */

/* One recv into the engine. Returns whether there may be more at once. */
static bool receive_once(crier *bus, size_t *received)
{
    struct iovec space;
    ssize_t size;

    if (engine_input(bus->engine, &space) < 0) {
        connection_lost(bus, CRIER_ENOMEM, "out of memory to receive");
        return false;
    }
    size = recv(bus->socket.fd, space.iov_base, space.iov_len, 0);
    if (size > 0) {
        *received += (size_t)size;
        engine_received(bus->engine, (size_t)size, clock_monotonic_us());
        return !bus->disconnect_wanted && (size_t)size == space.iov_len && *received < RECEIVE_BYTES_MAX;
    }
    if (size == 0)
        connection_lost(bus, CRIER_ECONNECT, "the broker closed the connection");
    else if (errno != EAGAIN && errno != EINTR)
        connection_lost(bus, CRIER_ECONNECT, strerror(errno));
    return false;
}

static void receive(crier *bus)
{
    size_t received = 0;

    while (receive_once(bus, &received))
        continue;
}

/* ---- sending ---- */

static void output_watch(crier *bus, bool wanted)
{
    struct bus_socket *sock = &bus->socket;

    if (wanted == sock->output_watched)
        return;
    sock->output_watched = wanted;
    poll_watch_output(bus, sock->fd, wanted);
}

void socket_send(crier *bus)
{
    struct iovec pieces[SEND_PIECES_MAX];
    struct msghdr message = {.msg_iov = pieces};
    size_t total = 0;
    ssize_t sent = 0;

    for (;;) {
        message.msg_iovlen = engine_output(bus->engine, pieces, SEND_PIECES_MAX, clock_monotonic_us());
        if (bus->socket.fd < 0 || bus->socket.connecting || bus->disconnect_wanted)
            return;
        if (message.msg_iovlen == 0 || total >= SEND_BYTES_MAX)
            break;
        sent = sendmsg(bus->socket.fd, &message, MSG_NOSIGNAL);
        if (sent < 0)
            break;
        engine_output_consumed(bus->engine, (size_t)sent);
        total += (size_t)sent;
    }
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        connection_lost(bus, CRIER_ECONNECT, strerror(errno));
    else
        output_watch(bus, message.msg_iovlen > 0);
}

/* ---- connecting ---- */

/* On one machine a connection to a port where nobody listens can meet itself (TCP's simultaneous open), and then keeps
 * that port from the broker that is to come back. */
static bool socket_is_its_own_peer(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_size = sizeof(own), peer_size = sizeof(peer);

    return getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 && own.ss_family != AF_UNIX &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && own_size == peer_size &&
           memcmp(&own, &peer, own_size) == 0;
}

static void connect_done(crier *bus)
{
    struct bus_socket *sock = &bus->socket;
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error == 0 && socket_is_its_own_peer(sock->fd)) {
        struct linger abort = {.l_onoff = 1};
        setsockopt(sock->fd, SOL_SOCKET, SO_LINGER, &abort,
                   sizeof(abort)); /* no TIME_WAIT on the broker's port */
        error = ECONNREFUSED;
    }
    if (error != 0) {
        address_try_next(bus, strerror(error));
        return;
    }
    sock->connecting = false;
    (void)agenda_timer_remove(bus->agenda, &sock->late);
    output_watch(bus, false);
    engine_connected(bus->engine, clock_monotonic_us());
}

/* From here on the socket is the bus's. 0, or the errno. */
static int socket_watch(crier *bus, int fd)
{
    bus->socket.fd = fd;
    return poll_watch(bus, fd, WATCH_SOCKET) < 0 ? errno : 0;
}

/* Starts connecting to one address. 0, or the errno. */
static int address_connect(crier *bus, const struct address *address)
{
    struct bus_socket *sock = &bus->socket;
    int one = 1, fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;

    if (fd < 0)
        return errno;
    if ((error = socket_watch(bus, fd)) != 0)
        return error;
    if (address->socket.ss_family != AF_UNIX) /* batches are made here, the kernel need not wait for more */
        setsockopt(sock->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(sock->fd, (const struct sockaddr *)&address->socket, address->size) < 0 &&
        errno != EINPROGRESS)
        return errno;
    sock->connecting = true;
    output_watch(bus, true); /* also when it is connected at once: one way is enough */
    return 0;
}

/* Its packets may be dropped, as those of an address that only half of a network knows: others are waiting. */
static void address_is_late(struct task *task, bool dropped)
{
    struct bus_socket *sock =
        LIST_ENTRY(LIST_ENTRY(task, struct agenda_timer, task), struct bus_socket, late);

    if (!dropped)
        address_try_next(LIST_ENTRY(sock, crier, socket), "no answer");
}

void socket_init(crier *bus)
{
    bus->socket.fd = -1;
    bus->socket.late = (struct agenda_timer){.task.run = address_is_late, .node.place = HEAP_NOWHERE};
    list_init(&bus->socket.late.task.link);
}

static void late_arm(crier *bus)
{
    struct bus_socket *sock = &bus->socket;
    int64_t share_us = ADDRESSES_US / (int64_t)sock->address_count;

    if (sock->address_next == sock->address_count)
        return; /* the last one: the engine looks at the clock */
    (void)agenda_timer_add(bus->agenda, &sock->late, clock_monotonic_us() + share_us);
}

static void address_try_next(crier *bus, const char *reason)
{
    struct bus_socket *sock = &bus->socket;
    char kept[128];
    int error;

    snprintf(kept, sizeof(kept), "%s", reason);
    while (sock->address_next < sock->address_count) {
        descriptor_close(bus);
        if ((error = address_connect(bus, &sock->addresses[sock->address_next++])) == 0) {
            late_arm(bus);
            return;
        }
        snprintf(kept, sizeof(kept), "%s", strerror(error));
    }
    connection_lost(bus, CRIER_ECONNECT, kept);
}

static void resolve_done(crier *bus)
{
    struct bus_socket *sock = &bus->socket;
    const char *error;

    sock->address_next = 0;
    sock->address_count = resolve_take(sock->resolve, sock->addresses, &error);
    sock->resolve = NULL;
    address_try_next(bus, error ? error : "no address");
}

/* The connection comes from the transport, whole. */
static void transport_connect(crier *bus)
{
    int fd = bus->transport.connect(bus->transport.ctx), error = fd < 0 ? -fd : socket_watch(bus, fd);

    if (error != 0) {
        connection_lost(bus, CRIER_ECONNECT, strerror(error));
        return;
    }
    engine_connected(bus->engine, clock_monotonic_us());
}

static void host_connect(crier *bus, unsigned endpoint)
{
    struct bus_socket *sock = &bus->socket;
    int rc = resolve_start(&bus->url.endpoints[endpoint], &sock->resolve), fd;

    if (rc < 0) {
        connection_lost(bus, rc, crier_strerror(rc));
        return;
    }
    if ((fd = resolve_fd(sock->resolve)) < 0) {
        resolve_done(bus);
        return;
    }
    if (poll_watch(bus, fd, WATCH_RESOLVE) < 0)
        connection_lost(bus, CRIER_ENOMEM, "out of memory to look a name up");
}

void socket_open(crier *bus, unsigned endpoint)
{
    if (bus->transport.connect)
        transport_connect(bus);
    else
        host_connect(bus, endpoint);
}

/* ---- what poll.c found ---- */

void socket_ready(crier *bus, enum bus_watch watch, bool input, bool output)
{
    if (watch == WATCH_RESOLVE) {
        resolve_unwatch(bus);
        resolve_done(bus);
    } else if (bus->socket.connecting) {
        if (output)
            connect_done(bus);
    } else if (input) {
        receive(bus);
    } /* output alone: the turn sends */
}
