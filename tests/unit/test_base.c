/* test_base.c: the small parts of base: bytes, checks, clocks, random numbers, standard descriptors. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/standard_fds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

Test(bytes, are_read_and_written_in_their_order_at_any_alignment)
{
    uint8_t bytes[16] = {0};
    for (int shift = 0; shift < 8; shift++) {
        be32_put(bytes + shift, 0x01020304);
        cr_assert_eq(bytes[shift], 1);
        cr_assert_eq(be32_get(bytes + shift), 0x01020304);
        cr_assert_eq(le32_get(bytes + shift), 0x04030201);
        le64_put(bytes + shift, UINT64_C(0x0102030405060708));
        cr_assert_eq(bytes[shift], 8);
        cr_assert_eq(be64_get(bytes + shift), UINT64_C(0x0807060504030201));
        be16_put(bytes + shift, 0xfffe);
        cr_assert_eq(le16_get(bytes + shift), 0xfeff);
    }
}

Test(check, a_true_belief_costs_nothing_and_is_evaluated_once)
{
    int count = 0;
    CHECK(++count == 1);
    cr_assert_eq(count, 1);
}

Test(check, a_false_belief_aborts_in_every_build, .signal = SIGABRT)
{
    CHECK(1 + 1 == 3);
}

Test(clock, monotonic_time_never_goes_back)
{
    int64_t last = clock_monotonic_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_monotonic_us();
        cr_assert_geq(now, last);
        last = now;
    }
}

Test(clock, wall_time_is_microseconds_since_1970)
{
    cr_assert_gt(clock_wall_us(), INT64_C(1700000000000000)); /* November 2023 */
    cr_assert_lt(clock_wall_us(), INT64_C(7000000000000000)); /* 2191 */
}

Test(random, is_splitmix64)
{
    /* The sequence of seed 1234567 as published with the reference implementation. */
    static const uint64_t expected[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                        UINT64_C(9817491932198370423), UINT64_C(4593380528125082431),
                                        UINT64_C(16408922859458223821)};
    struct random random = random_seeded(1234567);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        cr_assert_eq(random_next(&random), expected[i]);
}

Test(random, stays_below_its_bound_and_reaches_all_of_it)
{
    struct random random = random_seeded(1);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++)
        seen[random_below(&random, 7)]++;
    for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
        cr_assert_gt(seen[i], 700);
    cr_assert_eq(random_below(&random, 1), 0);
}

Test(random, the_system_fills_all_bytes)
{
    uint8_t bytes[256], other[256];
    cr_assert_eq(random_system(bytes, sizeof(bytes)), 0);
    cr_assert_eq(random_system(other, sizeof(other)), 0);
    cr_assert_neq(memcmp(bytes, other, sizeof(bytes)), 0);
    cr_assert_eq(random_system(bytes, 0), 0);
}

/* In a child that was started with `closed` of 0, 1 and 2 closed: 0, or which expectation failed. */
static int occupied_without(unsigned closed)
{
    for (int fd = 0; fd < 3; fd++)
        if (closed & (1u << fd))
            close(fd);
    standard_fds_occupy();
    int next = open("/dev/null", O_RDONLY);
    char byte = 'x';
    if (next <= 2)
        return 1; /* a file of its own got one of the numbers */
    if ((closed & 1) && (read(0, &byte, 1) != -1 || errno != EBADF))
        return 2;
    for (int fd = 1; fd < 3; fd++)
        if ((closed & (1u << fd)) && (write(fd, &byte, 1) != -1 || errno != EBADF))
            return 3;
    return 0;
}

Test(standard_fds, are_there_whoever_started_the_program_and_fail_as_closed_ones_do)
{
    for (unsigned closed = 0; closed < 8; closed++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(occupied_without(closed));
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert_eq(status, 0, "with %u closed: %d", closed, status);
    }
}
