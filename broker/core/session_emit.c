/* session_emit.c: EMIT: what arrives is checked once, here, and never again on its way to the log.
 *
 * Happy path:  EMIT → within its grant, in sequence, sizes that add up → each batch checked (header, CRC, records) →
 *              shard_emit → session_emitted → EMITTED, and the grant returns when that reaches the kernel
 * Failures:    sizes or numbers that contradict each other break the protocol: ERROR and close. A batch that is
 *              damaged, too large or of an unknown codec is refused for itself, with the reason. */
#include "broker/core/session_internal.h"

/* What contradicts itself in an emit of either kind; NULL: nothing. */
static const char *emit_problem(const struct emit *emit)
{
    if (!emit->atomic)
        return emit->source_position || emit->consumed_count ? "only an atomic emit has positions" : NULL;
    if (emit->memory)
        return "an atomic emit is durable";
    if (emit->source_position == 0 || emit->source_previous >= emit->source_position)
        return "an atomic emit has a source position, from 1, beyond the one before it";
    return NULL;
}

/* The same, in one of its parts. */
static const char *part_problem(const struct emit *emit, const struct emit_part *part)
{
    if ((part->delay_us || part->at_us) && (emit->atomic || emit->memory || part->at_us < 0))
        return "an emit with a time is durable, and not atomic";
    if (!emit->atomic && part->expects)
        return "only an atomic emit expects offsets";
    if (emit->atomic && part->header.producer_id >= 0)
        return "an atomic emit is known by its source position, not by sequences";
    return emit_problem(emit);
}

/* Of an emit that somebody has to hear. A durable one may come again when it is stored, whoever listens then. */
static int heard_code(struct session *session, const struct emit *emit, uint64_t partition)
{
    const struct view *view = view_find(session, partition);
    if (!emit->memory)
        return WIRE_CRIER_EINVAL;
    return view && !view->cursors ? WIRE_CRIER_ENOLISTENER : 0;
}

/* Sets the part's code if the batch cannot be taken. */
static void part_check(struct session *session, struct emit *emit, struct emit_part *part, bool heard)
{
    const struct batch_limits limits = {.batch_size_max = FRAME_BATCH_SIZE_MAX,
                                        .event_size_max = session->config.event_size_max,
                                        .uncompressed_size_max = 4 * (size_t)FRAME_SIZE_MAX};
    const char *why = NULL;
    int rc = batch_validate(part->batch.data, part->batch.size, &limits, &part->header, &why);
    if (rc == 0 && session->draining) {
        rc = WIRE_CRIER_ESHUTDOWN;
    } else if (rc == 0 && part->header.producer_id >= 0 &&
               (emit->memory || part->header.producer_epoch < 0 || part->header.base_sequence < 0)) {
        rc = WIRE_CRIER_EINVAL;
        why = emit->memory ? "memory emits carry no sequence" : "a producer id needs an epoch and a sequence";
    } else if (rc == 0 && (why = part_problem(emit, part))) {
        rc = WIRE_CRIER_EINVAL;
    } else if (rc == 0 && heard) {
        rc = heard_code(session, emit, part->partition);
    }
    part->code = rc;
    part->base_offset = -1;
    if (rc && !emit->why)
        emit->why = why ? why : error_text(rc);
}

static bool parts_fit(const Wire__Emit *message, size_t attachment_size)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < message->n_parts; i++)
        sum += message->parts[i]->size;
    if (message->n_parts == 0 && !(message->atomic && message->n_positions > 0))
        return false;
    return message->n_parts <= EMIT_PARTS_MAX && message->n_positions <= EMIT_PARTS_MAX &&
           sum == attachment_size;
}

static void consumed_read(struct emit *emit, const Wire__Emit *message)
{
    for (uint32_t i = 0; i < emit->consumed_count; i++) {
        const Wire__EmitPosition *position = message->positions[i];
        emit->consumed[i] = (struct consumed){.generation = position->generation,
                                              .partition = position->partition,
                                              .offset = position->offset,
                                              .previous = position->previous};
    }
}

static struct emit *emit_build(struct core_connection *connection, const Wire__Emit *message,
                               const struct frame *frame, struct slice bytes)
{
    struct emit *emit = emit_create((uint32_t)message->n_parts, (uint32_t)message->n_positions);
    if (!emit)
        return NULL;
    emit->token = (struct token){connection->id, message->request};
    emit->memory = message->durability == WIRE__DURABILITY__MEMORY;
    emit->frame_size = bytes.size;
    emit->atomic = message->atomic;
    emit->named = connection->producer_name != NULL;
    emit->producer_id = connection->producer_id;
    emit->source_position = message->source_position;
    emit->source_previous = message->source_previous;
    consumed_read(emit, message);
    if (emit->atomic && (emit->why = emit_problem(emit)))
        emit->code = WIRE_CRIER_EINVAL;
    uint8_t *at = bytes.data + (frame->attachment - bytes.data);
    for (size_t i = 0; i < message->n_parts; i++) {
        struct emit_part *part = &emit->parts[i];
        part->partition = message->parts[i]->partition;
        part->expects = message->parts[i]->expects;
        part->expected_offset = message->parts[i]->expected_offset;
        part->delay_us = message->parts[i]->delay_us;
        part->at_us = message->parts[i]->at_us;
        emit->scheduled |= part->delay_us || part->at_us;
        part->batch = slice_ref((struct slice){bytes.buffer, at, message->parts[i]->size});
        part_check(connection->session, emit, part, message->parts[i]->heard);
        at += message->parts[i]->size;
    }
    return emit;
}

