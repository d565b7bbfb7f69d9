/* session_settle.c: ACK, NACK and EXTEND of a shared group's member, REDRIVE; and their answers.
 *
 * Happy path:  frame → leases checked → the shard → SETTLED
 * Failures:    a listener that has ended, or is no member of a shared group: SETTLED with CRIER_EFENCED. Leases that make no
 *              sense: CRIER_EINVAL. The connection stays. */
#include "broker/core/session_internal.h"

#define REASON_MAX   255u
#define DELAY_MS_MAX (UINT64_C(366) * 86400 * 1000)
#define LEASE_MS_MAX 43200000u

struct lease *leases_read(Wire__Lease *const *messages, size_t count)
{
    struct lease *leases = core_alloc((count + 1) * sizeof(*leases));
    uint64_t events = 0;
    for (size_t i = 0; i < count; i++) {
        const Wire__Lease *message = messages[i];
        uint32_t events_here = message->count ? message->count : 1;
        leases[i] = (struct lease){message->partition, message->offset, events_here, message->attempt};
        events += events_here;
        if (events > SETTLE_EVENTS_MAX || message->attempt == 0 ||
            message->offset > INT64_MAX - SETTLE_EVENTS_MAX) {
            free(leases);
            return NULL;
        }
    }
    return leases;
}

static void settled_send(struct core_connection *connection, uint64_t request, int code,
                         Wire__Lease **refused, size_t count)
{
    Wire__Settled settled = WIRE__SETTLED__INIT;
    settled.request = request;
    settled.code = code;
    settled.text = (char *)(code ? error_text(code) : "");
    settled.refused = refused;
    settled.n_refused = count;
    connection_send(connection, FRAME_SETTLED, &settled.base, NULL, 0);
}

/* request: its kind, its token and what is its own. */
static void settle_submit(struct core_connection *connection, struct shard_request *request, uint32_t id,
                          Wire__Lease *const *messages, size_t count)
{
    if (request_refused(connection, request->token.request))
        return;
    const struct listener *listener = listener_find(connection, id);
    if (!listener || !listener->sharing || listener->state != LISTENER_ACTIVE) {
        settled_send(connection, request->token.request, WIRE_CRIER_EFENCED, NULL, 0);
        return;
    }
    struct lease *leases = leases_read(messages, count);
    if (!leases) {
        settled_send(connection, request->token.request, WIRE_CRIER_EINVAL, NULL, 0);
        return;
    }
    request->token.connection = connection->id;
    request->group = listener->group;
    request->generation = listener->generation;
    request->leases = leases;
    request->lease_count = count;
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, request);
    free(leases);
}

void frame_ack(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Ack *message = frame_unpack(connection, &wire__ack__descriptor, frame);
    if (!message)
        return;
    struct shard_request request = {.kind = SHARD_ACK, .token = {0, message->request}};
    settle_submit(connection, &request, message->listener, message->leases, message->n_leases);
}

void frame_nack(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Nack *message = frame_unpack(connection, &wire__nack__descriptor, frame);
    if (!message)
        return;
    bool text = !message->reason[0] || text_valid(message->reason, REASON_MAX);
    if (!text || message->delay_ms > DELAY_MS_MAX) {
        if (!request_refused(connection, message->request))
            settled_send(connection, message->request, WIRE_CRIER_EINVAL, NULL, 0);
        return;
    }
    struct shard_request request = {.kind = SHARD_NACK,
                                    .token = {0, message->request},
                                    .lease_us = (int64_t)message->delay_ms * 1000,
                                    .reason = message->reason,
                                    .reject = message->reject};
    settle_submit(connection, &request, message->listener, message->leases, message->n_leases);
}

void frame_extend(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Extend *message = frame_unpack(connection, &wire__extend__descriptor, frame);
    if (!message)
        return;
    uint32_t lease_ms = message->lease_ms < LEASE_MS_MAX ? message->lease_ms : LEASE_MS_MAX;
    struct shard_request request = {
        .kind = SHARD_EXTEND, .token = {0, message->request}, .lease_us = lease_ms * INT64_C(1000)};
    settle_submit(connection, &request, message->listener, message->leases, message->n_leases);
}

void frame_redrive(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Redrive *message = frame_unpack(connection, &wire__redrive__descriptor, frame);
    if (!message || request_refused(connection, message->request))
        return;
    struct shard_request request = {.kind = SHARD_REDRIVE,
                                    .token = {connection->id, message->request},
                                    .name = message->topic,
                                    .limit = message->limit};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
}

/* ---- answers ---- */

static void redriven_send(struct core_connection *connection, const struct shard_reply *reply)
{
    Wire__Redriven message = WIRE__REDRIVEN__INIT;
    message.request = reply->token.request;
    message.code = reply->code;
    message.text = (char *)(reply->code ? error_text(reply->code) : "");
    message.moved = reply->moved;
    connection_send(connection, FRAME_REDRIVEN, &message.base, NULL, 0);
}

void settled_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    connection_unanswered(connection, -1);
    if (reply->kind == SHARD_REDRIVEN) {
        redriven_send(connection, reply);
        return;
    }
    size_t count = reply->lease_count;
    Wire__Lease *block = core_alloc((count + 1) * sizeof(*block));
    Wire__Lease **pointers = core_alloc((count + 1) * sizeof(Wire__Lease *));
    for (size_t i = 0; i < count; i++) {
        wire__lease__init(&block[i]);
        block[i].partition = reply->leases[i].partition;
        block[i].offset = reply->leases[i].offset;
        block[i].count = reply->leases[i].count > 1 ? reply->leases[i].count : 0; /* no more than was asked */
        block[i].attempt = reply->leases[i].attempt;
        pointers[i] = &block[i];
    }
    settled_send(connection, reply->token.request, reply->code, pointers, count);
    free(pointers);
    free(block);
}
