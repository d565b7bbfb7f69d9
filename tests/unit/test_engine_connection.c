/* test_engine_connection.c: greeting, keep-alive, reconnecting, and a broker that cannot be trusted. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <string.h>

Test(engine_connection, hello_is_the_first_frame_and_asks_for_a_producer_id)
{
    struct rig rig;
    rig_init(&rig, NULL);
    cr_assert_eq(rig.connects, 1);
    cr_assert(rig_sent_nothing(&rig));
    rig_connect(&rig);
    struct sent sent = rig_expect(&rig, FRAME_HELLO);
    const Wire__Hello *hello = (const Wire__Hello *)sent.message;
    cr_assert_eq(hello->version, ENGINE_PROTOCOL_VERSION);
    cr_assert_eq(hello->instance.len, 16);
    cr_assert_eq(hello->producer_id, 0);
    cr_assert(!rig.connected);
    rig_finish(&rig);
}

Test(engine_connection, a_reconnect_keeps_instance_and_producer_id)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_cut(&rig);
    cr_assert(!rig.connected);
    cr_assert_eq(rig.connection_code, CRIER_ECONNECT);
    rig_wait(&rig, 100000);
    cr_assert_eq(rig.connects, 2);
    rig_connect(&rig);
    struct sent sent = rig_expect(&rig, FRAME_HELLO);
    const Wire__Hello *hello = (const Wire__Hello *)sent.message;
    cr_assert_eq(hello->producer_id, RIG_PRODUCER);
    cr_assert_eq(memcmp(hello->instance.data, "0123456789abcde", 16), 0);
    rig_finish(&rig);
}

Test(engine_connection, delays_between_attempts_double_with_jitter_up_to_the_maximum)
{
    static const int64_t most[] = {100000, 200000, 400000, 400000, 400000};
    struct rig rig;
    rig_init(&rig, NULL);
    for (unsigned i = 0; i < 5; i++) {
        int64_t began = rig.now;
        rig_cut(&rig);
        while (rig.connects == i + 1) {
            rig.now = engine_due(rig.engine);
            engine_tick(rig.engine, rig.now);
        }
        cr_assert_geq(rig.now - began, most[i] / 2);
        cr_assert_leq(rig.now - began, most[i]);
    }
    rig_finish(&rig);
}

Test(engine_connection, other_endpoints_are_tried_at_once_and_the_delay_comes_after_the_round)
{
    struct rig rig;
    rig_init_endpoints(&rig, NULL, 3);
    cr_assert_eq(rig.endpoint, 0);
    for (unsigned i = 1; i < 3; i++) {
        rig_cut(&rig);
        cr_assert_leq(engine_due(rig.engine), rig.now);
        engine_tick(rig.engine, rig.now);
        cr_assert_eq(rig.endpoint, i);
    }
    rig_cut(&rig);
    cr_assert_gt(engine_due(rig.engine), rig.now);
    rig_wait(&rig, 100000);
    cr_assert_eq(rig.endpoint, 0);
    cr_assert_eq(rig.connects, 4);
    rig_finish(&rig);
}

Test(engine_connection, a_broker_that_does_not_answer_hello_is_given_up)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_connect(&rig);
    rig_wait(&rig, 4900000);
    cr_assert_eq(rig.disconnects, 0);
    rig_wait(&rig, 200000);
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.connection_code, CRIER_ECONNECT);
    rig_finish(&rig);
}

Test(engine_connection, an_older_and_a_newer_protocol_version_are_refused)
{
    static const int others[] = {-1, +1};
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        Wire__Welcome welcome = WIRE__WELCOME__INIT;
        rig_init(&rig, NULL);
        rig_connect(&rig);
        welcome.version = (uint32_t)(ENGINE_PROTOCOL_VERSION + others[i]);
        rig_receive(&rig, FRAME_WELCOME, &welcome, NULL, 0);
        cr_assert_eq(rig.disconnects, 1);
        cr_assert_eq(rig.connection_code, CRIER_EVERSION);
        rig_finish(&rig);
    }
}

Test(engine_connection, frames_arriving_byte_by_byte_are_understood)
{
    struct rig rig;
    uint8_t bytes[64];
    Wire__Ping ping = WIRE__PING__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    ping.nonce = 12345;
    size_t size = wire__ping__get_packed_size(&ping);
    frame_prefix_encode(bytes, FRAME_PING, size, 0);
    wire__ping__pack(&ping, bytes + FRAME_PREFIX_SIZE);
    rig_receive_bytes(&rig, bytes, FRAME_PREFIX_SIZE + size, 1);
    struct sent sent = rig_expect(&rig, FRAME_PONG);
    cr_assert_eq(((const Wire__Ping *)sent.message)->nonce, 12345);
    rig_finish(&rig);
}

static void expect_distrust(struct rig *rig, int code)
{
    cr_assert_eq(rig->disconnects, 1);
    cr_assert(!rig->connected);
    cr_assert_eq(rig->connection_code, code);
    rig_reconnect(rig, 1 << 20); /* and it goes on */
}

Test(engine_connection, garbage_ends_the_connection)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    static const uint8_t garbage[] = {0, 0, 0, 9, 255, 255, 1, 0, 1, 2, 3};
    rig_receive_bytes(&rig, garbage, sizeof(garbage), SIZE_MAX);
    expect_distrust(&rig, CRIER_EPROTO);
    rig_finish(&rig);
}

