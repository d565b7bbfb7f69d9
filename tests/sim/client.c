/* client.c: a client's process: what libcrier's own thread does around the engine, and an application that emits and
 * listens.
 *
 * A turn is loop.c's: receive, tick, handlers, collect, send, with the engine's wishes to connect and disconnect done
 * between its calls. The application records everything it does and hears in the history. */
#include "tests/sim/sim.h"

#include "base/check.h"
#include "proto/murmur2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_PER_TURN 8
#define CONNECT_US_MAX  3000
#define KEYS            8
#define PARTITION_ASKED_MAX                                                                                  \
    (SIM_PARTITIONS_MAX + 1) /* one more than a topic has: asking for what is not there is part of it */

/* ---- what the engine asks for ---- */

static void on_connect(void *ctx, unsigned endpoint)
{
    struct client *client = ctx;
    (void)endpoint;
    client->connect_wanted = true;
}

static void on_disconnect(void *ctx)
{
    struct client *client = ctx;
    client->disconnect_wanted = true;
    client->connect_wanted = false;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    struct client *client = ctx;
    (void)text;
    client->ready = connected;
    if (!connected)
        fleeting_lost(client);
    sim_trace(client->sim, connected ? TRACE_READY : TRACE_LOST, client->id, (uint64_t)-code, 0);
    for (struct subscriber *s = client->subscribers; s && !connected; s = s->next)
        for (uint32_t i = 0; s->listener && i < s->topics; i++)
            history_disconnected(&client->sim->history, s->index + i);
}

static void on_drain(void *ctx)
{
    struct client *client = ctx;
    sim_trace(client->sim, TRACE_DRAINED_OUT, client->id, 0, 0);
}

static void on_released(void *ctx, crier_listener *listener)
{
    (void)ctx, (void)listener; /* the subscriber has heard of it by its own callback */
}

static const struct engine_ops ops = {.connect = on_connect,
                                      .disconnect = on_disconnect,
                                      .connection = on_connection,
                                      .drain = on_drain,
                                      .released = on_released};

/* ---- the link ---- */

static void link_leave(struct client *client)
{
    struct sim *sim = client->sim;
    if (!client->link)
        return;
    sim_trace(sim, TRACE_LINK_FIN, client->link->number, link_pending(client->link, NET_UP), 0);
    link_end(client->link, NET_UP, sim->now_us, &sim->random);
    client->link->client_gone = true;
    client->link = NULL;
}

static void wishes_do(struct client *client)
{
    struct sim *sim = client->sim;
    if (client->disconnect_wanted) {
        client->disconnect_wanted = false;
        sim_trace(sim, TRACE_DISCONNECT, client->id, 0, 0);
        link_leave(client);
        client->wire = WIRE_IDLE;
    }
    if (client->connect_wanted) {
        client->connect_wanted = false;
        bool hangs = !sim->healing && sim_chance(sim, sim->plan.faults.hang);
        if (hangs)
            sim_trace(sim, TRACE_CONNECT_HANGS, client->id, 0, 0);
        client->wire = hangs ? WIRE_HANGING : WIRE_CONNECTING;
        client->connect_at_us = sim->now_us + (int64_t)sim_below(sim, CONNECT_US_MAX);
    }
}

static void lost(struct client *client, int code)
{
    link_leave(client);
    client->wire = WIRE_IDLE;
    engine_disconnected(client->engine, client->sim->now_us, code, "simulated");
    wishes_do(client);
}

static void connect_finish(struct client *client)
{
    struct sim *sim = client->sim;
    if (!node_accepts(sim)) {
        sim_trace(sim, TRACE_CONNECT_REFUSED, client->id, 0, 0);
        lost(client, CRIER_ECONNECT);
        return;
    }
    struct link *link = link_create(++sim->link_count, client->id, &sim->plan.quality);
    link->next = sim->links;
    sim->links = link;
    client->link = link;
    client->wire = WIRE_CONNECTED;
    sim_trace(sim, TRACE_CONNECT, client->id, link->number, 0);
    node_accept(sim, link);
    engine_connected(client->engine, sim->now_us);
    wishes_do(client);
}

