/* acceptor.c: listening sockets: TCP and UNIX.
 *
 * Failures:  no descriptors left (EMFILE): accepting pauses for a moment, with one log line, instead of spinning.
 *            Too many connections: the newcomer is told so, then closed; beyond TURNED_AWAY_MAX at a time without a word. An address in use: one clear sentence at start. */
#include "broker/reactor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG         1024
#define TURNED_AWAY_MAX 64u

static void peer_text(const struct sockaddr_storage *address, socklen_t size, char *to, size_t to_size)
{
    char host[48], port[8]; /* numeric: an IPv6 address and a port */
    if (address->ss_family == AF_UNIX)
        snprintf(to, to_size, "unix");
    else if (getnameinfo((const struct sockaddr *)address, size, host, sizeof(host), port, sizeof(port),
                         NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(to, to_size, "%s:%s", host, port);
    else
        snprintf(to, to_size, "?");
}

static void on_resume(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    struct acceptor *acceptor = ctx;
    event_add(&acceptor->event, NULL);
}

static void pause_accepting(struct acceptor *acceptor)
{
    struct timeval delay = {.tv_usec = 100000};
    LOG_WARN(acceptor->reactor->log, "ACCEPT-PAUSED",
             "no descriptors left (%s): new connections wait; raise LimitNOFILE", strerror(errno));
    event_del(&acceptor->event);
    event_add(&acceptor->resume, &delay);
}

static void turn_away(struct reactor *reactor, int fd, const char *peer)
{
    if (reactor->turned_away_count < TURNED_AWAY_MAX)
        connection_turn_away(
            reactor, fd, peer,
            "the broker has as many connections as it may (connections-max): close some, or raise it");
    else
        close(fd);
}

static void on_acceptable(evutil_socket_t listening, short what, void *ctx)
{
    (void)what;
    struct acceptor *acceptor = ctx;
    struct reactor *reactor = acceptor->reactor;
    reactor_turn_begin(reactor);
    for (int i = 0; i < 64; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof(address);
        int fd = accept4(listening, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                pause_accepting(acceptor);
            return; /* EAGAIN, or a connection that ended before it was accepted */
        }
        char peer[64];
        peer_text(&address, size, peer, sizeof(peer));
        if (reactor->connection_count >= reactor->options.connections_max) {
            LOG_WARN(reactor->log, "ACCEPT-LIMIT", "%s: refused, %u connections are open", peer,
                     reactor->connection_count);
            turn_away(reactor, fd, peer);
        } else {
            connection_accept(reactor, fd, peer);
        }
    }
}

/* A socket file nobody listens on any more may be replaced; anything else at that path may not. */
static int unix_path_free(const char *path, const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(path, &status) < 0)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = probe < 0                                                                 ? -errno
             : connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ? -EADDRINUSE
                                                                                       : 0;
    if (probe >= 0)
        close(probe);
    if (rc == 0)
        unlink(path);
    return rc;
}

static int unix_open(struct acceptor *acceptor, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int rc = unix_path_free(path, &address);
    if (rc < 0)
        return rc;
    acceptor->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (acceptor->fd < 0 || bind(acceptor->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    acceptor->unix_path = strdup(path);
    snprintf(acceptor->address, sizeof(acceptor->address), "unix:%s", path);
    return 0;
}

static int tcp_bind(struct acceptor *acceptor, const struct addrinfo *info)
{
    int on = 1;
    acceptor->fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (acceptor->fd < 0)
        return -errno;
    (void)setsockopt(acceptor->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(acceptor->fd, info->ai_addr, info->ai_addrlen) < 0)
        return -errno;
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof(bound);
    if (getsockname(acceptor->fd, (struct sockaddr *)&bound, &size) < 0)
        return -errno;
    peer_text(&bound, size, acceptor->address, sizeof(acceptor->address));
    return 0;
}

/* "HOST:PORT", "[V6]:PORT" */
static int tcp_open(struct acceptor *acceptor, const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || (size_t)(colon - address) >= sizeof(host))
        return -EINVAL;
    size_t size = (size_t)(colon - address);
    bool bracketed = address[0] == '[' && address[size - 1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? size - 2 : size), address + bracketed);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *infos;
    if (getaddrinfo(host, colon + 1, &hints, &infos) != 0)
        return -EINVAL;
    int rc = tcp_bind(acceptor, infos);
    freeaddrinfo(infos);
    return rc;
}

static void acceptor_free(struct acceptor *acceptor)
{
    if (acceptor->fd >= 0)
        close(acceptor->fd);
    if (acceptor->unix_path)
        unlink(acceptor->unix_path);
    free(acceptor->unix_path);
    free(acceptor);
}

int acceptor_open(struct reactor *reactor, const char *address, char *error, size_t error_size)
{
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    if (!acceptor)
        return -ENOMEM;
    acceptor->fd = -1;
    acceptor->reactor = reactor;
    int rc =
        strncmp(address, "unix:", 5) == 0 ? unix_open(acceptor, address + 5) : tcp_open(acceptor, address);
    if (rc < 0) {
        snprintf(error, error_size, "cannot listen on \"%s\": %s", address,
                 rc == -EINVAL ? "not HOST:PORT or unix:/PATH, or no such host" : strerror(-rc));
        acceptor_free(acceptor);
        return rc;
    }
    event_assign(&acceptor->event, reactor->base, acceptor->fd, EV_READ | EV_PERSIST, on_acceptable,
                 acceptor);
    event_assign(&acceptor->resume, reactor->base, -1, 0, on_resume, acceptor);
    struct acceptor **end = &reactor->acceptors;
    while (*end)
        end = &(*end)->next;
    *end = acceptor;
    return 0;
}

void acceptors_start(struct reactor *reactor)
{
    for (struct acceptor *acceptor = reactor->acceptors; acceptor; acceptor = acceptor->next) {
        if (listen(acceptor->fd, BACKLOG) < 0)
            LOG_ERROR(reactor->log, "ACCEPT-FAILED", "%s: %s", acceptor->address, strerror(errno));
        event_add(&acceptor->event, NULL);
    }
}

void acceptors_close(struct reactor *reactor)
{
    while (reactor->acceptors) {
        struct acceptor *acceptor = reactor->acceptors;
        reactor->acceptors = acceptor->next;
        event_del(&acceptor->event);
        event_del(&acceptor->resume);
        acceptor_free(acceptor);
    }
}
