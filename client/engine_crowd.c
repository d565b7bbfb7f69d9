/* engine_crowd.c: a topic has more listeners, of all buses, than its max_listeners: the broker says so to the one too many.
 *
 * Thread:   the I/O thread, from listen_listening(). Owns nothing.
 * Happy path: LISTENING with a count -> an event on CRIER_WARNING, with who they are, as many as fit the text
 * Failures: nobody hears CRIER_WARNING: nothing happens, as with the bus's own. */
#include "client/engine_internal.h"

#include <stdio.h>
#include <string.h>

void listen_crowded(struct engine *engine, const struct crier_listener *listener,
                    const Wire__Listening *listening)
{
    crier_listener_info info = engine_listener_info(listener);
    char text[1024];
    size_t used = (size_t)snprintf(text, sizeof(text),
                                   "%u listeners of %.*s on all buses, more than its max_listeners: a leak?",
                                   listening->listeners, CRIER_TOPIC_NAME_MAX, listener->topic);

    for (size_t i = 0; i < listening->n_who && used < sizeof(text) - 1; i++) {
        const char *name = listening->who[i]->client;
        int length = snprintf(text + used, sizeof(text) - used, "%s %s (%s)", i ? "," : "",
                              name[0] ? name : "unnamed", listening->who[i]->address);
        if (length < 0 || used + (size_t)length >= sizeof(text)) {
            text[used] = '\0'; /* whole names only */
            break;
        }
        used += (size_t)length;
    }
    info.listener_count = listening->listeners;
    engine_tell(
        engine,
        &(crier_event){.topic = CRIER_WARNING, .value = text, .value_size = strlen(text), .listener = &info});
}