static void receive(struct client *client)
{
    struct sim *sim = client->sim;
    for (int i = 0; i < PIECES_PER_TURN && client->wire == WIRE_CONNECTED; i++) {
        struct iovec space;
        int rc = engine_input(client->engine, &space);
        CHECK(rc == 0 || rc == CRIER_ENOMEM);
        if (rc < 0) /* later */
            return;
        world_link_call(sim, client->link);
        int64_t size =
            link_read(client->link, NET_DOWN, space.iov_base, space.iov_len, sim->now_us, &sim->random);
        if (size == 0)
            return;
        if (size < 0) {
            lost(client, CRIER_ECONNECT);
            return;
        }
        engine_received(client->engine, (size_t)size, sim->now_us);
        wishes_do(client);
    }
}

/* Writes one gathering of pieces. false: nothing more can be written now. */
static bool send_once(struct client *client)
{
    struct sim *sim = client->sim;
    struct iovec pieces[8];
    size_t count = engine_output(client->engine, pieces, 8, sim->now_us), sent = 0;
    wishes_do(client);
    if (client->wire != WIRE_CONNECTED || count == 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        world_link_call(sim, client->link);
        size_t taken = link_write(client->link, NET_UP, pieces[i].iov_base, pieces[i].iov_len, sim->now_us,
                                  &sim->random);
        sent += taken;
        if (taken < pieces[i].iov_len) {
            client->blocked = true;
            break;
        }
    }
    engine_output_consumed(client->engine, sent);
    return !client->blocked;
}

/* ---- emitting ---- */

static void on_outcome(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    struct sim *sim = client->sim;
    uint32_t index = (uint32_t)((uintptr_t)ctx - 1);
    uint32_t number = sim->history.emits[index].number;
    enum trace_event event = code == 0                ? TRACE_OUTCOME
                             : code == CRIER_EUNKNOWN ? TRACE_OUTCOME_UNKNOWN
                                                      : TRACE_OUTCOME_FAILED;
    sim_trace(sim, event, client->id, number, code ? (uint64_t)-code : offset);
    history_outcome(&sim->history, index, code, code == CRIER_EUNKNOWN, offset, sim->now_us);
    CHECK(client->pending > 0);
    client->pending--;
}

/* Sizes: mostly small, now and then as large as the plan allows. */
static uint32_t value_size(struct sim *sim)
{
    uint64_t most = sim_chance(sim, 100) ? sim->plan.value_max : sim->plan.value_max / 16 + 1;
    return VALUE_SIZE_MIN + (uint32_t)sim_below(sim, most);
}

static void emit_refused(struct client *client, int rc)
{
    enum trace_event event = rc == CRIER_EAGAIN ? TRACE_EMIT_AGAIN : TRACE_EMIT_REFUSED;
    CHECK(rc == CRIER_EAGAIN || rc == CRIER_ETOOBIG || rc == CRIER_EINVAL || rc == CRIER_ENOMEM);
    sim_trace(client->sim, event, client->id, client->number, (uint64_t)-rc);
}

void client_emit(struct client *client, uint32_t topic)
{
    struct sim *sim = client->sim;
    struct history_emit emit = {.client = client->id,
                                .number = client->number,
                                .topic = topic,
                                .partition = -1,
                                .size = value_size(sim)};
    struct crier_emit_options options = crier_emit_options_default();
    char name[16], key[16];
    if (sim_chance(sim, sim->plan.key_permille)) {
        options.key = key;
        options.key_size = (size_t)snprintf(key, sizeof(key), "key%u", (unsigned)sim_below(sim, KEYS));
        emit.keyed = true;
        emit.key_hash = murmur2(key, options.key_size);
    } else if (sim_chance(sim, sim->plan.partition_permille)) {
        options.partition = emit.partition = (int32_t)sim_below(sim, PARTITION_ASKED_MAX);
    }
    emit.memory = sim_chance(sim, sim->plan.memory_permille);
    options.durability = emit.memory ? CRIER_MEMORY : CRIER_DURABLE;
    if (emit.memory && sim->history.partitions[topic]) /* one that is made for it would be ephemeral */
        options.needs_listener = sim_chance(sim, 100);
    options.done = on_outcome;
    options.ctx = (void *)((uintptr_t)sim->history.emit_count + 1);
    snprintf(name, sizeof(name), "t%u", topic);
    uint8_t *value = malloc(emit.size);
    CHECK(value);
    value_make(value, client->id, client->number, emit.size);
    bool wake = false;
    int rc = engine_emit(client->engine, name, value, emit.size, &options, sim_wall_us(sim) / 1000, &wake);
    free(value);
    client->wake |= wake;
    if (rc < 0) {
        emit_refused(client, rc);
        client->number++;
        return;
    }
    sim_trace(sim, TRACE_EMIT, client->id, client->number, topic);
    if (emit.memory)
        sim_trace(sim, TRACE_EMIT_MEMORY, client->id, 0, 0);
    history_emit(&sim->history, &emit, sim->now_us);
    client->number++;
    client->pending++;
}

