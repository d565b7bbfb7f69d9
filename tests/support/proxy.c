/* proxy.c: see proxy.h.
 *
 * Thread:  the proxy's own does everything to sockets; others change `wanted` under the lock, wake it, and wait until it has
 *          taken that over.
 * Owns:    the pairs of sockets, closed when either end is, or is reset.
 * Limits:  PAIRS_MAX connections; a further one is closed at once. Forwarding writes until it is written: a receiver that does
 *          not read holds up all, which is enough for tests of a few connections. */
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 64
#define PIECE     65536

struct pair {
    int client, broker; /* -1: none */
    uint64_t carried;
    bool deaf; /* it has lost bytes */
};

struct settings {
    enum proxy_mode mode;
    uint64_t reset_after;
    bool stop;
};

struct proxy {
    uint16_t port, target;
    char url[64];
    int listener, wake;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t taken;
    struct settings wanted, now; /* wanted: under the lock */
    uint64_t changes, changes_taken;
    uint64_t resets, connections; /* under the lock */
    struct pair pairs[PAIRS_MAX];
};

static int socket_address(struct sockaddr_in *address, uint16_t port)
{
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void pair_close(struct pair *pair, bool reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    int *ends[] = {&pair->client, &pair->broker};
    for (int i = 0; i < 2; i++) {
        if (reset && *ends[i] >= 0)
            setsockopt(*ends[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        if (*ends[i] >= 0)
            close(*ends[i]);
        *ends[i] = -1;
    }
}

static void count(struct proxy *proxy, uint64_t *counter)
{
    pthread_mutex_lock(&proxy->lock);
    ++*counter;
    pthread_mutex_unlock(&proxy->lock);
}

static void accept_one(struct proxy *proxy)
{
    struct sockaddr_in address;
    struct pair *pair = proxy->pairs;
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    while (pair < proxy->pairs + PAIRS_MAX && pair->client >= 0)
        pair++;
    if (client < 0)
        return;
    count(proxy, &proxy->connections);
    int broker = socket_address(&address, proxy->target);
    if (pair == proxy->pairs + PAIRS_MAX || broker < 0 ||
        connect(broker, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(client);
        if (broker >= 0)
            close(broker);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *pair = (struct pair){.client = client, .broker = broker};
}

static bool write_all(int fd, const uint8_t *bytes, size_t size, size_t piece)
{
    for (size_t done = 0; done < size;) {
        size_t part = size - done < piece ? size - done : piece;
        ssize_t n = send(fd, bytes + done, part, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* Carries what is there from one end to the other. False: the pair is over. */
static bool carry(struct proxy *proxy, struct pair *pair, int from, int to)
{
    uint8_t bytes[PIECE];
    ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    if (proxy->now.mode == PROXY_SILENT) {
        pair->deaf = true;
        return true;
    }
    size_t size = (size_t)n;
    if (proxy->now.reset_after && pair->carried + size > proxy->now.reset_after)
        size = (size_t)(proxy->now.reset_after - pair->carried);
    pair->carried += size;
    if (!write_all(to, bytes, size, proxy->now.mode == PROXY_DRIBBLE ? 1 : PIECE))
        return false;
    if (proxy->now.reset_after == 0 || pair->carried < proxy->now.reset_after)
        return true;
    pair_close(pair, true);
    count(proxy, &proxy->resets);
    return true;
}

static void take_over(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    proxy->now = proxy->wanted;
    for (int i = 0; i < PAIRS_MAX; i++) {
        if (proxy->pairs[i].deaf && proxy->now.mode != PROXY_SILENT) {
            pair_close(&proxy->pairs[i], true);
            proxy->pairs[i].deaf = false;
        }
        if (proxy->now.reset_after)
            proxy->pairs[i].carried = 0; /* counted from here */
    }
    proxy->changes_taken = proxy->changes;
    pthread_cond_broadcast(&proxy->taken);
    pthread_mutex_unlock(&proxy->lock);
}

static void turn(struct proxy *proxy)
{
    struct pollfd fds[2 + 2 * PAIRS_MAX] = {{proxy->wake, POLLIN, 0}, {proxy->listener, POLLIN, 0}};
    uint64_t wakes;
    for (int i = 0; i < PAIRS_MAX; i++) {
        fds[2 + 2 * i] = (struct pollfd){proxy->pairs[i].client, POLLIN, 0};
        fds[3 + 2 * i] = (struct pollfd){proxy->pairs[i].broker, POLLIN, 0};
    }
    poll(fds, 2 + 2 * PAIRS_MAX, -1);
    for (int i = 0; i < PAIRS_MAX; i++) {
        struct pair *pair = &proxy->pairs[i];
        if (fds[2 + 2 * i].revents && pair->client >= 0 && !carry(proxy, pair, pair->client, pair->broker))
            pair_close(pair, false);
        if (fds[3 + 2 * i].revents && pair->client >= 0 && !carry(proxy, pair, pair->broker, pair->client))
            pair_close(pair, false);
    }
    if (fds[1].revents)
        accept_one(proxy);
    if (fds[0].revents && read(proxy->wake, &wakes, sizeof(wakes)) > 0)
        take_over(proxy);
}

static void *run(void *argument)
{
    struct proxy *proxy = argument;
    while (!proxy->now.stop)
        turn(proxy);
    return NULL;
}

/* ---- for other threads ---- */

struct proxy *proxy_start(uint16_t port)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    if (!proxy)
        return NULL;
    for (int i = 0; i < PAIRS_MAX; i++)
        proxy->pairs[i].client = proxy->pairs[i].broker = -1;
    pthread_mutex_init(&proxy->lock, NULL);
    pthread_cond_init(&proxy->taken, NULL);
    proxy->target = port;
    proxy->listener = socket_address(&address, 0);
    proxy->wake = eventfd(0, EFD_CLOEXEC);
    if (proxy->listener < 0 || proxy->wake < 0 ||
        bind(proxy->listener, (struct sockaddr *)&address, size) < 0 || listen(proxy->listener, 16) < 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&address, &size) < 0)
        goto failed;
    proxy->port = ntohs(address.sin_port);
    snprintf(proxy->url, sizeof(proxy->url), "crier://127.0.0.1:%u", proxy->port);
    if (pthread_create(&proxy->thread, NULL, run, proxy) == 0)
        return proxy;
failed:
    perror("proxy");
    free(proxy);
    return NULL;
}

const char *proxy_url(const struct proxy *proxy)
{
    return proxy->url;
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

/* Called with the lock, and `wanted` changed; returns when it holds. */
static void change_locked(struct proxy *proxy)
{
    uint64_t one = 1, change = ++proxy->changes;
    if (write(proxy->wake, &one, sizeof(one)) < 0)
        abort();
    while (proxy->changes_taken < change)
        pthread_cond_wait(&proxy->taken, &proxy->lock);
}

void proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    pthread_mutex_lock(&proxy->lock);
    proxy->wanted.mode = mode;
    change_locked(proxy);
    pthread_mutex_unlock(&proxy->lock);
}

void proxy_reset_after(struct proxy *proxy, uint64_t bytes)
{
    pthread_mutex_lock(&proxy->lock);
    proxy->wanted.reset_after = bytes;
    change_locked(proxy);
    pthread_mutex_unlock(&proxy->lock);
}

static uint64_t counter_read(struct proxy *proxy, const uint64_t *counter)
{
    pthread_mutex_lock(&proxy->lock);
    uint64_t value = *counter;
    pthread_mutex_unlock(&proxy->lock);
    return value;
}

uint64_t proxy_resets(struct proxy *proxy)
{
    return counter_read(proxy, &proxy->resets);
}

uint64_t proxy_connections(struct proxy *proxy)
{
    return counter_read(proxy, &proxy->connections);
}

void proxy_destroy(struct proxy *proxy)
{
    if (!proxy)
        return;
    pthread_mutex_lock(&proxy->lock);
    proxy->wanted.stop = true;
    change_locked(proxy);
    pthread_mutex_unlock(&proxy->lock);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < PAIRS_MAX; i++)
        pair_close(&proxy->pairs[i], false);
    close(proxy->listener);
    close(proxy->wake);
    pthread_mutex_destroy(&proxy->lock);
    pthread_cond_destroy(&proxy->taken);
    free(proxy);
}
