/* url.c: where a bus goes. See url.h. */
#include "client/url.h"

#include "crier/crier.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool port_parse(const char *text, size_t size, struct endpoint *endpoint)
{
    unsigned long port = 0;

    if (size == 0 || size > 5)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return false;
    snprintf(endpoint->port, sizeof(endpoint->port), "%lu", port);
    return true;
}

/* Without what has another meaning in a URL, or is in no name: with "user@host", "host?option" or a line's end somebody wants what
 * there is not, and would be told, after a while, that nobody answers. In an address a '%' is followed by its interface. */
static bool host_is_possible(const char *host, size_t size, bool address)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)host[i] <= ' ' || host[i] == 0x7f || strchr("/?#@\\", host[i]) ||
            (host[i] == '%' && !address))
            return false;
    return true;
}

/* HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT in text[0 .. size). */
static bool endpoint_parse(const char *text, size_t size, struct endpoint *endpoint)
{
    bool bracket = size > 0 && text[0] == '[';
    char stop = bracket ? ']' : ':';
    const char *host = text + bracket;
    size_t host_size = 0, rest;

    while (bracket + host_size < size && host[host_size] != stop)
        host_size++;
    rest = bracket + host_size; /* where ']' or ':' stands, or the end */
    if (bracket && rest++ == size)
        return false;
    if (host_size == 0 || host_size > URL_HOST_MAX || !host_is_possible(host, host_size, bracket))
        return false;
    memcpy(endpoint->host, host, host_size);
    endpoint->host[host_size] = '\0';
    snprintf(endpoint->port, sizeof(endpoint->port), "%d", CRIER_DEFAULT_PORT);
    if (rest == size)
        return true;
    return text[rest] == ':' && port_parse(text + rest + 1, size - rest - 1, endpoint);
}

static int hosts_parse(const char *at, struct url *url)
{
    size_t left = strlen(at);

    if (left > 0 && at[left - 1] == '/')
        left--; /* "crier://host/" */
    for (;;) {
        const char *comma = memchr(at, ',', left);
        size_t size = comma ? (size_t)(comma - at) : left;
        if (url->endpoint_count == URL_ENDPOINTS_MAX ||
            !endpoint_parse(at, size, &url->endpoints[url->endpoint_count]))
            return CRIER_EINVAL;
        url->endpoint_count++;
        if (!comma)
            return 0;
        at += size + 1;
        left -= size + 1;
    }
}

static int path_parse(const char *path, struct url *url)
{
    size_t size = strlen(path);

    if (path[0] != '/' || size >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return CRIER_EINVAL;
    memcpy(url->endpoints[0].host, path, size + 1);
    url->endpoint_count = 1;
    return 0;
}

int url_parse(const char *text, struct url *ret_url)
{
    *ret_url = (struct url){0};
    if (strncmp(text, "crier://", 8) == 0)
        return hosts_parse(text + 8, ret_url);
    if (strncmp(text, "unix:", 5) == 0)
        return path_parse(text + 5, ret_url);
    return CRIER_EINVAL;
}
