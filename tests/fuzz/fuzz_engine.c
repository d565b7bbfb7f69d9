/* fuzz_engine.c: the client's engine against a broker that sends anything.
 *
 * A script says what the application does (emit, now, later or several as one; listen, by itself or in a group of any kind; settle;
 * ask; close) and what the broker does (engine_frames.c): each kind of frame well formed, any frame with any header and attachment,
 * bytes that are no frame, silence, the end of the connection.
 *
 * Promises: nothing crashes or leaks; every emit and every question has one outcome by the time the engine is dropped; what
 * the engine sends is whole frames. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "client/engine.h"
#include "client/leased.h"
#include "crier/atomic.h"
#include "crier/inspect.h"
#include "crier/schedule.h"
#include "crier/topic.h"
#include "proto/frame.h"
#include "tests/fuzz/engine_frames.h"
#include "tests/fuzz/script.h"

#include <string.h>

#define STEPS_MAX 200

#define LEASES_MAX 16

struct world {
    struct far_end far;
    uint64_t emits, outcomes, questions, answers;
    struct crier_lease leases[LEASES_MAX]; /* the last ones that were seen */
    struct crier_consumed consumed;        /* the same, of a member that commits atomically */
    unsigned lease_count;
};

static void on_connect(void *ctx, unsigned endpoint)
{
    (void)endpoint;
    ((struct world *)ctx)->far.wants = true;
}

static void on_disconnect(void *ctx)
{
    ((struct world *)ctx)->far.wants = ((struct world *)ctx)->far.connected = false;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    (void)ctx, (void)connected, (void)code;
    CHECK(text);
}

static void on_drain(void *ctx)
{
    (void)ctx;
}

static void on_released(void *ctx, crier_listener *listener)
{
    (void)ctx;
    CHECK(listener);
}

static const struct engine_ops ops = {.connect = on_connect,
                                      .disconnect = on_disconnect,
                                      .connection = on_connection,
                                      .drain = on_drain,
                                      .released = on_released};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)code, (void)offset;
    ((struct world *)ctx)->outcomes++;
}

static void on_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx)
{
    (void)bus;
    CHECK(code < 0 || schedule);
    ((struct world *)ctx)->outcomes++;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct world *world = ctx;
    size_t size = 0;
    (void)bus;
    for (size_t i = 0; i < event->value_size; i++) /* every byte is there */
        size += ((const uint8_t *)event->value)[i];
    if (event->attempt > 0)
        world->leases[world->lease_count++ % LEASES_MAX] = crier_lease_of(event);
    else if (event->assignment > 0)
        world->consumed = crier_consumed_by(event);
    if (event->attempt > 0 && size % 3 == 1)
        return CRIER_LATER;
    return size % 7 == 3 ? -1 : 0;
}

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    CHECK(answer->text);
    ((struct world *)ctx)->answers += !answer->more;
}

/* ---- the wire ---- */

static void output_take(struct world *world)
{
    struct iovec pieces[8];
    size_t count;
    for (int i = 0; i < 16 && world->far.connected; i++) {
        size_t size = 0;
        count = engine_output(world->far.engine, pieces, 8, world->far.now_us);
        for (size_t p = 0; p < count; p++)
            size += pieces[p].iov_len;
        if (count == 0 || !world->far.connected)
            break;
        engine_output_consumed(world->far.engine, size);
    }
}

/* ---- the application ---- */

static void emit(struct world *world, struct script *script)
{
    struct crier_emit_options options = crier_emit_options_default();
    size_t size;
    bool wake;
    const char *topic = (char *)(script_u8(script) & 1 ? "ta" : "tb");
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &size);
    options.done = on_done;
    options.ctx = world;
    options.durability = script_u8(script) & 1 ? CRIER_MEMORY : CRIER_DURABLE;
    options.partition = (int32_t)(script_u8(script) % 4) - 1;
    if (engine_emit(world->far.engine, topic, value, size, &options, 1700000000000, &wake) == 0)
        world->emits++;
}

static void emit_later(struct world *world, struct script *script)
{
    struct crier_later_options later = crier_later_options_default();
    size_t size;
    bool wake;
    const char *topic = (char *)(script_u8(script) & 1 ? "ta" : "tb");
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &size);
    later.delay_us = script_u8(script);
    later.at_us = script_u8(script) & 1 ? script_u8(script) : 0;
    later.done = on_scheduled;
    later.ctx = world;
    if (engine_emit_later(world->far.engine, topic, value, size, &later, 1700000000000, &wake) == 0)
        world->emits++;
}

static void emit_atomic(struct world *world, struct script *script)
{
    struct crier_atomic_options options = crier_atomic_options_default();
    struct crier_emit_options expecting = crier_emit_options_default();
    struct crier_atomic_event events[3] = {{.topic = "ta"}, {.topic = "tb"}, {.topic = "ta"}};
    bool wake;
    for (size_t i = 0; i < 3; i++)
        events[i].value = script_bytes(script, script_u8(script) % 64, &events[i].value_size);
    expecting.expects = script_u8(script) % 4 == 3;
    expecting.expected_offset = script_u8(script) % 8;
    events[0].options = &expecting;
    if (script_u8(script) & 1 && world->consumed.assignment > 0) {
        options.consumed = &world->consumed;
        options.consumed_count = 1;
    }
    options.done = on_done;
    options.ctx = world;
    if (engine_emit_atomic(world->far.engine, events, 1 + script_u8(script) % 3, &options, 1700000000000,
                           &wake) == 0)
        world->emits++;
}

