/* fuzz_frame.c: any bytes are a frame, the beginning of one, or refused; and its header unpacks within its bound.
 *
 * Promises: nothing outside the bytes is read or pointed at; a shorter input never decides otherwise than the whole; what
 * unpacks and is packed again unpacks to the same. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "proto/arena.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"
#include "proto/frame.h"

#include <string.h>

#define LIMIT      (64u * 1024)
#define ARENA_SIZE (256u * 1024)

static const ProtobufCMessageDescriptor *const descriptors[] = {
    [FRAME_HELLO] = &wire__hello__descriptor,
    [FRAME_WELCOME] = &wire__welcome__descriptor,
    [FRAME_EMIT] = &wire__emit__descriptor,
    [FRAME_EMITTED] = &wire__emitted__descriptor,
    [FRAME_LISTEN] = &wire__listen__descriptor,
    [FRAME_LISTENING] = &wire__listening__descriptor,
    [FRAME_UNLISTEN] = &wire__unlisten__descriptor,
    [FRAME_ENDED] = &wire__ended__descriptor,
    [FRAME_DELIVER] = &wire__deliver__descriptor,
    [FRAME_CREDIT] = &wire__credit__descriptor,
    [FRAME_CREDIT_WANT] = &wire__credit_want__descriptor,
    [FRAME_COMMIT] = &wire__commit__descriptor,
    [FRAME_COMMITTED] = &wire__committed__descriptor,
    [FRAME_TOPIC_CREATE] = &wire__topic_create__descriptor,
    [FRAME_TOPIC_DESCRIBE] = &wire__topic_describe__descriptor,
    [FRAME_TOPIC_LIST] = &wire__topic_list__descriptor,
    [FRAME_TOPIC_ALTER] = &wire__topic_alter__descriptor,
    [FRAME_TOPIC_DELETE] = &wire__topic_delete__descriptor,
    [FRAME_TOPIC_TRIM] = &wire__topic_trim__descriptor,
    [FRAME_TOPICS] = &wire__topics__descriptor,
    [FRAME_PING] = &wire__ping__descriptor,
    [FRAME_PONG] = &wire__ping__descriptor,
    [FRAME_GOAWAY] = &wire__goaway__descriptor,
    [FRAME_ERROR] = &wire__error__descriptor,
};

/* Packs a message; 0 if it does not fit (enums and counts may grow when written again). */
static size_t pack(const ProtobufCMessage *message, uint8_t *to, size_t capacity)
{
    return protobuf_c_message_get_packed_size(message) <= capacity ? protobuf_c_message_pack(message, to) : 0;
}

static void check_header(const struct frame *frame)
{
    static uint8_t memory[2][ARENA_SIZE], packed[2][2 * LIMIT];
    if (frame->kind >= ARRAY_SIZE(descriptors) || !descriptors[frame->kind])
        return;
    struct arena arenas[2];
    arena_init(&arenas[0], memory[0], ARENA_SIZE);
    arena_init(&arenas[1], memory[1], ARENA_SIZE);
    const ProtobufCMessageDescriptor *type = descriptors[frame->kind];
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &arenas[0].allocator, frame->header_size, frame->header);
    if (!message)
        return;
    size_t size = pack(message, packed[0], sizeof(packed[0]));
    if (size == 0)
        return;
    ProtobufCMessage *again = protobuf_c_message_unpack(type, &arenas[1].allocator, size, packed[0]);
    if (!again)
        return; /* the arena is the bound here too */
    CHECK(pack(again, packed[1], sizeof(packed[1])) == size && memcmp(packed[0], packed[1], size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame = {0};
    int64_t used = frame_decode(data, size, LIMIT, &frame);
    CHECK(used <= (int64_t)size);
    CHECK(used >= 0 || used == WIRE_CRIER_EPROTO || used == WIRE_CRIER_ETOOBIG);
    for (size_t cut = 0; cut < size && cut < 16; cut++) {
        struct frame early;
        int64_t verdict = frame_decode(data, cut, LIMIT, &early);
        CHECK(verdict == 0 || verdict == used);
    }
    if (used <= 0)
        return 0;
    CHECK((uint64_t)used == frame_size_announced(data, size) && used <= (int64_t)LIMIT);
    CHECK(frame.header == data + FRAME_PREFIX_SIZE);
    CHECK(frame.attachment == frame.header + frame.header_size);
    CHECK(frame.attachment + frame.attachment_size == data + used);
    uint8_t prefix[FRAME_PREFIX_SIZE];
    frame_prefix_encode(prefix, (enum frame_kind)frame.kind, frame.header_size, frame.attachment_size);
    CHECK(memcmp(prefix, data, FRAME_PREFIX_SIZE - 1) == 0);
    check_header(&frame);
    return 0;
}