static void topic_answered(void *ctx, const struct engine_answer *answer)
{
    (void)ctx, (void)answer; /* created, or there already: the log says */
}

void client_create_topic(struct client *client, uint32_t topic, uint32_t partitions)
{
    char name[16];
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = partitions};
    snprintf(name, sizeof(name), "t%u", topic);
    sim_trace(client->sim, TRACE_TOPIC_CREATE, client->id, topic, partitions);
    int rc = engine_topic_create(client->engine, name, &options, topic_answered, client, client->sim->now_us);
    CHECK(rc == 0 || rc == CRIER_ENOMEM);
    client->wake = true;
}

void client_trim(struct client *client, uint32_t topic, uint64_t offset)
{
    char name[16];
    struct crier_topic_trim_options options = crier_topic_trim_options_default();
    options.offset = offset;
    snprintf(name, sizeof(name), "t%u", topic);
    sim_trace(client->sim, TRACE_TRIM, client->id, topic, offset);
    int rc = engine_topic_trim(client->engine, name, &options, topic_answered, client, client->sim->now_us);
    CHECK(rc == 0);
    client->wake = true;
}

/* ---- listening ---- */

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct subscriber *subscriber = ctx;
    struct client *client = subscriber->client;
    struct sim *sim = client->sim;
    CHECK((struct client *)(void *)bus == client);
    if (event->topic[0] != 't') /* a pattern matches others too */
        return 0;
    bool fails = !sim->healing && sim_chance(sim, subscriber->fails_permille);
    uint32_t topic = (uint32_t)strtoul(event->topic + 1, NULL, 10);
    CHECK(topic >= subscriber->topic && topic < subscriber->topic + subscriber->topics);
    sim_trace(sim, fails ? TRACE_HANDLER_FAILS : TRACE_DELIVERED, subscriber->index,
              fails ? event->offset : event->partition, event->offset);
    if (subscriber->transform && !fails) /* if it fails it has the event again */
        fails = transform_event(subscriber, event) < 0;
    history_delivered(&sim->history, subscriber->index + topic - subscriber->topic, event->partition,
                      event->offset, event->value, event->value_size,
                      fails && (subscriber->transform || !client->hears_errors));
    if (!sim->healing && sim_chance(sim, subscriber->emits_permille)) {
        sim_trace(sim, TRACE_HANDLER_EMITS, subscriber->index, 0, 0);
        client_emit(client, (uint32_t)sim_below(sim, sim->plan.topics));
    }
    return fails ? -1 : 0;
}

static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

static void on_listening(void *ctx)
{
    struct subscriber *subscriber = ctx;
    sim_trace(subscriber->client->sim, TRACE_LISTENING, subscriber->client->id, subscriber->index,
              ++subscriber->life);
    for (uint32_t i = 0; i < subscriber->topics; i++)
        history_listening(&subscriber->client->sim->history, subscriber->index + i);
}

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    struct subscriber *subscriber = ctx;
    sim_trace(subscriber->client->sim, given ? TRACE_GIVEN : TRACE_TAKEN, subscriber->index, partition, 0);
    history_assigned(&subscriber->client->sim->history, subscriber->index, partition, given);
}

