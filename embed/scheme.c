/* scheme.c: "embed:FOLDER": a bus to a broker in this process. What libcrier-embed has in the place of libcrier's
 * client/scheme_absent.c; everything else of libcrier is in it, too.
 *
 * Happy path:  crier_open → the URL → registry_join (the folder's broker runs) → bus_start with connections from there
 * Failures:    each is a code, and a sentence in options.error_text. */
#include "client/scheme.h"
#include "client/transport.h"
#include "embed/registry.h"

static int member_connect(void *ctx)
{
    return registry_connect(ctx);
}

static void member_release(void *ctx)
{
    registry_leave(ctx);
}

static int embed_open(const char *text, const struct crier_options *options, crier **ret_bus)
{
    struct embed_url url;
    struct member *member;
    char error[1024] = "";
    int rc = embed_url_parse(text, &url, error, sizeof(error));
    if (rc == 0)
        rc = registry_join(&url, options->log, options->ctx, &member, error, sizeof(error));
    if (rc < 0) {
        open_error(options, "%s", error);
        return rc;
    }
    struct bus_transport transport = {.connect = member_connect, .release = member_release, .ctx = member};
    return bus_start(NULL, &transport, options, ret_bus);
}

const struct bus_scheme bus_scheme_embed = {.prefix = "embed:", .open = embed_open};
