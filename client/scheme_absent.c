/* scheme_absent.c: kinds of bus that are not in this library. libcrier has no broker in it; libcrier-embed, which has, is
 * linked without this file. */
#include "client/scheme.h"

static int embed_open(const char *url, const struct crier_options *options, crier **ret_bus)
{
    (void)url;
    (void)ret_bus;
    open_error(
        options,
        "embed: needs the library crier-embed, which has a broker in it: link it in the place of crier");
    return CRIER_ENOTSUP;
}

const struct bus_scheme bus_scheme_embed = {.prefix = "embed:", .open = embed_open};
