/* sharing.c: members of shared groups, in a simulated run. They speak the protocol themselves, frame by frame, as a client of
 * another make would: take what is delivered, acknowledge it, fail it, ask for more time, forget it, go away in the middle and
 * come back with what they had. What they may expect is judged in ledger.c, at the broker's end; here, that what arrives is what
 * was emitted.
 *
 * A member's way: connect → HELLO → (once) TOPIC_CREATE → LISTEN → DELIVER → ACK, NACK, EXTEND → … → UNLISTEN, or the end of its
 * connection. When all has healed everybody acknowledges what it gets at once, and within SHARING_HEAL_US everything is done. */
#include "tests/sim/sim.h"

#include "base/check.h"
#include "proto/batch.h"
#include "tests/sim/ledger.h"
#include "tests/sim/sharing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARING_HEAL_US  INT64_C(120000000)
#define MEMBERS_MAX      6
#define INPUT_SIZE       (256u << 10)
#define FRAME_MAX        (16u << 20)
#define VALUE_MAX        600
#define UNCOMPRESSED_MAX (16u << 20)

struct sharing {
    struct sharer *sharers;
    uint32_t count, last;
    uint64_t events; /* so many were emitted */
    bool ends;
};

static struct sharing *sharing_get(struct sim *sim)
{
    if (!sim->sharing)
        sim->sharing = calloc(1, sizeof(*sim->sharing));
    CHECK(sim->sharing);
    return sim->sharing;
}

/* ---- emitting: what any client does ---- */

static void on_outcome(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    (void)ctx, (void)offset;
    sim_trace(client->sim, code == 0 ? TRACE_OUTCOME : TRACE_OUTCOME_FAILED, client->id, (uint64_t)-code, 0);
    client->pending--;
}

static void emit_to(struct client *client, uint32_t topic)
{
    struct sim *sim = client->sim;
    struct sharing *sharing = sharing_get(sim);
    struct crier_emit_options options = crier_emit_options_default();
    uint8_t value[VALUE_MAX];
    char name[8], key[8], text[24];
    bool wake = false;
    uint32_t key_number = sim_chance(sim, 700) ? 1 + (uint32_t)sim_below(sim, LEDGER_KEYS) : 0;
    uint32_t size = LEDGER_VALUE_MIN + (uint32_t)sim_below(sim, VALUE_MAX - LEDGER_VALUE_MIN);
    ledger_value_make(value, sharing->events, key_number, size);
    crier_header header = {.name = "n", .name_size = 1, .value = text};
    header.value_size = (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)sharing->events);
    options.headers = &header;
    options.header_count = 1;
    options.durability = CRIER_DURABLE;
    options.done = on_outcome;
    if (key_number) {
        options.key = key;
        options.key_size = (size_t)snprintf(key, sizeof(key), "k%u", key_number);
    }
    snprintf(name, sizeof(name), "q%u", topic);
    if (engine_emit(client->engine, name, value, size, &options, sim_wall_us(sim) / 1000, &wake) < 0)
        return; /* no room, or no memory: not emitted */
    sim_trace(sim, TRACE_SHARED_EMIT, client->id, topic, sharing->events);
    sharing->events++;
    client->pending++;
    client->wake |= wake;
}

/* ---- frames in ---- */

static struct batch_held *held_of(struct sharer *sharer, uint64_t partition)
{
    for (size_t i = 0; i < sharer->held_count; i++)
        if (sharer->held[i].partition == partition)
            return &sharer->held[i];
    struct batch_held *held = &sharer->held[sharer->held_count++];
    CHECK(sharer->held_count <= ARRAY_SIZE(sharer->held));
    held->partition = partition;
    return held;
}

/* Is the event in one of these batches, and is it what the log has there? */
static bool found_in(struct sharer *sharer, const uint8_t *bytes, size_t size, uint64_t partition,
                     uint64_t offset)
{
    const struct ledger_partition *log = &sharer->sim->ledger.partitions[partition];
    bool found = false;
    for (size_t at = 0; at < size && !found;) {
        struct batch_iterator iterator;
        struct batch_record record;
        struct batch_header header;
        uint32_t key;
        if (batch_header_decode(bytes + at, size - at, &header) <= 0 ||
            batch_iterator_init(&iterator, bytes + at, header.size, UNCOMPRESSED_MAX) < 0)
            return false;
        while (!found && batch_iterator_next(&iterator, &record) == 1)
            found =
                (uint64_t)record.offset == offset && offset < log->count &&
                ledger_value_read(record.value.data, record.value.size, &key) == log->events[offset].number;
        batch_iterator_finish(&iterator);
        at += header.size;
    }
    return found;
}

