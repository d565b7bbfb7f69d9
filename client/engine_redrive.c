/* engine_redrive.c: dead letters sent back to where they came from.
 *
 * Role:     as engine_request.c, whose request this is: asked, sent and answered there.
 * Thread:   the I/O thread. */
#include "client/engine_internal.h"

#include "client/leased.h"
#include "client/topic_name.h"
#include "proto/error.h"

int engine_redrive(struct engine *engine, const char *topic, uint64_t limit, engine_answered *answered,
                   void *ctx, int64_t now_us)
{
    struct request *request;
    int rc;

    if (!topic_name_is_valid(topic))
        return CRIER_EINVAL;
    if ((rc = request_ask(engine, REQUEST_REDRIVE, topic, answered, ctx, now_us, &request)) == 0)
        request->limit = limit;
    return rc;
}

void redrive_send(struct engine *engine, const struct request *request)
{
    Wire__Redrive message = WIRE__REDRIVE__INIT;

    if (engine->feature_level < SHARED_LEVEL) {
        struct engine_answer answer = {.code = CRIER_ENOTSUP, .text = error_text(CRIER_ENOTSUP)};
        request_sent_answer(engine, request_sent_find(engine, request->id), &answer);
        return;
    }
    message.request = request->id;
    message.topic = (char *)(uintptr_t)request->name;
    message.limit = request->limit;
    engine_send(engine, FRAME_REDRIVE, &message.base);
}

void request_redriven(struct engine *engine, const Wire__Redriven *redriven)
{
    struct request *request = request_sent_find(engine, redriven->request);
    struct engine_answer answer = {
        .code = redriven->code, .text = redriven->code ? redriven->text : "", .moved = redriven->moved};

    if (!request || request->kind != REQUEST_REDRIVE)
        return; /* it has timed out meanwhile */
    request_sent_answer(engine, request, &answer);
}
