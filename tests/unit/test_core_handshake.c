/* test_core_handshake.c: from HELLO to READY, and what happens to those who do not keep to the protocol. */
#include "tests/unit/core_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

Test(handshake, hello_is_answered_with_everything_a_client_needs)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    const Wire__Welcome *welcome = p->message;
    cr_assert_eq(welcome->version, 1);
    cr_assert_eq(welcome->cluster_id.len, 16);
    cr_assert_eq(memcmp(welcome->cluster_id.data, f->store->cluster_id, 16), 0);
    cr_assert_gt(welcome->producer_id, 0);
    cr_assert_gt(welcome->grant, 0);
    cr_assert_eq(welcome->frame_size_max, FRAME_SIZE_MAX);
    cr_assert_eq(welcome->event_size_max, f->config.event_size_max);
    cr_assert_eq(welcome->ping_interval_ms, f->config.ping_interval_ms);
    cr_assert_eq(welcome->idle_timeout_ms, f->config.idle_timeout_ms);
    fixture_destroy(f);
}

Test(handshake, no_two_clients_get_the_same_producer_id_over_a_restart_either)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    uint64_t first = peer_welcome(f)->producer_id, second = peer_welcome(f)->producer_id;
    fixture_crash(f);
    uint64_t third = peer_welcome(f)->producer_id;
    cr_assert(first != second && third != first && third != second);
    fixture_destroy(f);
}

Test(handshake, a_client_that_comes_back_keeps_its_producer_id)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    uint64_t id = peer_welcome(f)->producer_id;
    cr_assert_eq(peer_welcome_again(f, id)->producer_id, id);
    fixture_crash(f);
    cr_assert_eq(peer_welcome_again(f, id)->producer_id, id);
    fixture_destroy(f);
}

Test(handshake, a_producer_id_nobody_gave_out_is_replaced)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    cr_assert_neq(peer_welcome_again(f, UINT64_C(1) << 40)->producer_id, UINT64_C(1) << 40);
    fixture_destroy(f);
}

Test(handshake, an_older_and_a_newer_version_are_refused_by_name)
{
    static const uint32_t others[] = {0, 2};
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_create();
        fixture_start(f);
        struct peer *p = peer_open(f);
        Wire__Hello hello = WIRE__HELLO__INIT;
        hello.version = others[i];
        peer_send(p, FRAME_HELLO, &hello.base);
        peer_expect_error(p, WIRE_CRIER_EVERSION);
        fixture_destroy(f);
    }
}

Test(handshake, frames_before_welcome_are_out_of_place)
{
    static const enum frame_kind kinds[] = {FRAME_EMIT,   FRAME_LISTEN,     FRAME_CREDIT,
                                            FRAME_COMMIT, FRAME_TOPIC_LIST, FRAME_PING};
    struct fixture *f = fixture_create();
    fixture_start(f);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct peer *p = peer_open(f);
        peer_send(p, kinds[i], NULL);
        peer_expect_error(p, WIRE_CRIER_EPROTO);
    }
    fixture_destroy(f);
}

Test(handshake, a_second_hello_is_out_of_place)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.version = 1;
    peer_send(p, FRAME_HELLO, &hello.base);
    peer_expect_error(p, WIRE_CRIER_EPROTO);
    fixture_destroy(f);
}

Test(handshake, frames_only_a_broker_sends_and_unknown_ones_are_refused)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    for (unsigned kind = 0; kind < 256; kind++) {
        bool taken = kind == FRAME_EMIT || kind == FRAME_LISTEN || kind == FRAME_UNLISTEN ||
                     kind == FRAME_CREDIT || kind == FRAME_CREDIT_WANT || kind == FRAME_COMMIT ||
                     kind == FRAME_RELEASE || kind == FRAME_CREDIT_RETURN ||
                     (kind >= FRAME_GROUP_LIST && kind <= FRAME_GROUP_DELETE) ||
                     (kind >= FRAME_TOPIC_CREATE && kind <= FRAME_TOPIC_LIST) ||
                     (kind >= FRAME_TOPIC_ALTER && kind <= FRAME_TOPIC_TRIM) || kind == FRAME_PING ||
                     kind == FRAME_PONG || kind == FRAME_ERROR || kind == FRAME_INSPECT ||
                     kind == FRAME_SCHEDULE_CANCEL || kind == FRAME_SCHEDULE_LIST ||
                     (kind >= FRAME_ACK && kind <= FRAME_EXTEND) || kind == FRAME_REDRIVE;
        if (taken)
            continue;
        struct peer *p = peer_welcome(f);
        peer_send(p, (enum frame_kind)kind, NULL);
        peer_expect_error(p, WIRE_CRIER_EPROTO);
        peer_close(p);
    }
    fixture_destroy(f);
}

