/* tap.c: see tap.h. */
#include "tests/sim/tap.h"

#include "base/check.h"
#include "proto/crier.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { UP, DOWN };

void tap_init(struct tap *tap, struct tap_world *world, struct report *report)
{
    *tap = (struct tap){.world = world, .report = report};
}

void tap_finish(struct tap *tap)
{
    tap_gone(tap);
    free(tap->listeners);
    free(tap->commit);
}

static void note(struct tap *tap, int direction, uint8_t kind)
{
    if (kind < TAP_KINDS)
        tap->world->frames[direction][kind]++;
}

static void *unpack(const ProtobufCMessageDescriptor *type, const uint8_t *header, size_t size)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, size, header);
    CHECK(message); /* both ends are ours */
    return message;
}

static void forget(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- a listener's credit ---- */

struct tap_listener *tap_listener(const struct tap *tap, uint32_t id)
{
    for (size_t i = 0; i < tap->listener_count; i++)
        if (tap->listeners[i].id == id)
            return &tap->listeners[i];
    return NULL;
}

static void listen(struct tap *tap, const Wire__Listen *message)
{
    struct tap_listener *listener = tap_listener(tap, message->listener);
    if (!listener) {
        if (tap->listener_count == tap->listener_capacity) {
            tap->listener_capacity = 2 * tap->listener_capacity + 4;
            tap->listeners = realloc(tap->listeners, tap->listener_capacity * sizeof(*tap->listeners));
            CHECK(tap->listeners);
        }
        listener = &tap->listeners[tap->listener_count++];
    }
    *listener = (struct tap_listener){.id = message->listener, .credit = message->credit};
    listener->grouped = sscanf(message->group, "g%u", &listener->group) == 1;
}

static void credit(struct tap *tap, uint32_t id, uint64_t total)
{
    struct tap_listener *listener = tap_listener(tap, id);
    if (listener && total > listener->credit)
        listener->credit = total;
}

static void deliver(struct tap *tap, const Wire__Deliver *message, const struct slice *batches, size_t count)
{
    struct tap_listener *listener = tap_listener(tap, message->listener);
    if (!listener) {
        report_add(tap->report, 8, "events are sent to listener %u, which is not there", message->listener);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (listener->delivered >= listener->credit)
            report_add(tap->report, 12,
                       "listener %u has used %" PRIu64 " bytes of a credit of %" PRIu64 " and gets %zu more",
                       message->listener, listener->delivered, listener->credit, batches[i].size);
        listener->delivered += batches[i].size;
    }
}

/* ---- a producer's grant ---- */

static void use(struct tap *tap, uint64_t bytes, const char *what)
{
    tap->used += bytes;
    if (tap->used > tap->granted)
        report_add(tap->report, 12, "%s takes %" PRIu64 " bytes of a grant of %" PRIu64, what, tap->used,
                   tap->granted);
}

/* ---- frames ---- */

static void up_credit_return(struct tap *tap, const void *message)
{
    use(tap, ((const Wire__CreditReturn *)message)->bytes, "a CREDIT_RETURN");
}

static void up_listen(struct tap *tap, const void *message)
{
    listen(tap, message);
}

static void up_credit(struct tap *tap, const void *message)
{
    const Wire__Credit *grant = message;
    credit(tap, grant->listener, grant->total);
}

static void up_release(struct tap *tap, const void *message)
{
    const Wire__Release *release = message;
    const struct tap_listener *listener = tap_listener(tap, release->listener);
    for (size_t i = 0; listener && listener->grouped && i < release->n_partitions; i++)
        tap_released(tap, listener, release->partitions[i]);
}

static void left(struct tap *tap, uint32_t id)
{
    struct tap_listener *listener = tap_listener(tap, id);
    if (listener)
        tap_left(tap, listener);
}

static void up_unlisten(struct tap *tap, const void *message)
{
    left(tap, ((const Wire__Unlisten *)message)->listener);
}

static void up_commit(struct tap *tap, const void *message)
{
    if (tap->again_waits || tap->commits++ % 4 != 0) /* what comes again is older than the last */
        return;
    free(tap->commit);
    tap->commit_size = tap_commit_again(tap, message, &tap->commit);
}

static void down_welcome(struct tap *tap, const void *message)
{
    tap->granted = ((const Wire__Welcome *)message)->grant;
}

static void down_credit(struct tap *tap, const void *message)
{
    uint64_t total = ((const Wire__Credit *)message)->total;
    if (total < tap->granted)
        report_add(tap->report, 12, "a grant shrinks from %" PRIu64 " to %" PRIu64, tap->granted, total);
    tap->granted = total;
}

static void given(struct tap *tap, uint32_t id, Wire__ListenPartition **partitions, size_t count)
{
    const struct tap_listener *listener = tap_listener(tap, id);
    for (size_t i = 0; listener && listener->grouped && i < count; i++)
        tap_given(tap, listener, partitions[i]->partition);
}

static void down_listening(struct tap *tap, const void *message)
{
    const Wire__Listening *listening = message;
    given(tap, listening->listener, listening->partitions, listening->n_partitions);
}

static void down_assign(struct tap *tap, const void *message)
{
    const Wire__Assign *assign = message;
    given(tap, assign->listener, assign->added, assign->n_added);
}

static void down_ended(struct tap *tap, const void *message)
{
    left(tap, ((const Wire__Ended *)message)->listener);
}

struct look {
    const ProtobufCMessageDescriptor *type;
    void (*look)(struct tap *tap, const void *message);
};

static const struct look looks[2][TAP_KINDS] = {
    [UP] = {[FRAME_CREDIT_RETURN] = {&wire__credit_return__descriptor, up_credit_return},
            [FRAME_LISTEN] = {&wire__listen__descriptor, up_listen},
            [FRAME_CREDIT] = {&wire__credit__descriptor, up_credit},
            [FRAME_RELEASE] = {&wire__release__descriptor, up_release},
            [FRAME_UNLISTEN] = {&wire__unlisten__descriptor, up_unlisten},
            [FRAME_COMMIT] = {&wire__commit__descriptor, up_commit}},
    [DOWN] = {[FRAME_WELCOME] = {&wire__welcome__descriptor, down_welcome},
              [FRAME_CREDIT] = {&wire__credit__descriptor, down_credit},
              [FRAME_LISTENING] = {&wire__listening__descriptor, down_listening},
              [FRAME_ASSIGN] = {&wire__assign__descriptor, down_assign},
              [FRAME_ENDED] = {&wire__ended__descriptor, down_ended}}};

static void look(struct tap *tap, int direction, uint8_t kind, const uint8_t *header, size_t size)
{
    note(tap, direction, kind);
    const struct look *look = kind < TAP_KINDS ? &looks[direction][kind] : NULL;
    if (!look || !look->look)
        return;
    void *message = unpack(look->type, header, size);
    look->look(tap, message);
    forget(message);
}

void tap_up(struct tap *tap, const struct frame *frame)
{
    look(tap, UP, frame->kind, frame->header, frame->header_size);
    if (frame->kind == FRAME_EMIT)
        use(tap, FRAME_PREFIX_SIZE + frame->header_size + frame->attachment_size, "an EMIT");
}

bool tap_down(struct tap *tap, const uint8_t *head, size_t head_size, const struct slice *batches,
              size_t count)
{
    const uint8_t *header = head + FRAME_PREFIX_SIZE;
    size_t size = head_size - FRAME_PREFIX_SIZE;
    look(tap, DOWN, head[6], header, size);
    if (head[6] == FRAME_COMMITTED && tap->again_waits && tap_committed_again(tap, header, size)) {
        tap->again_waits = false;
        return false;
    }
    if (head[6] == FRAME_ERROR) /* its listeners end with it */
        tap_gone(tap);
    if (head[6] == FRAME_DELIVER) {
        Wire__Deliver *message = unpack(&wire__deliver__descriptor, header, size);
        deliver(tap, message, batches, count);
        forget(message);
    }
    return true;
}

size_t tap_again(struct tap *tap, uint8_t **ret_frame)
{
    if (tap->again_waits || !tap->commit)
        return 0;
    Wire__Commit *commit = unpack(&wire__commit__descriptor, tap->commit + FRAME_PREFIX_SIZE,
                                  tap->commit_size - FRAME_PREFIX_SIZE);
    size_t size = tap_commit_again(tap, commit, ret_frame);
    forget(commit);
    tap->again_waits = true;
    return size;
}

/* ---- coverage of the protocol ---- */

/* Who sends what (docs/protocol.md, "Frames"). Every kind of the protocol has to be in here, and is to be sent in a run of many
 * seeds; a kind that is not is named by tap_complete. */
static const struct {
    uint8_t kind;
    bool up, down;
} kinds[] = {
    {FRAME_HELLO, .up = true},
    {FRAME_WELCOME, .down = true},
    {FRAME_EMIT, .up = true},
    {FRAME_EMITTED, .down = true},
    {FRAME_LISTEN, .up = true},
    {FRAME_LISTENING, .down = true},
    {FRAME_UNLISTEN, .up = true},
    {FRAME_ENDED, .down = true},
    {FRAME_DELIVER, .down = true},
    {FRAME_CREDIT, .up = true, .down = true},
    {FRAME_CREDIT_WANT, .up = true},
    {FRAME_COMMIT, .up = true},
    {FRAME_COMMITTED, .down = true},
    {FRAME_ASSIGN, .down = true},
    {FRAME_RELEASE, .up = true},
    {FRAME_CREDIT_RETURN, .up = true},
    {FRAME_TOPIC_CREATE, .up = true},
    {FRAME_TOPIC_DESCRIBE, .up = true},
    {FRAME_TOPIC_LIST, .up = true},
    {FRAME_TOPICS, .down = true},
    {FRAME_GROUP_LIST, .up = true},
    {FRAME_GROUP_DESCRIBE, .up = true},
    {FRAME_GROUP_SEEK, .up = true},
    {FRAME_GROUP_DELETE, .up = true},
    {FRAME_GROUPS, .down = true},
    {FRAME_TOPIC_ALTER, .up = true},
    {FRAME_TOPIC_DELETE, .up = true},
    {FRAME_TOPIC_TRIM, .up = true},
    {FRAME_INSPECT, .up = true},
    {FRAME_INSPECTED, .down = true},
    {FRAME_SCHEDULE_CANCEL, .up = true},
    {FRAME_SCHEDULE_LIST, .up = true},
    {FRAME_SCHEDULES, .down = true},
    {FRAME_PING, .up = true},
    {FRAME_PONG, .down = true}, /* the broker does not ask */
    {FRAME_GOAWAY, .down = true},
    {FRAME_ERROR, .down = true}, /* a client of ours has nothing to complain about */
    {FRAME_ACK, .up = true},
    {FRAME_NACK, .up = true},
    {FRAME_EXTEND, .up = true},
    {FRAME_SETTLED, .down = true},
    {FRAME_REDRIVE, .up = true},
    {FRAME_REDRIVEN, .down = true},
};

static const char *kind_name(uint8_t kind)
{
    switch (kind) {
#define NAME(name, number, text)                                                                             \
    case number:                                                                                             \
        return text;
        FRAME_KIND_MAP(NAME)
#undef NAME
    default:
        return "?";
    }
}

static bool listed(uint8_t kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].kind == kind)
            return true;
    return false;
}

static bool sent(const struct tap_world *world, int direction, uint8_t kind)
{
    if (world->frames[direction][kind])
        return true;
    printf("no %s was ever sent %s: this simulation proves too little\n", kind_name(kind),
           direction == UP ? "to the broker" : "to a client");
    return false;
}

bool tap_complete(const struct tap_world *world)
{
    static const uint8_t all[] = {
#define KIND(name, number, text) number,
        FRAME_KIND_MAP(KIND)
#undef KIND
    };
    bool complete = true;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (!listed(all[i])) {
            printf("%s is a kind of frame that the simulator does not know\n", kind_name(all[i]));
            complete = false;
        }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        complete &= !kinds[i].up || sent(world, UP, kinds[i].kind);
        complete &= !kinds[i].down || sent(world, DOWN, kinds[i].kind);
    }
    return complete;
}

void tap_print(const struct tap_world *world)
{
    printf("frames           to the broker    to a client\n");
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        printf("%-16s %13" PRIu64 " %14" PRIu64 "\n", kind_name(kinds[i].kind),
               world->frames[UP][kinds[i].kind], world->frames[DOWN][kinds[i].kind]);
}
