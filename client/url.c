/* url.c: where a bus goes. See url.h. */
#include "client/url.h"

#include "crier/crier.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool port_parse(const char *at, const char *end, struct endpoint *endpoint)
{
    unsigned long port = 0;

    if (at == end || end - at > 5)
        return false;
    for (const char *digit = at; digit < end; digit++) {
        if (*digit < '0' || *digit > '9')
            return false;
        port = port * 10 + (unsigned long)(*digit - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return false;
    snprintf(endpoint->port, sizeof(endpoint->port), "%lu", port);
    return true;
}

/* HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT in [at, end). */
static bool endpoint_parse(const char *at, const char *end, struct endpoint *endpoint)
{
    const char *host = at, *host_end, *colon;
    bool bracket = at < end && *at == '[';

    if (bracket) {
        host++;
        if (!(host_end = memchr(host, ']', (size_t)(end - host))))
            return false;
        colon = host_end + 1;
        if (colon < end && *colon != ':')
            return false;
    } else {
        colon = memchr(at, ':', (size_t)(end - at));
        host_end = colon = colon ? colon : end;
    }
    if (host_end == host || host_end - host > URL_HOST_MAX || memchr(host, '/', (size_t)(host_end - host)))
        return false;
    memcpy(endpoint->host, host, (size_t)(host_end - host));
    endpoint->host[host_end - host] = '\0';
    snprintf(endpoint->port, sizeof(endpoint->port), "%d", CRIER_DEFAULT_PORT);
    return colon >= end || port_parse(colon + 1, end, endpoint);
}

static int hosts_parse(const char *at, struct url *url)
{
    const char *end = at + strlen(at);

    if (end > at && end[-1] == '/')
        end--; /* "crier://host/" */
    for (const char *next; at <= end; at = next + 1) {
        next = memchr(at, ',', (size_t)(end - at));
        next = next ? next : end;
        if (url->endpoint_count == URL_ENDPOINTS_MAX ||
            !endpoint_parse(at, next, &url->endpoints[url->endpoint_count]))
            return CRIER_EINVAL;
        url->endpoint_count++;
    }
    return 0;
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
    if (strncmp(text, "local:", 6) == 0 || strncmp(text, "embed:", 6) == 0)
        return CRIER_ENOTSUP;
    return CRIER_EINVAL;
}