Test(handshake, flags_attachments_and_headers_that_make_no_sense_are_refused)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    uint8_t frame[FRAME_PREFIX_SIZE];
    frame_prefix_encode(frame, FRAME_PING, 0, 0);
    frame[7] = 1;
    struct peer *p = peer_welcome(f);
    peer_send_bytes(p, frame, sizeof(frame));
    peer_expect_error(p, WIRE_CRIER_EPROTO);

    p = peer_welcome(f);
    peer_send_attached(p, FRAME_PING, NULL, (const uint8_t *)"x", 1);
    peer_expect_error(p, WIRE_CRIER_EPROTO);

    uint8_t bad_header[FRAME_PREFIX_SIZE + 2] = {0};
    frame_prefix_encode(bad_header, FRAME_LISTEN, 2, 0);
    memset(bad_header + FRAME_PREFIX_SIZE, 0xff, 2); /* a varint without an end */
    p = peer_welcome(f);
    peer_send_bytes(p, bad_header, sizeof(bad_header));
    peer_expect_error(p, WIRE_CRIER_EPROTO);
    fixture_destroy(f);
}

Test(handshake, bytes_that_are_no_frame_are_answered_and_end_the_connection)
{
    static const struct {
        const char *bytes;
        int code;
    } cases[] = {{"\0\0\0\3\0\0\0\0", WIRE_CRIER_EPROTO},          /* shorter than its own prefix */
                 {"\0\0\0\4\0\1\0\0", WIRE_CRIER_EPROTO},          /* a header longer than the frame */
                 {"\xff\xff\xff\xff\0\0\1\0", WIRE_CRIER_ETOOBIG}, /* 4 GiB */
                 {"\x01\0\0\0\0\0\1\0", WIRE_CRIER_ETOOBIG}};      /* just above the limit */
    struct fixture *f = fixture_create();
    fixture_start(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer *p = peer_welcome(f);
        peer_send_bytes(p, (const uint8_t *)cases[i].bytes, FRAME_PREFIX_SIZE);
        peer_expect_error(p, cases[i].code);
        peer_close(p);
    }
    fixture_destroy(f);
}

Test(handshake, whoever_speaks_http_or_tls_is_told_so)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_open(f);
    peer_send_bytes(p, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18);
    peer_expect_error(p, WIRE_CRIER_EPROTO);
    cr_assert(strstr(((const Wire__Error *)p->message)->text, "GET /"));
    p = peer_open(f);
    peer_send_bytes(p, (const uint8_t *)"\x16\x03\x01\x02\x00\x01\x00\x01", 8);
    fixture_turn(f);
    if (p->closing) /* a length that no frame has; else it is waited for */
        cr_assert(strstr(((const Wire__Error *)peer_expect(p, FRAME_ERROR))->text, "TLS"));
    fixture_destroy(f);
}

Test(handshake, a_frame_that_finds_no_memory_is_told_so)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    core_connection_bad(p->connection, WIRE_CRIER_ENOMEM, NULL, 0);
    peer_expect_error(p, WIRE_CRIER_ENOMEM);
    cr_assert(strstr(((const Wire__Error *)p->message)->text, "memory"));
    fixture_destroy(f);
}

Test(handshake, nothing_is_taken_after_an_error)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    peer_send(p, FRAME_HELLO, NULL);
    peer_expect_error(p, WIRE_CRIER_EPROTO);
    Wire__Ping ping = WIRE__PING__INIT;
    peer_send(p, FRAME_PING, &ping.base);
    fixture_turn(f);
    peer_expect_nothing(p);
    fixture_destroy(f);
}

