/* session_inspect.c: INSPECT and its answer: what is in the broker's files, for `crier verify` and `crier backup`.
 *
 * The store does the work on a thread of its own (storage/store.h); here questions and answers are translated, and
 * partitions named. One question at a time for a connection: answers carry up to 1 MiB.
 *
 * Happy path:  INSPECT → store inspect → inspect_done → INSPECTED
 * Failures:    a store without files: CRIER_ENOTSUP. Busy, or the file is gone meanwhile: CRIER_EAGAIN. The connection gone
 *              meanwhile: the answer is dropped. */
#include "broker/core/session_internal.h"

#define INSPECT_SIZE_MAX (1u << 20)

struct inspection {
    struct inspection *prev, *next;
    struct store_inspect inspect; /* the store's until it is done */
    struct session *session;
    uint64_t connection, request;
};

static void answer_code(struct core_connection *connection, uint64_t request, int code, const char *text)
{
    Wire__Inspected answer = WIRE__INSPECTED__INIT;
    answer.request = request;
    answer.code = code;
    answer.text = (char *)(uintptr_t)text;
    connection_send(connection, FRAME_INSPECTED, &answer.base, NULL, 0);
}

static void pack_fault(struct session *session, Wire__InspectFault *to, const struct store_fault *fault)
{
    const struct view *view = fault->partition ? view_find(session, fault->partition) : NULL;
    wire__inspect_fault__init(to);
    to->first_index = fault->first_index;
    to->last_index = fault->last_index;
    to->partition = fault->partition;
    to->offset = fault->offset;
    to->what = (char *)(uintptr_t)fault->what;
    if (view) {
        to->topic = view->topic->name;
        to->number = view->index;
    }
}

static void answer(struct core_connection *connection, const struct inspection *inspection)
{
    const struct store_inspect *done = &inspection->inspect;
    const struct store *store = inspection->session->store;
    Wire__InspectFault faults[STORE_FAULTS_MAX], *pointers[STORE_FAULTS_MAX];
    Wire__Inspected message = WIRE__INSPECTED__INIT;
    message.request = inspection->request;
    message.text = (char *)(uintptr_t) "";
    message.found = done->found;
    message.number = done->segment.number;
    message.generation = done->segment.generation;
    message.sealed = done->segment.sealed;
    message.first_index = done->segment.first_index;
    message.last_index = done->segment.last_index;
    message.first_time_us = done->segment.first_time_us;
    message.last_time_us = done->segment.last_time_us;
    message.size = done->segment.size;
    message.index_size = done->segment.index_size;
    message.segments = done->segments;
    message.segments_left = done->segments_left;
    message.entries = done->entries;
    message.faults = done->faults;
    message.state_index = done->state_index;
    message.state_size = done->state_size;
    message.cluster_id =
        (ProtobufCBinaryData){sizeof(store->cluster_id), (uint8_t *)(uintptr_t)store->cluster_id};
    message.node_id = store->node_id;
    message.created_us = store->created_us;
    message.n_fault = done->faults < STORE_FAULTS_MAX ? done->faults : STORE_FAULTS_MAX;
    message.fault = pointers;
    for (size_t i = 0; i < message.n_fault; i++) {
        pointers[i] = &faults[i];
        pack_fault(inspection->session, &faults[i], &done->fault[i]);
    }
    connection_send(connection, FRAME_INSPECTED, &message.base, &done->bytes, done->bytes.size > 0);
}

static int wire_code(int status)
{
    return status == STORE_EREADONLY || status == STORE_EREFUSED ? WIRE_CRIER_EIO : status;
}

static void inspect_done(struct store_inspect *inspect, void *ctx)
{
    struct inspection *inspection = ctx;
    struct session *session = inspection->session;
    struct core_connection *connection = session_find(session, inspection->connection);
    DL_DELETE(session->inspections, inspection);
    if (connection && inspect->status < 0)
        answer_code(connection, inspection->request, wire_code(inspect->status),
                    error_text(wire_code(inspect->status)));
    else if (connection)
        answer(connection, inspection);
    if (connection)
        connection_unanswered(connection, -1);
    slice_unref(&inspect->bytes);
    free(inspection);
}

static bool asks_already(const struct core_connection *connection)
{
    const struct inspection *inspection;
    DL_FOREACH (connection->session->inspections, inspection)
        if (inspection->connection == connection->id)
            return true;
    return false;
}

static int start(struct core_connection *connection, const Wire__Inspect *message)
{
    static const enum store_inspection what[] = {STORE_SCAN, STORE_LIST, STORE_SEAL, STORE_FILE};
    static const enum store_file file[] = {STORE_FILE_STATE, STORE_FILE_SEGMENT, STORE_FILE_INDEX};
    struct session *session = connection->session;
    if (!session->store->ops->inspect)
        return WIRE_CRIER_ENOTSUP;
    if ((size_t)message->what >= ARRAY_SIZE(what) || (size_t)message->file >= ARRAY_SIZE(file) ||
        message->size > INSPECT_SIZE_MAX)
        return WIRE_CRIER_EINVAL;
    if (asks_already(connection))
        return WIRE_CRIER_EAGAIN;
    struct inspection *inspection = core_alloc(sizeof(*inspection));
    inspection->session = session;
    inspection->connection = connection->id;
    inspection->request = message->request;
    inspection->inspect = (struct store_inspect){.done = inspect_done,
                                                 .ctx = inspection,
                                                 .what = what[message->what],
                                                 .after = message->after,
                                                 .file = file[message->file],
                                                 .number = message->number,
                                                 .generation = message->generation,
                                                 .position = message->position,
                                                 .size = message->size};
    DL_APPEND(session->inspections, inspection);
    int rc = session->store->ops->inspect(session->store, &inspection->inspect);
    if (rc < 0) {
        DL_DELETE(session->inspections, inspection);
        free(inspection);
    }
    return rc;
}

void frame_inspect(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Inspect *message = frame_unpack(connection, &wire__inspect__descriptor, frame);
    if (!message)
        return;
    int rc = start(connection, message);
    if (rc < 0)
        answer_code(connection, message->request, wire_code(rc), error_text(wire_code(rc)));
    else
        connection_unanswered(connection, +1);
}

void inspections_destroy(struct session *session)
{
    struct inspection *inspection, *next;
    DL_FOREACH_SAFE (session->inspections, inspection, next)
        free(inspection);
    session->inspections = NULL;
}
