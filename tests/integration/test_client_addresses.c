/* A name with two addresses, one of which takes no packet: the other one is tried in time. Only the name server is made up: who listens
 * there is a socket whose line is full, so that the kernel drops who knocks, as a network does that knows half of the addresses. */
#include "tests/support/broker_fixture.h"

#include "crier/crier.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KNOCKS_MAX 64

static struct sockaddr_in addresses[2];
static int knocks[KNOCKS_MAX], knock_count, deaf;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret_found);
void __real_freeaddrinfo(struct addrinfo *found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret_found);
void __wrap_freeaddrinfo(struct addrinfo *found);

static bool is_ours(const struct addrinfo *found)
{
    return found->ai_addr == (const struct sockaddr *)&addresses[0];
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret_found)
{
    if (strcmp(host, "two.addresses.test") != 0)
        return __real_getaddrinfo(host, port, hints, ret_found);
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    struct addrinfo *found = calloc(2, sizeof(*found));
    cr_assert_not_null(found);
    for (int i = 0; i < 2; i++)
        found[i] = (struct addrinfo){.ai_family = AF_INET,
                                     .ai_socktype = SOCK_STREAM,
                                     .ai_addr = (struct sockaddr *)&addresses[i],
                                     .ai_addrlen = sizeof(addresses[i]),
                                     .ai_next = i == 0 ? &found[1] : NULL};
    *ret_found = found;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *found)
{
    if (is_ours(found))
        free(found);
    else
        __real_freeaddrinfo(found);
}

/* Connects until nobody is let in any more. */
static void fill_the_line(const struct sockaddr_in *at)
{
    struct pollfd writable = {.events = POLLOUT};
    do {
        cr_assert_lt(knock_count, KNOCKS_MAX);
        writable.fd = knocks[knock_count++] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        cr_assert(connect(writable.fd, (const struct sockaddr *)at, sizeof(*at)) == 0 ||
                  errno == EINPROGRESS);
    } while (poll(&writable, 1, 500) == 1);
}

static void be_deaf(struct sockaddr_in *ret_at)
{
    socklen_t size = sizeof(*ret_at);
    *ret_at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK + 1)}};
    deaf = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(deaf, (struct sockaddr *)ret_at, sizeof(*ret_at)) == 0 && listen(deaf, 0) == 0);
    cr_assert_eq(getsockname(deaf, (struct sockaddr *)ret_at, &size), 0);
    fill_the_line(ret_at);
}

Test(client_addresses, one_that_drops_packets_does_not_keep_from_the_next)
{
    struct broker *broker = broker_start(NULL);
    crier *bus;
    cr_assert_not_null(broker);
    be_deaf(&addresses[0]);
    addresses[1] = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)broker_port(broker)),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(crier_open("crier://two.addresses.test", NULL, &bus), 0); /* in its default time */
    cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(broker_destroy(broker), 0);
    while (knock_count > 0)
        close(knocks[--knock_count]);
    close(deaf);
}