static void take(struct sharer *sharer, uint64_t partition, uint64_t offset, uint32_t attempt)
{
    struct sim *sim = sharer->sim;
    if (sharer->hand_count == sharer->hand_capacity) {
        sharer->hand_capacity = 2 * sharer->hand_capacity + 8;
        sharer->hands = realloc(sharer->hands, sharer->hand_capacity * sizeof(*sharer->hands));
        CHECK(sharer->hands);
    }
    int64_t us = sim->healing ? 100 : (int64_t)PICK(sim, 10, 1000, 20000, 400000);
    sharer->hands[sharer->hand_count++] =
        (struct hand){partition, offset, attempt, sim->now_us + (int64_t)sim_below(sim, (uint64_t)us + 1)};
}

static void delivered(struct sharer *sharer, const Wire__Deliver *message, const struct frame *frame)
{
    struct sim *sim = sharer->sim;
    struct batch_held *held = held_of(sharer, message->partition);
    const uint8_t *bytes = message->held ? held->bytes : frame->attachment;
    size_t size = message->held ? held->size : frame->attachment_size;
    for (size_t i = 0; i < message->n_ranges; i++)
        for (uint32_t k = 0; k < message->ranges[i]->count; k++) {
            uint64_t offset = message->base_offset + message->ranges[i]->delta + k;
            if (!found_in(sharer, bytes, size, message->partition, offset))
                report_add(&sim->report, 2,
                           "group h%u: partition %llu offset %llu is delivered without its bytes",
                           sharer->group, (unsigned long long)message->partition, (unsigned long long)offset);
            take(sharer, message->partition, offset, message->ranges[i]->attempt);
        }
    sharer->received += frame->attachment_size;
    size_t last = 0;
    struct batch_header header;
    for (size_t at = 0; at < frame->attachment_size; at += header.size) {
        int64_t rc = batch_header_decode(frame->attachment + at, frame->attachment_size - at, &header);
        CHECK(rc > 0);
        last = at;
    }
    if (frame->attachment_size == 0)
        return;
    free(held->bytes);
    held->size = frame->attachment_size - last;
    held->bytes = malloc(held->size);
    CHECK(held->bytes);
    memcpy(held->bytes, frame->attachment + last, held->size);
}

static void held_forget(struct sharer *sharer)
{
    for (size_t i = 0; i < sharer->held_count; i++)
        free(sharer->held[i].bytes);
    memset(sharer->held, 0, sizeof(sharer->held));
    sharer->held_count = 0;
}

static void lost(struct sharer *sharer)
{
    struct sim *sim = sharer->sim;
    if (sharer->link) {
        link_end(sharer->link, NET_UP, sim->now_us, &sim->random);
        sharer->link->client_gone = true;
    }
    sharer->link = NULL;
    sharer->welcome = sharer->in_place = false;
    sharer->input_size = sharer->output_size = 0;
    held_forget(sharer);
    sharer->remembers = sim_chance(sim, 600);
    sharer->connect_at_us = sim->now_us + 1000 + (int64_t)sim_below(sim, sim->healing ? 20000 : 300000);
}

static void welcome(struct sharer *sharer, const Wire__Welcome *message)
{
    int64_t session_us = sharer->session_ms * 1000 / 3;
    sharer->welcome = true;
    sharer->ping_us = (int64_t)message->ping_interval_ms * 1000;
    if (session_us < sharer->ping_us)
        sharer->ping_us = session_us;
    sharer->ping_at_us = sharer->sim->now_us + sharer->ping_us;
    if (message->grant)
        sharer_credit_return(sharer, message->grant); /* it emits nothing: others need that */
    sharer_topic(sharer, sim_chance(sharer->sim, 700));
    sharer_listen(sharer);
}

