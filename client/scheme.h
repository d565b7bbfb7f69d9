/* scheme.h: the kinds of bus there are, by the scheme of their URL: one row each in scheme.c.
 *
 * A kind that a library does not have is a row all the same, whose open() says so. Which one is linked decides: libcrier
 * has scheme_absent.c where libcrier-embed has the broker behind embed/.
 *
 * Thread: that of crier_open(). */
#ifndef CRIER_CLIENT_SCHEME_H
#define CRIER_CLIENT_SCHEME_H

#include "crier/crier.h"

struct bus_scheme {
    const char *prefix; /* "crier://" */
    /* Opens a bus, as crier_open() promises. url: whole, borrowed. options: borrowed; every field is there and in its
     * range. On failure it may have said more with open_error(). */
    int (*open)(const char *url, const struct crier_options *options, crier **ret_bus);
};

extern const struct bus_scheme bus_scheme_crier; /* bus.c */
extern const struct bus_scheme bus_scheme_unix;  /* bus.c */
extern const struct bus_scheme bus_scheme_local; /* emitter_bus.c */
extern const struct bus_scheme bus_scheme_embed; /* scheme_absent.c, or embed/ */

/* The row whose prefix the URL has; NULL: none. */
const struct bus_scheme *bus_scheme_find(const char *url);

/* One sentence for options.error_text. */
void open_error(const struct crier_options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
