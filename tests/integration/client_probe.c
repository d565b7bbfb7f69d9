/* client_probe.c: what handlers and callbacks saw. See client_probe.h. */
#include "tests/integration/client_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void probe_init(struct probe *probe)
{
    pthread_condattr_t attributes;

    *probe = (struct probe){0};
    pthread_mutex_init(&probe->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&probe->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void probe_finish(struct probe *probe)
{
    for (size_t i = 0; i < probe->event_count; i++)
        free(probe->events[i].value);
    free(probe->events);
    pthread_cond_destroy(&probe->changed);
    pthread_mutex_destroy(&probe->lock);
}

static void note(struct probe *probe, size_t *counter)
{
    pthread_mutex_lock(&probe->lock);
    (*counter)++;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

int probe_handler(crier *bus, const crier_event *event, void *ctx)
{
    struct probe *probe = ctx;
    struct probe_event *kept;

    (void)bus;
    pthread_mutex_lock(&probe->lock);
    if (probe->event_count == probe->event_capacity) {
        probe->event_capacity = probe->event_capacity ? 2 * probe->event_capacity : 64;
        probe->events = realloc(probe->events, probe->event_capacity * sizeof(*probe->events));
    }
    kept = &probe->events[probe->event_count++];
    *kept = (struct probe_event){.value = malloc(event->value_size + 1),
                                 .value_size = event->value_size,
                                 .partition = event->partition,
                                 .offset = event->offset,
                                 .error = event->error};
    if (event->value_size > 0)
        memcpy(kept->value, event->value, event->value_size);
    kept->value[event->value_size] = '\0';
    snprintf(kept->key, sizeof(kept->key), "%.*s", (int)event->key_size,
             event->key ? (const char *)event->key : "");
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
    return 0;
}

void probe_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct probe *probe = ctx;

    (void)bus;
    pthread_mutex_lock(&probe->lock);
    probe->last_code = code;
    probe->last_offset = offset;
    probe->done_failed += code != 0;
    probe->done_count++;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

void probe_drain(crier *bus, void *ctx)
{
    struct probe *probe = ctx;

    (void)bus;
    note(probe, &probe->drains);
}

void probe_connection(crier *bus, bool connected, const char *text, void *ctx)
{
    struct probe *probe = ctx;

    (void)bus;
    (void)text;
    note(probe, connected ? &probe->connections : &probe->disconnections);
}

void probe_listening(void *ctx)
{
    struct probe *probe = ctx;

    note(probe, &probe->listening);
}

void probe_released(void *ctx, int code, const char *text)
{
    struct probe *probe = ctx;

    (void)text;
    pthread_mutex_lock(&probe->lock);
    probe->released_code = code;
    probe->released++;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

bool probe_wait(struct probe *probe, const size_t *counter, size_t wanted)
{
    struct timespec deadline;
    bool reached;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += PROBE_WAIT_MS / 1000;
    pthread_mutex_lock(&probe->lock);
    while (*counter < wanted && pthread_cond_timedwait(&probe->changed, &probe->lock, &deadline) == 0)
        continue;
    reached = *counter >= wanted;
    pthread_mutex_unlock(&probe->lock);
    return reached;
}

size_t probe_count(struct probe *probe, const size_t *counter)
{
    size_t count;

    pthread_mutex_lock(&probe->lock);
    count = *counter;
    pthread_mutex_unlock(&probe->lock);
    return count;
}

bool probe_listen(struct probe *probe, crier *bus, const char *topic,
                  const struct crier_listen_options *options, crier_listener **ret_listener)
{
    struct crier_listen_options copy = options ? *options : crier_listen_options_default();
    size_t before = probe_count(probe, &probe->listening);

    copy.listening = probe_listening;
    copy.released = probe_released;
    return crier_listen(bus, topic, &copy, probe_handler, probe, ret_listener) == 0 &&
           probe_wait(probe, &probe->listening, before + 1);
}
