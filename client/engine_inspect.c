/* engine_inspect.c: INSPECT and INSPECTED: what is in the broker's files. A request like those of engine_request.c.
 *
 * Thread:   the I/O thread.
 * Failures: asked again after a lost connection: nothing is changed but by SEAL, and twice sealed is sealed. */
#include "client/engine_internal.h"

#include "proto/error.h"

#include <string.h>

int engine_inspect(struct engine *engine, const struct crier_inspection *inspection,
                   engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;
    int rc = request_ask(engine, REQUEST_INSPECT, "", answered, ctx, now_us, &request);

    if (rc == 0)
        request->inspection = *inspection;
    return rc;
}

void inspect_send(struct engine *engine, const struct request *request)
{
    const struct crier_inspection *inspection = &request->inspection;
    Wire__Inspect message = WIRE__INSPECT__INIT;

    message.request = request->id;
    message.what = (Wire__Inspection)inspection->what;
    message.after = inspection->after;
    message.file = (Wire__InspectedFile)inspection->file;
    message.number = inspection->number;
    message.generation = inspection->generation;
    message.position = inspection->position;
    message.size = inspection->size;
    engine_send(engine, FRAME_INSPECT, &message.base);
}

/* The API's form, in the arena of the frame. NULL: it does not fit. */
static struct crier_inspect_fault *faults_convert(struct engine *engine, const Wire__Inspected *message)
{
    struct crier_inspect_fault *faults =
        arena_allocate(&engine->arena, (message->n_fault + 1) * sizeof(*faults));

    for (size_t i = 0; faults && i < message->n_fault; i++) {
        const Wire__InspectFault *fault = message->fault[i];
        faults[i] = (struct crier_inspect_fault){.first_index = fault->first_index,
                                                 .last_index = fault->last_index,
                                                 .topic = fault->topic[0] ? fault->topic : NULL,
                                                 .partition = fault->number,
                                                 .offset = fault->offset,
                                                 .what = fault->what};
    }
    return faults;
}

static struct crier_inspected convert(const Wire__Inspected *message, const struct frame *frame)
{
    struct crier_inspected inspected = {.found = message->found,
                                        .number = message->number,
                                        .generation = message->generation,
                                        .sealed = message->sealed,
                                        .first_index = message->first_index,
                                        .last_index = message->last_index,
                                        .first_time_us = message->first_time_us,
                                        .last_time_us = message->last_time_us,
                                        .size = message->size,
                                        .index_size = message->index_size,
                                        .segments = message->segments,
                                        .segments_left = message->segments_left,
                                        .entries = message->entries,
                                        .faults = message->faults,
                                        .fault_count = message->n_fault,
                                        .state_index = message->state_index,
                                        .state_size = message->state_size,
                                        .node_id = message->node_id,
                                        .created_us = message->created_us,
                                        .bytes = frame->attachment,
                                        .byte_count = frame->attachment_size};

    if (message->cluster_id.len == sizeof(inspected.cluster_id))
        memcpy(inspected.cluster_id, message->cluster_id.data, sizeof(inspected.cluster_id));
    return inspected;
}

void request_inspected(struct engine *engine, const Wire__Inspected *message, const struct frame *frame)
{
    struct request *request = request_sent_find(engine, message->request);
    struct crier_inspected inspected = convert(message, frame);
    struct engine_answer answer = {.code = message->code, .text = message->code ? message->text : ""};

    if (!request || request->kind != REQUEST_INSPECT)
        return; /* it has timed out meanwhile */
    if (!(inspected.fault = faults_convert(engine, message))) {
        engine_fail(engine, CRIER_EPROTO, "an answer about files that makes no sense");
        return;
    }
    if (answer.code == 0)
        answer.inspected = &inspected;
    engine->requests_sent_count--;
    request_answer(engine, request, &answer);
}