static void listen(struct world *world, struct script *script)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_shared_options shared = crier_shared_options_default();
    crier_listener *listener;
    unsigned how = script_u8(script);
    options.group = how & 1 ? "g" : NULL;
    options.from = (enum crier_from)(how >> 1 & 3);
    options.count = how & 8 ? 2 : 0;
    options.commits_atomically = how & 1 && how & 64;
    shared.key_ordered = how & 16;
    if (how & 1 && how & 32 && !options.commits_atomically)
        options.shared = &shared;
    if (engine_listener_create(world->far.engine, how & 16 && !(how & 1) ? "t*" : "ta", &options, on_event,
                               world, &listener) == 0)
        engine_listen(world->far.engine, listener);
}

static void settle(struct world *world, struct script *script)
{
    static const uint8_t kinds[] = {FRAME_ACK, FRAME_NACK, FRAME_EXTEND, FRAME_ACK};
    struct shared_end end = {.kind = kinds[script_u8(script) % 4],
                             .delay_ms = script_u8(script),
                             .lease_ms = script_u8(script),
                             .reject = script_u8(script) & 1,
                             .reason = script_u8(script) & 1 ? "why" : NULL};
    if (world->lease_count > 0)
        settle_lease(world->far.engine,
                     &world->leases[script_u8(script) %
                                    (world->lease_count < LEASES_MAX ? world->lease_count : LEASES_MAX)],
                     &end);
}

static int change(struct world *world, struct script *script)
{
    struct engine *engine = world->far.engine;
    const struct crier_topic_options options = crier_topic_options_default();
    const struct crier_topic_changes changes = {.struct_size = sizeof(changes), .set = CRIER_SET_DURABILITY};
    const struct crier_inspection inspection = {.struct_size = sizeof(inspection),
                                                .what = (enum crier_inspect_what)(script_u8(script) % 4),
                                                .size = 64};
    const crier_schedule schedule = {.due_us = script_u8(script), .number = script_u8(script)};
    int64_t now_us = world->far.now_us;
    switch (script_u8(script) % 8) {
    case 0:
        return engine_topic_create(engine, "tc", &options, on_answer, world, now_us);
    case 1:
        return engine_topic_alter(engine, "ta", &changes, on_answer, world, now_us);
    case 2:
        return engine_topic_delete(engine, "ta", on_answer, world, now_us);
    case 3:
        return engine_inspect(engine, &inspection, on_answer, world, now_us);
    case 4:
        return engine_schedule_cancel(engine, &schedule, on_answer, world, now_us);
    case 5:
        return engine_schedule_list(engine, "ta", &schedule, 4, on_answer, world, now_us);
    case 6:
        return engine_redrive(engine, "ta", script_u8(script), on_answer, world, now_us);
    default:
        return engine_group_delete(engine, "g", on_answer, world, now_us);
    }
}

static int ask(struct world *world, struct script *script)
{
    struct engine *engine = world->far.engine;
    const struct crier_group_seek_options seek = crier_group_seek_options_default();
    int64_t now_us = world->far.now_us;
    switch (script_u8(script) % 6) {
    case 0:
        return engine_topic_list(engine, on_answer, world, now_us);
    case 1:
        return engine_topic_describe(engine, "ta", on_answer, world, now_us);
    case 2:
        return engine_group_describe(engine, "g", "ta", on_answer, world, now_us);
    case 3:
        return engine_group_seek(engine, "g", "ta", &seek, on_answer, world, now_us);
    case 4:
        return engine_group_list(engine, on_answer, world, now_us);
    default:
        return engine_ping(engine, on_answer, world, now_us);
    }
}

static void turn(struct world *world, int64_t us)
{
    world->far.now_us += us;
    if (engine_due(world->far.engine) <= world->far.now_us)
        engine_tick(world->far.engine, world->far.now_us);
    engine_dispatch(world->far.engine, 16, world->far.now_us);
    engine_collect(world->far.engine, world->far.now_us);
    output_take(world);
}

static void application_step(struct world *world, unsigned what, struct script *script)
{
    if (what & 0x40) {
        if ((what & 7) < 2)
            emit_later(world, script);
        else if ((what & 7) < 4)
            emit_atomic(world, script);
        else if ((what & 7) < 6)
            settle(world, script);
        else
            world->questions += change(world, script) == 0;
    } else if ((what & 7) == 0) {
        turn(world, INT64_C(100000) * script_u8(script));
    } else if ((what & 7) < 4) {
        emit(world, script);
    } else if ((what & 7) < 6) {
        listen(world, script);
    } else {
        world->questions += ask(world, script) == 0;
    }
    turn(world, 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct world world = {.far.now_us = 1000000};
    struct engine_config config = {
        .options = crier_options_default(), .instance = "0123456789abcde", .seed = 1, .endpoint_count = 1};
    config.options.batch_size_max = 2048;
    config.options.buffer_size_max = 64 * 1024;
    config.options.listen_credit = 4096;
    world.far.engine = engine_create(&config, &ops, &world);
    CHECK(world.far.engine);
    engine_start(world.far.engine, world.far.now_us);
    for (int step = 0; step < STEPS_MAX && !script_over(&script); step++) {
        unsigned what = script_u8(&script);
        if (what & 0x80)
            application_step(&world, what & 0x7f, &script);
        else
            far_end_say(&world.far, what & 0x7f, &script);
        turn(&world, 10);
    }
    engine_emit_close(world.far.engine);
    engine_close(world.far.engine, world.far.now_us);
    turn(&world, 1000);
    engine_drop(world.far.engine, CRIER_ECLOSED);
    engine_collect(world.far.engine, world.far.now_us);
    engine_destroy(world.far.engine);
    CHECK(world.emits == world.outcomes && world.questions == world.answers);
    return 0;
}
