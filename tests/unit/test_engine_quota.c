/* test_engine_quota.c: what a quota of the broker means to a listener, and the bound of what an emitter may keep waiting. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <string.h>

Test(engine_quota, a_quota_ends_a_newcomer_and_is_waited_for_by_who_was_there)
{
    struct rig rig;
    Wire__Ended ended = WIRE__ENDED__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 0);
    rig_listen(&rig, "t", NULL);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    ended.listener = ((const Wire__Listen *)sent.message)->listener;
    ended.code = CRIER_EQUOTA;
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(rig.released_count, 1);
    cr_assert_eq(rig.released_code, CRIER_EQUOTA);
    ended.listener = id;
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(rig.released_count, 1);
    rig_wait(&rig, 200000);
    id = rig_listening(&rig, 0, 1);
    rig_deliver(&rig, id, 0, 1);
    cr_assert_eq(rig.event_count, 1);
    rig_finish(&rig);
}

/* A batch costs more than its bytes; wherever the limit falls, what begins one does not go beyond it. */
Test(engine_quota, the_buffer_is_never_more_than_full)
{
    char value[1500];
    memset(value, 'x', sizeof(value));
    for (size_t more = 0; more < 1600; more += 16) {
        struct rig rig;
        struct crier_options options = rig_options();
        options.buffer_size_max = 32 * 1024 + more;
        rig_init(&rig, &options);
        rig_ready(&rig, 1 << 20);
        rig_know(&rig, "t", 1);
        while (rig_emit_raw(&rig, "t", value, sizeof(value), NULL) == 0)
            cr_assert_leq(rig.progress.pending_bytes, options.buffer_size_max);
        rig_finish(&rig);
    }
}