static void on_listener_released(void *ctx, int code, const char *text)
{
    struct subscriber *subscriber = ctx;
    (void)text;
    sim_trace(subscriber->client->sim, TRACE_RELEASED, subscriber->client->id, subscriber->index,
              (uint64_t)-code);
    subscriber->listener = NULL;
}

/* The names in the history of a listener to one topic, or, to a pattern, of one to each. */
static uint32_t histories_make(struct history *history, const struct history_listener *how, uint32_t topics)
{
    struct history_listener each = *how;
    uint32_t first = history_listen(history, &each);
    while (each.topic + 1 < how->topic + topics) {
        each.topic++;
        history_listen(history, &each);
    }
    return first;
}

static void listen_to(struct client *client, const char *name, uint32_t topics,
                      const struct history_listener *how, size_t credit, unsigned fails_permille,
                      unsigned emits_permille, struct transform *transform)
{
    struct sim *sim = client->sim;
    struct crier_listen_options options = crier_listen_options_default();
    char group[16];
    struct subscriber *subscriber = calloc(1, sizeof(*subscriber));
    CHECK(subscriber);
    *subscriber = (struct subscriber){.next = client->subscribers,
                                      .client = client,
                                      .topic = how->topic,
                                      .topics = topics,
                                      .counted = how->count > 0,
                                      .fails_permille = fails_permille,
                                      .emits_permille = emits_permille,
                                      .transform = transform};
    client->subscribers = subscriber;
    snprintf(group, sizeof(group), "g%u", how->group);
    options.group = how->group == HISTORY_NONE ? NULL : group;
    options.from = (enum crier_from)how->from;
    options.from_value = how->from_value;
    options.count = how->count;
    options.credit = credit;
    options.released = on_listener_released;
    options.listening = on_listening;
    options.assigned = on_assigned;
    options.commits_atomically = transform != NULL;
    subscriber->index = histories_make(&sim->history, how, topics);
    sim_trace(sim, TRACE_LISTEN, client->id, subscriber->index, how->topic);
    int rc =
        engine_listener_create(client->engine, name, &options, on_event, subscriber, &subscriber->listener);
    CHECK(rc == 0 || rc == CRIER_ENOMEM);
    if (rc < 0) /* told at once: nobody listens */
        return;
    engine_listen(client->engine, subscriber->listener);
    client->wake = true;
}

void client_listen(struct client *client, const struct history_listener *how, size_t credit,
                   unsigned fails_permille, unsigned emits_permille)
{
    char name[16];
    snprintf(name, sizeof(name), "t%u", how->topic);
    listen_to(client, name, 1, how, credit, fails_permille, emits_permille, NULL);
}

void client_transform(struct client *client, const struct history_listener *how, size_t credit,
                      unsigned fails_permille, struct transform *transform)
{
    char name[16];
    snprintf(name, sizeof(name), "t%u", how->topic);
    listen_to(client, name, 1, how, credit, fails_permille, 0, transform);
}

void client_listen_all(struct client *client, const struct history_listener *how, size_t credit,
                       unsigned fails_permille)
{
    CHECK(how->topic == 0);
    listen_to(client, how->from == FROM_LIVE ? "*" : "**", client->sim->plan.topics, how, credit,
              fails_permille, 0, NULL);
}

void client_unlisten(struct subscriber *subscriber)
{
    struct client *client = subscriber->client;
    sim_trace(client->sim, TRACE_UNLISTEN, client->id, subscriber->index, 0);
    engine_listener_stop(subscriber->listener);
    subscriber->unlisten_wanted = true;
    client->wake = true;
}

static void unlistens_do(struct client *client)
{
    struct subscriber *next;
    for (struct subscriber *s = client->subscribers; s; s = next) {
        next = s->next;
        if (!s->unlisten_wanted || !s->listener)
            continue;
        s->unlisten_wanted = false;
        engine_unlisten(client->engine, s->listener);
    }
}

/* ---- turns ---- */

