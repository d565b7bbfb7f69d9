/* test_murmur2.c: the answers of Kafka's own tests (clients/.../UtilsTest.java): one key, one partition, any client. */
#include "base/check.h"
#include "proto/murmur2.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

Test(murmur2, gives_kafkas_answers)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {{"21", -973932308},
                 {"foobar", -790332482},
                 {"a-little-bit-long-string", -985981536},
                 {"a-little-bit-longer-string", -1486304829},
                 {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
                 {"abc", 479470107}};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        cr_assert_eq((int32_t)murmur2(known[i].key, strlen(known[i].key)), known[i].hash, "%s", known[i].key);
}

Test(murmur2, alignment_does_not_matter)
{
    char bytes[80];
    for (int shift = 0; shift < 8; shift++) {
        memcpy(bytes + shift, "a-little-bit-longer-string", 26);
        cr_assert_eq((int32_t)murmur2(bytes + shift, 26), -1486304829);
    }
}

Test(murmur2, partition_is_the_positive_hash_modulo_the_count)
{
    cr_assert_eq(murmur2_partition("foobar", 6, 7), ((uint32_t)-790332482 & 0x7fffffff) % 7);
    cr_assert_eq(murmur2_partition("foobar", 6, 1), 0);
    cr_assert_eq(murmur2_partition("", 0, 1000), (murmur2("", 0) & 0x7fffffff) % 1000);
}

Test(murmur2, no_partitions_is_our_bug, .signal = SIGABRT)
{
    murmur2_partition("x", 1, 0);
}