/* The emit, checked and with its batches; NULL: the connection has been refused. */
static struct emit *emit_read(struct core_connection *connection, const struct frame *frame,
                              struct slice bytes)
{
    const Wire__Emit *message = frame_unpack(connection, &wire__emit__descriptor, frame);
    if (!message)
        return NULL;
    struct emit *emit = NULL;
    if (message->request != connection->emit_request + 1)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "EMIT %llu does not follow %llu",
                          (unsigned long long)message->request, (unsigned long long)connection->emit_request);
    else if (!parts_fit(message, frame->attachment_size))
        connection_refuse(connection, WIRE_CRIER_EPROTO, "the parts of EMIT %llu do not fill its attachment",
                          (unsigned long long)message->request);
    else if (!(emit = emit_build(connection, message, frame, bytes)))
        connection_refuse(connection, WIRE_CRIER_ENOMEM, "no memory for an EMIT of %zu parts",
                          message->n_parts);
    return emit;
}

void frame_emit(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    if (!grant_use(connection, bytes.size)) {
        connection_refuse(connection, WIRE_CRIER_EPROTO, "an EMIT of %zu bytes exceeds the grant",
                          bytes.size);
        return;
    }
    struct emit *emit = emit_read(connection, frame, bytes);
    if (!emit) {
        grant_unuse(connection, bytes.size);
        return;
    }
    quota_charge(connection, emit);
    grant_grow(connection, bytes.size);
    connection->emit_request = emit->token.request;
    connection_unanswered(connection, +1);
    if (!ephemeral_emit(connection->session, emit))
        shard_emit(connection->session->shard, emit);
}

void frame_credit_want(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__CreditWant *want = frame_unpack(connection, &wire__credit_want__descriptor, frame);
    if (!want)
        return;
    if (want->bytes == 0 || want->bytes > FRAME_SIZE_MAX)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "no frame has %llu bytes",
                          (unsigned long long)want->bytes);
    else
        grant_want(connection, want->bytes);
}

void frame_credit_return(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__CreditReturn *message = frame_unpack(connection, &wire__credit_return__descriptor, frame);
    if (!message)
        return;
    if (message->bytes > connection->grant.granted - connection->grant.used)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "%llu bytes of grant are not there to be returned",
                          (unsigned long long)message->bytes);
    else
        grant_give_back(connection, message->bytes);
}

static void emitted_send(struct core_connection *connection, const struct emit *emit)
{
    struct arena *arena = &connection->session->arena;
    size_t count = emit->part_count ? emit->part_count : 1; /* of positions alone: one that is about them */
    arena_reset(arena);
    Wire__EmittedPart *parts = arena_allocate(arena, count * sizeof(*parts));
    Wire__EmittedPart **pointers = arena_allocate(arena, count * sizeof(Wire__EmittedPart *));
    CHECK(parts && pointers); /* it held the request's own, larger, form */
    if (emit->part_count == 0) {
        wire__emitted_part__init(&parts[0]);
        parts[0].outcome = (Wire__Outcome)emit->outcome;
        parts[0].code = emit->code;
        parts[0].base_offset = -1;
        parts[0].duplicate = emit->duplicate && emit->code == 0;
        pointers[0] = &parts[0];
    }
    for (uint32_t i = 0; i < emit->part_count; i++) {
        const struct emit_part *part = &emit->parts[i];
        wire__emitted_part__init(&parts[i]);
        parts[i].outcome = (Wire__Outcome)part->outcome;
        parts[i].code = part->code;
        parts[i].base_offset = part->base_offset;
        parts[i].duplicate = part->duplicate;
        parts[i].due_us = part->schedule.due_us;
        parts[i].schedule = part->schedule.number;
        parts[i].listeners = part->listeners;
        pointers[i] = &parts[i];
    }
    Wire__Emitted message = WIRE__EMITTED__INIT;
    message.request = emit->token.request;
    message.parts = pointers;
    message.n_parts = count;
    if (emit->why)
        message.text = (char *)emit->why;
    connection_send(connection, FRAME_EMITTED, &message.base, NULL, 0);
}

void session_emitted(void *ctx, const struct emit *emit)
{
    struct session *session = ctx;
    struct core_connection *connection = session_find(session, emit->token.connection);
    if (!connection) {
        grant_orphan(session, emit->frame_size);
        return;
    }
    emitted_send(connection, emit);
    grant_answered(connection, emit->frame_size);
    connection_unanswered(connection, -1);
}