Test(engine_connection, a_frame_beyond_the_limit_ends_the_connection)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    static const uint8_t prefix[] = {0x7f, 0, 0, 0, 0, 0, FRAME_DELIVER, 0};
    rig_receive_bytes(&rig, prefix, sizeof(prefix), SIZE_MAX);
    expect_distrust(&rig, CRIER_ETOOBIG);
    rig_finish(&rig);
}

Test(engine_connection, an_unknown_frame_ends_the_connection)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    static const uint8_t frame[] = {0, 0, 0, 4, 0, 0, 200, 0};
    rig_receive_bytes(&rig, frame, sizeof(frame), SIZE_MAX);
    expect_distrust(&rig, CRIER_EPROTO);
    rig_finish(&rig);
}

Test(engine_connection, a_frame_before_welcome_ends_the_connection)
{
    struct rig rig;
    Wire__Credit credit = WIRE__CREDIT__INIT;
    rig_init(&rig, NULL);
    rig_connect(&rig);
    rig_receive(&rig, FRAME_CREDIT, &credit, NULL, 0);
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.connection_code, CRIER_EPROTO);
    rig_finish(&rig);
}

Test(engine_connection, an_answer_to_an_emit_that_was_not_sent_ends_the_connection)
{
    struct rig rig;
    Wire__Emitted emitted = WIRE__EMITTED__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    emitted.request = 1;
    rig_receive(&rig, FRAME_EMITTED, &emitted, NULL, 0);
    expect_distrust(&rig, CRIER_EPROTO);
    rig_finish(&rig);
}

Test(engine_connection, error_from_the_broker_is_passed_on)
{
    struct rig rig;
    Wire__Error error = WIRE__ERROR__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    error.code = CRIER_ESHUTDOWN;
    error.text = (char *)(uintptr_t) "going down";
    rig_receive(&rig, FRAME_ERROR, &error, NULL, 0);
    expect_distrust(&rig, CRIER_ESHUTDOWN);
    rig_finish(&rig);
}

Test(engine_connection, a_quiet_connection_is_pinged_and_a_dead_one_is_dropped)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_wait(&rig, 5000000);
    struct sent sent = rig_expect(&rig, FRAME_PING);
    rig_receive(&rig, FRAME_PONG, sent.message, NULL, 0);
    rig_wait(&rig, 14000000);
    cr_assert_eq(rig.disconnects, 0);
    rig_wait(&rig, 2100000);
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.connection_code, CRIER_ETIMEDOUT);
    rig_finish(&rig);
}

Test(engine_connection, time_lost_in_a_handler_is_no_proof_of_a_dead_broker)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig.now += 60000000; /* nobody looked at the socket for a minute */
    engine_tick(rig.engine, rig.now);
    cr_assert_eq(rig.disconnects, 0);
    Wire__Ping ping = WIRE__PING__INIT;
    rig_receive(&rig, FRAME_PING, &ping, NULL, 0); /* it was there all along */
    rig_wait(&rig, 2000000);
    cr_assert_eq(rig.disconnects, 0);
    rig_finish(&rig);
}

Test(engine_connection, goaway_finishes_what_is_in_flight_and_moves_on)
{
    struct rig rig;
    Wire__Goaway goaway = WIRE__GOAWAY__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "in flight", NULL);
    struct sent in_flight = rig_expect(&rig, FRAME_EMIT);
    goaway.deadline_ms = 10000;
    rig_receive(&rig, FRAME_GOAWAY, &goaway, NULL, 0);
    rig_emit(&rig, "t", "later", NULL);
    cr_assert(rig_sent_nothing(&rig));
    cr_assert_eq(rig.disconnects, 0);
    rig_emitted(&rig, &in_flight, WIRE__OUTCOME__OK, 0, 1);
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.done_count, 1);
    rig_reconnect(&rig, 1 << 20);
    struct sent later = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&later, 0, 0), "later");
    cr_assert_eq(rig_sequence(&later, 0), 2);
    rig_finish(&rig);
}

Test(engine_connection, a_broker_that_pings_but_never_reads_is_left)
{
    struct rig rig;
    Wire__Ping ping = WIRE__PING__INIT;
    uint8_t bytes[32 * 1024];
    size_t size = 0;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    ping.nonce = 1;
    while (size + 32 < sizeof(bytes)) {
        size_t header = wire__ping__pack(&ping, bytes + size + FRAME_PREFIX_SIZE);
        frame_prefix_encode(bytes + size, FRAME_PING, header, 0);
        size += FRAME_PREFIX_SIZE + header;
    }
    for (int i = 0; i < 100 && rig.disconnects == 0; i++) { /* received, but its output is never taken */
        size_t done = 0;
        while (done < size && rig.disconnects == 0) {
            struct iovec space;
            cr_assert_eq(engine_input(rig.engine, &space), 0);
            size_t part = size - done < space.iov_len ? size - done : space.iov_len;
            memcpy(space.iov_base, bytes + done, part);
            engine_received(rig.engine, part, rig.now);
            done += part;
        }
    }
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.connection_code, CRIER_EPROTO);
    rig_finish(&rig);
}
