/* watching.c: clients that are told who listens, in a simulated run ("$presence.", docs/protocol.md).
 *
 * They watch the topics of the history, one or all of them, and end rather than lose something. What is checked:
 *
 *   I8   within a listener's life it is told first who is there, then each one that comes or goes: the count goes up or down
 *        by one, and is never another
 *   I13  when all has settled, everybody who watches knows the number that a description of the topic tells */
#include "tests/sim/sim.h"

#include "crier/presence.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAL_US INT64_C(10000000)
#define STEP_US INT64_C(500000)

struct watcher {
    struct watcher *next;
    struct sim *sim;
    struct client *client;
    crier_listener *listener;
    uint32_t topic;      /* HISTORY_NONE: all */
    bool begun;          /* in this life */
    uint32_t there_left; /* of those that are there, not told yet */
    uint32_t counts[HISTORY_TOPICS_MAX];
};

struct watching {
    struct watcher *watchers;
    uint32_t described[HISTORY_TOPICS_MAX]; /* what the broker says at the end */
    unsigned asked;                         /* and has not said yet */
    bool failed;                            /* and could not: a client that ended */
};

static struct watching *watching_get(struct sim *sim)
{
    if (!sim->watching)
        sim->watching = calloc(1, sizeof(*sim->watching));
    CHECK(sim->watching);
    return sim->watching;
}

/* ---- what is told ---- */

static void begin(struct watcher *watcher, const struct crier_presence *presence)
{
    watcher->begun = true;
    watcher->there_left = presence->told;
    for (size_t i = 0; i < HISTORY_TOPICS_MAX; i++)
        watcher->counts[i] = 0;
    if (presence->told != presence->listener_count)
        report_add(&watcher->sim->report, 8, "%u of %u listeners are told of", presence->told,
                   presence->listener_count);
    if (watcher->topic != HISTORY_NONE)
        watcher->counts[watcher->topic] = presence->listener_count;
}

static void one(struct watcher *watcher, const struct crier_presence *presence, uint32_t topic)
{
    uint32_t *count = &watcher->counts[topic], now = presence->listener_count;
    bool first = presence->what == CRIER_PRESENCE_THERE && *count == 0;
    uint32_t wanted = presence->what == CRIER_PRESENCE_JOINED ? *count + 1
                      : presence->what == CRIER_PRESENCE_LEFT ? *count - 1
                      : first                                 ? now
                                                              : *count;
    if (now != wanted)
        report_add(&watcher->sim->report, 8, "t%u has %u listeners, and then %u (%d)", topic, *count, now,
                   (int)presence->what);
    *count = now;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct watcher *watcher = ctx;
    struct crier_presence presence;
    unsigned topic = 0;
    (void)bus;
    sim_trace(watcher->sim, TRACE_DELIVERED, watcher->client->id, watcher->topic, event->offset);
    if (crier_presence_read(event, &presence) < 0) {
        report_add(&watcher->sim->report, 2, "what is told of listeners cannot be read");
        return 0;
    }
    if (presence.what == CRIER_PRESENCE_BEGINS) {
        begin(watcher, &presence);
        return 0;
    }
    bool there = presence.what == CRIER_PRESENCE_THERE;
    if (!watcher->begun || there != (watcher->there_left > 0))
        report_add(&watcher->sim->report, 8, "who is there is not told first, or not all of it");
    watcher->there_left -= there && watcher->there_left > 0;
    if (sscanf(presence.topic, "t%u", &topic) == 1 && topic < HISTORY_TOPICS_MAX)
        one(watcher, &presence, topic);
    return 0;
}

static void on_listening(void *ctx)
{
    struct watcher *watcher = ctx;
    watcher->begun = false;
    watcher->there_left = 0;
    sim_trace(watcher->sim, TRACE_LISTENING, watcher->client->id, watcher->topic, 0);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct watcher *gone = ctx, **at = &gone->sim->watching->watchers;
    (void)text;
    sim_trace(gone->sim, TRACE_RELEASED, gone->client->id, gone->topic, (uint64_t)-code);
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    free(gone);
}