Test(handshake, a_frame_may_not_be_larger_than_its_kind_allows)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    size_t control_max = FRAME_PREFIX_SIZE + FRAME_HEADER_SIZE_MAX;
    cr_assert_eq(core_connection_frame_max(p->connection, FRAME_LISTEN), control_max);
    cr_assert_eq(core_connection_frame_max(p->connection, FRAME_EMIT), p->grant);
    cr_assert_eq(core_connection_frame_max(peer_open(f)->connection, FRAME_EMIT), control_max);
    fixture_destroy(f);
}

/* A byte now and then is life, but no reason to wait for HELLO for ever. */
Test(handshake, who_never_finishes_hello_is_closed_after_the_idle_timeout)
{
    struct fixture *f = fixture_create();
    f->config.idle_timeout_ms = 15000;
    fixture_start(f);
    struct peer *p = peer_open(f);
    for (int second = 0; second < 15; second++) {
        core_connection_received(p->connection); /* a byte of a frame that is not whole yet */
        fixture_run(f, 1000000);
        peer_expect_nothing(p);
    }
    core_connection_received(p->connection);
    fixture_run(f, 1000000);
    peer_expect_error(p, WIRE_CRIER_ETIMEDOUT);
    fixture_destroy(f);
}

Test(handshake, silence_is_pinged_and_then_ends)
{
    struct fixture *f = fixture_create();
    f->config.ping_interval_ms = 5000;
    f->config.idle_timeout_ms = 15000;
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    fixture_run(f, 4900000);
    peer_expect_nothing(p);
    fixture_run(f, 700000); /* a tick is half a second */
    peer_expect(p, FRAME_PING);
    Wire__Ping pong = WIRE__PING__INIT;
    peer_send(p, FRAME_PONG, &pong.base);
    fixture_run(f, 5700000);
    peer_expect(p, FRAME_PING);
    peer_expect_nothing(p);
    fixture_run(f, 10500000);
    peer_expect_error(p, WIRE_CRIER_ETIMEDOUT);
    fixture_destroy(f);
}

Test(handshake, any_byte_counts_as_life)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    for (int i = 0; i < 20; i++) {
        fixture_run(f, 4000000);
        fixture_turn(f);
        core_connection_received(p->connection);
    }
    peer_expect_nothing(p);
    cr_assert_not(p->closing);
    fixture_destroy(f);
}

/* A machine that sleeps, a process that is stopped: what peers have said meanwhile is read after the clock is. */
Test(handshake, a_broker_that_stood_still_calls_nobody_silent_before_it_has_read)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f), *silent = peer_welcome(f);
    fixture_run(f, 1000000);
    f->mono_us += 60000000;
    f->wall_us += 60000000;
    fixture_turn(f);
    peer_expect_nothing(p);
    core_connection_received(p->connection);
    fixture_run(f, 1000000);
    cr_assert_not(p->closing);
    peer_expect_error(silent, WIRE_CRIER_ETIMEDOUT);
    fixture_destroy(f);
}

Test(handshake, ping_is_answered_with_its_nonce)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    Wire__Ping ping = WIRE__PING__INIT;
    ping.nonce = 0x0123456789abcdef;
    peer_send(p, FRAME_PING, &ping.base);
    fixture_turn(f);
    cr_assert_eq(((const Wire__Ping *)peer_expect(p, FRAME_PONG))->nonce, ping.nonce);
    fixture_destroy(f);
}

Test(handshake, an_error_from_the_client_ends_the_connection)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    Wire__Error error = WIRE__ERROR__INIT;
    error.code = WIRE_CRIER_EPROTO;
    error.text = (char *)"I have had enough";
    peer_send(p, FRAME_ERROR, &error.base);
    fixture_turn(f);
    cr_assert(p->closing);
    cr_assert(fixture_logged(f, "SESSION-PEER-ERROR"));
    fixture_destroy(f);
}
