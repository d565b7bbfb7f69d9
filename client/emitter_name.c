/* emitter_name.c: local:NAME: the buses of a process that open one name share one emitter.
 *
 * Role:     parts of a program that know nothing of each other but a URL meet on one bus, as they do on embed: and crier://: so a
 *           program of several services runs on any of the three by its URL alone.
 * Thread:   any. Owns: the list of names, which is the process's: nothing else is above those who meet; and
 *           each name's emitter, from the first join to the last leave (docs/decisions/0020).
 *
 * Happy path:  join: found, or made -> ... -> leave: the last one takes the name off the list and destroys the emitter
 * Failures:    no memory: CRIER_ENOMEM, and nothing has changed. */
#include "client/bus_internal.h"
#include "client/emitter.h"

#include <stdlib.h>
#include <string.h>

struct emitter_name {
    struct emitter_name *next;
    struct emitter *emitter;
    crier *bus;      /* the emitter's: nobody's handle, without a loop */
    unsigned shares; /* buses that are open */
    char text[];
};

static struct {
    pthread_mutex_t lock; /* taken before any emitter's, and held during no callback */
    struct emitter_name *names;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void name_destroy(struct emitter_name *name)
{
    emitter_destroy(name->emitter);
    if (name->bus)
        bus_free(name->bus);
    free(name);
}

static struct emitter_name *name_make(const char *text)
{
    const struct crier_options options = crier_options_default();
    size_t size = strlen(text) + 1;
    struct emitter_name *name = calloc(1, sizeof(*name) + size);

    if (!name)
        return NULL;
    memcpy(name->text, text, size);
    if (!(name->bus = bus_make(&options)) || emitter_create(name->bus, &name->emitter) < 0) {
        name_destroy(name);
        return NULL;
    }
    name->emitter->name = name;
    return name;
}

/* With the registry's lock. NULL: no memory. */
static struct emitter_name *name_get(const char *text)
{
    struct emitter_name *name = registry.names;

    while (name && strcmp(name->text, text) != 0)
        name = name->next;
    if (name || !(name = name_make(text)))
        return name;
    name->next = registry.names;
    registry.names = name;
    return name;
}

int emitter_name_join(const char *text, struct emitter **ret_emitter)
{
    struct emitter_name *name;

    pthread_mutex_lock(&registry.lock);
    if ((name = name_get(text))) {
        name->shares++;
        *ret_emitter = name->emitter;
    }
    pthread_mutex_unlock(&registry.lock);
    return name ? 0 : CRIER_ENOMEM;
}

void emitter_name_leave(struct emitter *emitter)
{
    struct emitter_name *name = emitter->name;
    struct emitter_name **at = &registry.names;
    bool last;

    pthread_mutex_lock(&registry.lock);
    if ((last = --name->shares == 0)) {
        while (*at != name)
            at = &(*at)->next;
        *at = name->next;
    }
    pthread_mutex_unlock(&registry.lock);
    if (last)
        name_destroy(name);
}
