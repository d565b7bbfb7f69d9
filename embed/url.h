/* url.h: "embed:FOLDER[?OPTION=VALUE&...]": which folder, and how the broker in it is to be.
 *
 * The options are crierd's, by their names in the configuration file (docs/configuration.md): durability=memory,
 * segment-size=64M, listen=unix:/run/app.sock, ... but for where the data and the log are, which are said otherwise. With
 * create=no a folder that is not there is an error. `%` and two hexadecimal digits stand for a byte (RFC 3986), so that
 * a folder's name may have a `?`. Without `listen` the broker has no socket. Pure; any thread. */
#ifndef CRIER_EMBED_URL_H
#define CRIER_EMBED_URL_H

#include "base/options.h"
#include "broker/config.h"

#include <limits.h>

struct embed_url {
    char folder[PATH_MAX];
    bool create;
    struct config config;                    /* data is not set: it would point into this struct */
    enum option_source sources[OPTIONS_MAX]; /* OPTION_ARGUMENT: the URL named this row of config_rows() */
};

/* text: with its scheme. 0, or CRIER_EINVAL with one sentence in error. */
int embed_url_parse(const char *text, struct embed_url *ret_url, char *error, size_t error_size);

#endif