static void hand_drop(struct sharer *sharer, size_t index)
{
    sharer->hands[index] = sharer->hands[--sharer->hand_count];
}

static void frame_take(struct sharer *sharer, const struct frame *frame)
{
    struct sim *sim = sharer->sim;
    void *message = NULL;
    if (frame->kind == FRAME_WELCOME) {
        message =
            protobuf_c_message_unpack(&wire__welcome__descriptor, NULL, frame->header_size, frame->header);
        welcome(sharer, message);
    } else if (frame->kind == FRAME_LISTENING) {
        sharer->in_place = true;
        sim_trace(sim, TRACE_SHARED_LISTENING, sharer->id, sharer->group, sharer->topic);
    } else if (frame->kind == FRAME_DELIVER) {
        message =
            protobuf_c_message_unpack(&wire__deliver__descriptor, NULL, frame->header_size, frame->header);
        delivered(sharer, message, frame);
    } else if (frame->kind == FRAME_ENDED) {
        sharer->in_place = false;
        sharer->hand_count = 0;
        held_forget(sharer);
        sharer->answered_us = sim->now_us + (int64_t)sim_below(sim, 50000); /* then it listens again */
    } else if (frame->kind == FRAME_ERROR || frame->kind == FRAME_GOAWAY) {
        sim_trace(sim, TRACE_SHARED_ASK, sharer->id, frame->kind, 0);
    }
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static void receive(struct sharer *sharer)
{
    struct sim *sim = sharer->sim;
    for (int i = 0; i < 8 && sharer->link; i++) {
        if (sharer->input_capacity - sharer->input_size < INPUT_SIZE) {
            sharer->input_capacity = 2 * sharer->input_capacity + INPUT_SIZE;
            sharer->input = realloc(sharer->input, sharer->input_capacity);
            CHECK(sharer->input);
        }
        world_link_call(sim, sharer->link);
        int64_t size = link_read(sharer->link, NET_DOWN, sharer->input + sharer->input_size, INPUT_SIZE,
                                 sim->now_us, &sim->random);
        if (size < 0)
            lost(sharer);
        if (size <= 0)
            return;
        sharer->input_size += (size_t)size;
        size_t used = 0;
        struct frame frame;
        int64_t whole;
        while ((whole = frame_decode(sharer->input + used, sharer->input_size - used, FRAME_MAX, &frame)) >
               0) {
            frame_take(sharer, &frame);
            used += (size_t)whole;
        }
        CHECK(whole == 0);
        memmove(sharer->input, sharer->input + used, sharer->input_size - used);
        sharer->input_size -= used;
    }
}

/* ---- what a member does ---- */

/* With what it has had for long enough: all that is due now has the same end. */
static void hands_act(struct sharer *sharer)
{
    struct sim *sim = sharer->sim;
    struct hand due[LEASES_A_FRAME];
    size_t count = 0;
    uint64_t what = sim->healing ? 0 : sim_below(sim, 100);
    for (size_t i = 0; i < sharer->hand_count && count < LEASES_A_FRAME;) {
        if (sharer->hands[i].act_at_us > sim->now_us) {
            i++;
            continue;
        }
        due[count++] = sharer->hands[i];
        if (what >= 75 && what < 90) /* it goes on with them */
            sharer->hands[i++].act_at_us = sim->now_us + 1 + (int64_t)sim_below(sim, 100000);
        else
            hand_drop(sharer, i);
    }
    if (count == 0)
        return;
    if (what < 50)
        sharer_settle(sharer, FRAME_ACK, due, count);
    else if (what < 75)
        sharer_settle(sharer, FRAME_NACK, due, count);
    else if (what < 90)
        sharer_settle(sharer, FRAME_EXTEND, due, count);
    if (what >= 97) { /* of two minds: both come, the second too late */
        sharer_settle(sharer, FRAME_NACK, due, count);
        sharer_settle(sharer, FRAME_ACK, due, count);
    } /* else: it forgets them, and their leases run out */
}

static void credit_give(struct sharer *sharer)
{
    if (!sharer->in_place || sharer->received + sharer->window <= sharer->credit)
        return;
    Wire__Credit message = WIRE__CREDIT__INIT;
    sharer->credit = message.total = sharer->received + sharer->window;
    message.listener = LISTENER;
    sharer_send(sharer, FRAME_CREDIT, &message.base);
}

static void ping(struct sharer *sharer)
{
    if (sharer->sim->now_us < sharer->ping_at_us)
        return;
    Wire__Ping message = WIRE__PING__INIT;
    message.nonce = sharer->request;
    sharer_send(sharer, FRAME_PING, &message.base);
    sharer->ping_at_us = sharer->sim->now_us + sharer->ping_us;
}

static void send_all(struct sharer *sharer)
{
    struct sim *sim = sharer->sim;
    while (sharer->link && sharer->output_size) {
        world_link_call(sim, sharer->link);
        size_t taken =
            link_write(sharer->link, NET_UP, sharer->output, sharer->output_size, sim->now_us, &sim->random);
        if (taken == 0)
            return;
        memmove(sharer->output, sharer->output + taken, sharer->output_size - taken);
        sharer->output_size -= taken;
    }
}

static void connect_now(struct sharer *sharer)
{
    struct sim *sim = sharer->sim;
    if (!node_accepts(sim)) {
        lost(sharer);
        return;
    }
    sharer->link = link_create(++sim->link_count, 1000 + sharer->id, &sim->plan.quality);
    sharer->link->next = sim->links;
    sim->links = sharer->link;
    sharer->answered_us = INT64_MAX;
    sim_trace(sim, TRACE_CONNECT, 1000 + sharer->id, sharer->link->number, 0);
    node_accept(sim, sharer->link);
    sharer_hello(sharer);
}

static void sharer_turn(struct sharer *sharer)
{
    struct sim *sim = sharer->sim;
    if (!sharer->link && sim->now_us >= sharer->connect_at_us)
        connect_now(sharer);
    if (sharer->link)
        receive(sharer);
    if (!sharer->link)
        return;
    if (sharer->welcome && !sharer->in_place && sim->now_us >= sharer->answered_us) {
        sharer->answered_us = INT64_MAX;
        sharer->remembers = false;
        sharer_listen(sharer);
    }
    if (sharer->in_place)
        hands_act(sharer);
    credit_give(sharer);
    if (sharer->welcome)
        ping(sharer);
    send_all(sharer);
}

static int64_t sharer_due_us(const struct sharer *sharer)
{
    if (!sharer->link)
        return sharer->connect_at_us;
    int64_t due_us = link_readable_at(sharer->link, NET_DOWN);
    for (size_t i = 0; i < sharer->hand_count && sharer->in_place; i++)
        due_us = sharer->hands[i].act_at_us < due_us ? sharer->hands[i].act_at_us : due_us;
    if (sharer->welcome && sharer->ping_at_us < due_us)
        due_us = sharer->ping_at_us;
    if (sharer->welcome && !sharer->in_place && sharer->answered_us < due_us)
        due_us = sharer->answered_us;
    if (sharer->output_size && link_room(sharer->link, NET_UP))
        due_us = sharer->sim->now_us;
    return due_us;
}

int64_t sharing_due_us(const struct sim *sim)
{
    int64_t due_us = INT64_MAX;
    for (const struct sharer *sharer = sim->sharing ? sim->sharing->sharers : NULL; sharer;
         sharer = sharer->next) {
        int64_t sharer_us = sharer_due_us(sharer);
        due_us = sharer_us < due_us ? sharer_us : due_us;
    }
    return due_us;
}

void sharing_turn(struct sim *sim)
{
    struct sharer *chosen = NULL;
    uint64_t due = 0;
    for (struct sharer *sharer = sim->sharing->sharers; sharer; sharer = sharer->next)
        if (sharer_due_us(sharer) <= sim->now_us && sim_below(sim, ++due) == 0)
            chosen = sharer;
    if (chosen)
        sharer_turn(chosen);
}

/* ---- the run ---- */

static void sharer_add(struct sim *sim, uint32_t topic, uint32_t group)
{
    struct sharing *sharing = sharing_get(sim);
    struct sharer *sharer = calloc(1, sizeof(*sharer));
    CHECK(sharer);
    *sharer = (struct sharer){.next = sharing->sharers, .sim = sim, .topic = topic, .group = group};
    sharer->id = ++sharing->last;
    sharer->window = (uint32_t)PICK(sim, 1, 2000, 50000);
    sharer->in_flight_max = (uint32_t)PICK(sim, 1, 3, 20, 0);
    sharer->lease_ms = (int64_t)PICK(sim, 5, 50, 500, 3000);
    sharer->session_ms = (int64_t)PICK(sim, 300, 2000);
    sharer->from = sim_chance(sim, 700) ? WIRE__FROM__EARLIEST : WIRE__FROM__LIVE;
    sharer->connect_at_us = sim->now_us + (int64_t)sim_below(sim, 2000);
    sharing->sharers = sharer;
    sharing->count++;
    sim_trace(sim, TRACE_SHARED_MEMBER, sharer->id, group, topic);
}

static void sharer_free(struct sharer *sharer)
{
    held_forget(sharer);
    free(sharer->hands);
    free(sharer->input);
    free(sharer->output);
    free(sharer);
}

static struct sharer **sharer_any(struct sim *sim)
{
    struct sharer **found = NULL;
    uint64_t seen = 0;
    for (struct sharer **at = &sim->sharing->sharers; *at; at = &(*at)->next)
        if (sim_below(sim, ++seen) == 0)
            found = at;
    return found;
}

/* A member leaves, in order or not; or asks for something. */
static void sharer_act(struct sim *sim)
{
    struct sharer **at = sharer_any(sim), *sharer = at ? *at : NULL;
    uint64_t what = sim_below(sim, 100);
    if (!sharer)
        return;
    if (what < 10) { /* its process is gone */
        sim_trace(sim, TRACE_SHARED_VANISH, sharer->id, 0, 0);
        lost(sharer);
        *at = sharer->next;
        sim->sharing->count--;
        sharer_free(sharer);
    } else if (what < 25 && sharer->link) {
        lost(sharer);
    } else if (what < 45 && sharer->in_place) { /* it leaves, and comes again after ENDED */
        Wire__Unlisten message = WIRE__UNLISTEN__INIT;
        message.listener = LISTENER;
        sharer_send(sharer, FRAME_UNLISTEN, &message.base);
        sharer->hand_count = 0;
        sharer->in_place = false;
    } else if (what < 70 && sharer->welcome) {
        sharer_redrive(sharer);
    } else if (sharer->welcome) {
        sharer_topic(sharer, false);
    }
}

void sharing_act(struct sim *sim, struct client *client)
{
    uint32_t topic = sim_chance(sim, 800) ? 0 : 1;
    uint64_t what = sim_below(sim, 100);
    sharing_get(sim);
    if (what < 25 && sim->sharing->count < MEMBERS_MAX)
        sharer_add(sim, topic, (uint32_t)sim_below(sim, LEDGER_GROUPS));
    else if (what < 45)
        sharer_act(sim);
    else
        for (uint64_t left = 1 + sim_below(sim, sim->plan.burst_max); left > 0; left--)
            emit_to(client, topic);
}

static bool anything_open(struct sim *sim)
{
    return ledger_open(&sim->ledger);
}

void sharing_settle(struct sim *sim)
{
    if (!sim->sharing)
        return;
    for (uint32_t topic = 0; topic < LEDGER_TOPICS; topic++)
        for (uint32_t group = 0; group < LEDGER_GROUPS; group++)
            if (ledger_begun(&sim->ledger, topic, group))
                sharer_add(sim, topic, group);
    for (struct sharer *sharer = sim->sharing->sharers; sharer; sharer = sharer->next)
        for (size_t i = 0; i < sharer->hand_count; i++)
            sharer->hands[i].act_at_us = sim->now_us;
    if (!scheduler_run_while(sim, anything_open, SHARING_HEAL_US))
        ledger_open_report(&sim->ledger);
}

void sharing_finish(struct sim *sim)
{
    while (sim->sharing && sim->sharing->sharers) {
        struct sharer *sharer = sim->sharing->sharers;
        sim->sharing->sharers = sharer->next;
        lost(sharer);
        sharer_free(sharer);
    }
    free(sim->sharing);
    sim->sharing = NULL;
}