void client_turn(struct client *client)
{
    struct sim *sim = client->sim;
    int64_t now_us = sim->now_us;
    client->wake = client->blocked = false;
    if (client->wire == WIRE_HANGING && sim->healing) { /* the lost packet is sent again, and answered */
        client->wire = WIRE_CONNECTING;
        client->connect_at_us = now_us;
    }
    if (client->wire == WIRE_CONNECTING && now_us >= client->connect_at_us)
        connect_finish(client);
    if (client->wire == WIRE_CONNECTED)
        receive(client);
    unlistens_do(client);
    if (engine_due(client->engine) <= now_us)
        engine_tick(client->engine, now_us);
    wishes_do(client);
    engine_dispatch(client->engine, client->dispatch_max, now_us);
    wishes_do(client);
    engine_collect(client->engine, now_us);
    while (send_once(client))
        continue;
    (void)engine_error_take(client->engine);
    client->busy_until_us = now_us + (int64_t)sim_below(sim, (uint64_t)client->busy_us_max + 1);
}

int64_t client_due_us(const struct client *client)
{
    const struct sim *sim = client->sim;
    int64_t due_us = engine_due(client->engine);
    if (client->wake || engine_dispatch_pending(client->engine) ||
        (client->wire == WIRE_HANGING && sim->healing))
        due_us = sim->now_us;
    if (client->wire == WIRE_CONNECTING && client->connect_at_us < due_us)
        due_us = client->connect_at_us;
    if (client->wire == WIRE_CONNECTED) {
        int64_t readable_us = link_readable_at(client->link, NET_DOWN);
        due_us = readable_us < due_us ? readable_us : due_us;
        if (client->blocked && link_room(client->link, NET_UP))
            due_us = sim->now_us;
    }
    return due_us > client->busy_until_us ? due_us : client->busy_until_us;
}

/* ---- life ---- */

struct client *client_open(struct sim *sim, const struct crier_options *options, bool hears_errors)
{
    struct client *client = calloc(1, sizeof(*client));
    CHECK(client);
    struct engine_config config = {.bus = (crier *)(void *)client,
                                   .options = *options,
                                   .seed = random_next(&sim->random),
                                   .endpoint_count = 1};
    client->sim = sim;
    client->id = ++sim->client_last;
    if (sim->node.config.client_quota_count && client->id % 2) /* half of them share it */
        config.options.name = SIM_CLIENT_NAME;
    client->source = HISTORY_NONE;
    memcpy(config.instance, &client->id, sizeof(client->id));
    client->engine = engine_create(&config, &ops, client);
    CHECK(client->engine);
    client->dispatch_max = 1 + (size_t)sim_below(sim, 64);
    client->busy_us_max = 200;
    client->hears_errors = hears_errors;
    sim_trace(sim, TRACE_CLIENT_OPEN, client->id, 0, 0);
    if (hears_errors) {
        crier_listener *listener;
        int rc = engine_listener_create(client->engine, "error", NULL, on_error, client, &listener);
        CHECK(rc == 0);
        engine_listen(client->engine, listener);
    }
    engine_start(client->engine, sim->now_us);
    wishes_do(client);
    return client;
}

bool client_settled(const struct client *client)
{
    return engine_is_settled(client->engine) && client->pending == 0;
}

void client_close(struct client *client)
{
    sim_trace(client->sim, TRACE_CLIENT_CLOSE, client->id, 0, 0);
    client->closing = true;
    engine_emit_close(client->engine);
    engine_close(client->engine, client->sim->now_us);
    wishes_do(client);
    client->wake = true;
}

void client_vanish(struct client *client)
{
    sim_trace(client->sim, TRACE_CLIENT_VANISH, client->id, 0, 0);
    if (client->link && sim_chance(client->sim, 500))
        link_reset(client->link);
}

void client_free(struct client *client)
{
    struct sim *sim = client->sim;
    if (client->closing) { /* what has no outcome by now gets one */
        engine_drop(client->engine, CRIER_ECLOSED);
        engine_collect(client->engine, sim->now_us);
        client->disconnect_wanted = client->connect_wanted = false;
    }
    link_leave(client);
    engine_destroy(client->engine);
    while (client->subscribers) {
        struct subscriber *subscriber = client->subscribers;
        client->subscribers = subscriber->next;
        free(subscriber->transform);
        free(subscriber);
    }
    free(client);
}