void watching_act(struct sim *sim, struct client *client)
{
    struct watching *watching = watching_get(sim);
    struct crier_listen_options options = crier_listen_options_default();
    struct watcher *watcher = calloc(1, sizeof(*watcher));
    char name[32] = CRIER_PRESENCE "**";
    CHECK(watcher);
    options.slow = CRIER_DISCONNECT;
    options.credit = (size_t)PICK(sim, 0, 1, 1000);
    options.listening = on_listening;
    options.released = on_released;
    *watcher = (struct watcher){.sim = sim, .client = client, .topic = HISTORY_NONE};
    if (sim_chance(sim, 700)) {
        watcher->topic = (uint32_t)sim_below(sim, sim->plan.topics);
        snprintf(name, sizeof(name), CRIER_PRESENCE "t%u", watcher->topic);
    }
    if (engine_listener_create(client->engine, name, &options, on_event, watcher, &watcher->listener) < 0) {
        free(watcher);
        return;
    }
    watcher->next = watching->watchers;
    watching->watchers = watcher;
    sim_trace(sim, TRACE_LISTEN, client->id, watcher->topic, 0);
    engine_listen(client->engine, watcher->listener);
    client->wake = true;
}

/* ---- the end ---- */

struct question {
    struct watching *watching;
    uint32_t topic;
};

static void on_described(void *ctx, const struct engine_answer *answer)
{
    struct question *question = ctx;
    question->watching->asked--;
    question->watching->failed |= answer->code < 0 && answer->code != CRIER_ENOTOPIC;
    question->watching->described[question->topic] =
        answer->topic_count ? answer->topics[0].listener_count : 0;
    free(question);
}

static bool unanswered(struct sim *sim)
{
    return sim->watching->asked > 0;
}

/* Asks how many listen to each topic; false: no answer, this time. */
static bool describe_all(struct sim *sim, struct client *client)
{
    struct watching *watching = sim->watching;
    watching->failed = false;
    for (uint32_t topic = 0; topic < sim->plan.topics; topic++) {
        struct question *question = malloc(sizeof(*question));
        char name[16];
        CHECK(question);
        *question = (struct question){watching, topic};
        snprintf(name, sizeof(name), "t%u", topic);
        watching->asked++;
        if (engine_topic_describe(client->engine, name, on_described, question, sim->now_us) < 0) {
            watching->asked--;
            watching->failed = true;
            free(question);
        }
    }
    client->wake = true;
    return !scheduler_run_while(sim, unanswered, HEAL_US) ? false : !watching->failed;
}

static bool knows(const struct sim *sim, const struct watcher *watcher)
{
    bool right = watcher->begun && watcher->there_left == 0;
    for (uint32_t topic = 0; topic < sim->plan.topics; topic++)
        if (watcher->topic == topic || watcher->topic == HISTORY_NONE)
            right &= watcher->counts[topic] == sim->watching->described[topic];
    return right || watcher->client->closing;
}

void watching_probe(struct sim *sim)
{
    struct client *client = sim->watching && sim->watching->watchers ? world_client_any(sim) : NULL;
    if (!client)
        return;
    for (int64_t waited_us = 0; waited_us < HEAL_US; waited_us += STEP_US) {
        bool known = describe_all(sim, client);
        for (const struct watcher *watcher = sim->watching->watchers; watcher; watcher = watcher->next)
            known = known && knows(sim, watcher);
        if (known)
            return;
        scheduler_run_until(sim, sim->now_us + STEP_US);
    }
    report_add(&sim->report, 13, "who watches does not know how many listen %lld ms after everything healed",
               (long long)HEAL_US / 1000);
}

void watching_finish(struct sim *sim)
{
    if (!sim->watching)
        return;
    CHECK(!sim->watching->watchers); /* released with their clients */
    free(sim->watching);
}
