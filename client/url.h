/* url.h: where a bus goes: "crier://HOST:PORT[,HOST2:PORT2...]" or "unix:/PATH".
 *
 * IPv6 addresses stand in brackets. The port defaults to CRIER_DEFAULT_PORT. Pure; any thread. */
#ifndef CRIER_CLIENT_URL_H
#define CRIER_CLIENT_URL_H

#define URL_ENDPOINTS_MAX 16
#define URL_HOST_MAX      255

struct endpoint {
    char host[URL_HOST_MAX + 1]; /* name or address; of a UNIX socket: the path */
    char port[8];                /* digits; "" for a UNIX socket */
};

struct url {
    struct endpoint endpoints[URL_ENDPOINTS_MAX];
    unsigned endpoint_count;
};

/* 0, or CRIER_EINVAL: neither of the two, or a part of it is too long. */
int url_parse(const char *text, struct url *ret_url);

#endif
