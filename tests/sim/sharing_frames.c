/* sharing_frames.c: what a member of a shared group sends. See sharing.c. */
#include "tests/sim/sharing.h"

#include "base/check.h"
#include "tests/sim/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sharer_send(struct sharer *sharer, enum frame_kind kind, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message), whole = FRAME_PREFIX_SIZE + size;
    if (sharer->output_size + whole > sharer->output_capacity) {
        sharer->output_capacity = 2 * (sharer->output_size + whole);
        sharer->output = realloc(sharer->output, sharer->output_capacity);
        CHECK(sharer->output);
    }
    frame_prefix_encode(sharer->output + sharer->output_size, kind, size, 0);
    protobuf_c_message_pack(message, sharer->output + sharer->output_size + FRAME_PREFIX_SIZE);
    sharer->output_size += whole;
}

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c's fields are not const */
}

void sharer_hello(struct sharer *sharer)
{
    uint8_t instance[16] = {0};
    memcpy(instance, &sharer->id, sizeof(sharer->id));
    instance[15] = 1; /* not one of the clients */
    Wire__Hello message = WIRE__HELLO__INIT;
    message.version = 1;
    message.feature_level = 2;
    message.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    sharer_send(sharer, FRAME_HELLO, &message.base);
}

/* The topic, if it is not there; else what it does with what fails: all of that, or where it goes in the end. */
void sharer_topic(struct sharer *sharer, bool create)
{
    struct sim *sim = sharer->sim;
    char name[8], dead_letter[16];
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    snprintf(name, sizeof(name), "q%u", sharer->topic);
    snprintf(dead_letter, sizeof(dead_letter), "lost.q%u", sharer->topic);
    retry.first_ms = (uint32_t)PICK(sim, 1, 10, 100);
    retry.max_ms = (uint32_t)PICK(sim, 20, 300);
    retry.deliveries = (uint32_t)PICK(sim, 1, 2, 3, 10);
    if (retry.max_ms == 300)
        retry.dead_letter = dead_letter;
    if (create) {
        Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
        message.request = ++sharer->request;
        message.name = name;
        message.partitions = 1 + (uint32_t)sim_below(sim, SIM_PARTITIONS_MAX);
        message.retry = &retry;
        sharer_send(sharer, FRAME_TOPIC_CREATE, &message.base);
    } else {
        Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
        message.request = ++sharer->request;
        message.name = name;
        message.set = retry.first_ms == 10 ? 1048576 : 65536;
        message.retry = &retry;
        sharer_send(sharer, FRAME_TOPIC_ALTER, &message.base);
    }
}

void sharer_redrive(struct sharer *sharer)
{
    char name[8];
    Wire__Redrive message = WIRE__REDRIVE__INIT;
    snprintf(name, sizeof(name), "q%u", sharer->topic);
    message.request = ++sharer->request;
    message.topic = name;
    message.limit = PICK(sharer->sim, 0, 1, 3);
    sharer_send(sharer, FRAME_REDRIVE, &message.base);
}

static size_t leases_make(const struct hand *hands, size_t count, Wire__Lease *leases, Wire__Lease **pointers)
{
    for (size_t i = 0; i < count; i++) {
        wire__lease__init(&leases[i]);
        leases[i].partition = hands[i].partition;
        leases[i].offset = hands[i].offset;
        leases[i].attempt = hands[i].attempt;
        pointers[i] = &leases[i];
    }
    return count;
}

void sharer_credit_return(struct sharer *sharer, uint64_t bytes)
{
    Wire__CreditReturn message = WIRE__CREDIT_RETURN__INIT;
    message.bytes = bytes;
    sharer_send(sharer, FRAME_CREDIT_RETURN, &message.base);
}

void sharer_listen(struct sharer *sharer)
{
    char topic[8], group[8];
    Wire__Lease leases[LEASES_A_FRAME], *pointers[LEASES_A_FRAME];
    Wire__Listen message = WIRE__LISTEN__INIT;
    snprintf(topic, sizeof(topic), "q%u", sharer->topic);
    snprintf(group, sizeof(group), "h%u", sharer->group);
    size_t kept = sharer->hand_count < LEASES_A_FRAME ? sharer->hand_count : LEASES_A_FRAME;
    sharer->credit = sharer->window;
    sharer->received = 0;
    sharer->held_count = 0;
    message.listener = LISTENER;
    message.topic = topic;
    message.group = group;
    message.from = (Wire__From)sharer->from;
    message.credit = sharer->credit;
    message.create = true;
    message.session_timeout_ms = (uint32_t)sharer->session_ms;
    message.kind =
        sharer->group == LEDGER_KEY_GROUP ? WIRE__GROUP_KIND__KEY_ORDERED : WIRE__GROUP_KIND__SHARED;
    message.lease_ms = (uint32_t)sharer->lease_ms;
    message.max_in_flight = sharer->in_flight_max;
    if (sharer->remembers && kept)
        sim_trace(sharer->sim, TRACE_SHARED_HELD, sharer->id, kept, 0);
    message.n_held = sharer->remembers ? leases_make(sharer->hands, kept, leases, pointers) : 0;
    message.held = pointers;
    sharer->hand_count = message.n_held;
    sharer_send(sharer, FRAME_LISTEN, &message.base);
}

void sharer_settle(struct sharer *sharer, enum frame_kind kind, const struct hand *hands, size_t count)
{
    struct sim *sim = sharer->sim;
    Wire__Lease leases[LEASES_A_FRAME], *pointers[LEASES_A_FRAME];
    leases_make(hands, count, leases, pointers);
    sim_trace(sim, TRACE_SHARED_ASK, sharer->id, kind, hands[0].offset);
    if (kind == FRAME_ACK) {
        Wire__Ack message = WIRE__ACK__INIT;
        message.request = ++sharer->request;
        message.listener = LISTENER;
        message.n_leases = count;
        message.leases = pointers;
        sharer_send(sharer, kind, &message.base);
    } else if (kind == FRAME_NACK) {
        Wire__Nack message = WIRE__NACK__INIT;
        message.request = ++sharer->request;
        message.listener = LISTENER;
        message.n_leases = count;
        message.leases = pointers;
        message.delay_ms = PICK(sim, 0, 0, 1, 50, 2000);
        message.reason = text_of(sim_chance(sim, 500) ? "no luck" : "");
        message.reject = sim_chance(sim, 150);
        sharer_send(sharer, kind, &message.base);
    } else {
        Wire__Extend message = WIRE__EXTEND__INIT;
        message.request = ++sharer->request;
        message.listener = LISTENER;
        message.n_leases = count;
        message.leases = pointers;
        message.lease_ms = (uint32_t)PICK(sim, 0, 5, 500, 3000);
        sharer_send(sharer, kind, &message.base);
    }
}
