/* test_engine_quota.c: what a quota of the broker means to a listener. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>

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
