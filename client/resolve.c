/* resolve.c: a host's addresses. See resolve.h.
 *
 * Owns:      struct resolve, by two references: who asked, and the helper thread while it looks.
 * Happy path: resolve_start -> thread: getaddrinfo -> eventfd -> resolve_take
 * Failures:  the name is not known: no addresses, with the reason. Forgotten: the helper frees what it found. */
#include "client/resolve.h"

#include "base/check.h"
#include "crier/crier.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

struct resolve {
    atomic_uint references;
    atomic_bool answered; /* what follows `fd` may be read by who asked */
    struct endpoint endpoint;
    int fd; /* -1: answered at once */
    size_t count;
    struct address addresses[RESOLVE_ADDRESSES_MAX];
    const char *error;
};

static void resolve_unref(struct resolve *resolve)
{
    if (atomic_fetch_sub(&resolve->references, 1) > 1)
        return;
    if (resolve->fd >= 0)
        close(resolve->fd);
    free(resolve);
}

static void addresses_keep(struct resolve *resolve, const struct addrinfo *found)
{
    for (; found && resolve->count < RESOLVE_ADDRESSES_MAX; found = found->ai_next) {
        struct address *address = &resolve->addresses[resolve->count];
        if (found->ai_addrlen > sizeof(address->socket))
            continue;
        memcpy(&address->socket, found->ai_addr, found->ai_addrlen);
        address->size = found->ai_addrlen;
        resolve->count++;
    }
}

/* Fills the answer. flags: AI_NUMERICHOST never waits. */
static bool look_up(struct resolve *resolve, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV}, *found = NULL;
    int rc = getaddrinfo(resolve->endpoint.host, resolve->endpoint.port, &hints, &found);

    if (rc != 0) {
        resolve->error = rc == EAI_SYSTEM ? "the name cannot be looked up" : gai_strerror(rc);
        return false;
    }
    addresses_keep(resolve, found);
    freeaddrinfo(found);
    return resolve->count > 0;
}

static void *helper_run(void *argument)
{
    struct resolve *resolve = argument;
    uint64_t one = 1;

    look_up(resolve, AI_ADDRCONFIG);
    atomic_store(&resolve->answered, true);
    if (write(resolve->fd, &one, sizeof(one)) < 0) {
        /* an eventfd with room takes it; nothing else can be done here */
    }
    resolve_unref(resolve);
    return NULL;
}

static int helper_start(struct resolve *resolve)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    int rc;

    if ((resolve->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return CRIER_ENOMEM;
    if (pthread_attr_init(&attributes) != 0)
        return CRIER_ENOMEM;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    atomic_fetch_add(&resolve->references, 1);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attributes, helper_run, resolve);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc != 0)
        atomic_fetch_sub(&resolve->references, 1);
    return rc == 0 ? 0 : CRIER_ENOMEM;
}

static void path_keep(struct resolve *resolve)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    memcpy(name.sun_path, resolve->endpoint.host, strlen(resolve->endpoint.host) + 1);
    memcpy(&resolve->addresses[0].socket, &name, sizeof(name));
    resolve->addresses[0].size = sizeof(name);
    resolve->count = 1;
}

int resolve_start(const struct endpoint *endpoint, struct resolve **ret_resolve)
{
    struct resolve *resolve = calloc(1, sizeof(*resolve));
    int rc = 0;

    if (!resolve)
        return CRIER_ENOMEM;
    resolve->references = 1;
    resolve->endpoint = *endpoint;
    resolve->fd = -1;
    if (endpoint->port[0] == '\0')
        path_keep(resolve);
    else if (!look_up(resolve, AI_NUMERICHOST))
        rc = helper_start(resolve);
    if (rc < 0)
        resolve_unref(resolve);
    else
        *ret_resolve = resolve;
    return rc;
}

int resolve_fd(const struct resolve *resolve)
{
    return resolve->fd;
}

size_t resolve_take(struct resolve *resolve, struct address to[RESOLVE_ADDRESSES_MAX], const char **ret_error)
{
    size_t count;

    CHECK(resolve->fd < 0 || atomic_load(&resolve->answered));
    count = resolve->count;
    memcpy(to, resolve->addresses, count * sizeof(to[0]));
    *ret_error = resolve->error;
    resolve_unref(resolve);
    return count;
}

void resolve_forget(struct resolve *resolve)
{
    if (resolve)
        resolve_unref(resolve);
}
