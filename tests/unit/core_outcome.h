/* core_outcome.h: what an emit's answer is expected to be; for tests that use core_fixture.h. */
#ifndef CRIER_TESTS_CORE_OUTCOME_H
#define CRIER_TESTS_CORE_OUTCOME_H

#include "tests/unit/core_fixture.h"

#include <criterion/criterion.h>

static inline void assert_stored(struct outcome outcome, int64_t base_offset)
{
    cr_assert_eq(outcome.outcome, WIRE__OUTCOME__OK, "expected stored, got %s", error_name(outcome.code));
    cr_assert_eq(outcome.base_offset, base_offset, "expected offset %lld, got %lld", (long long)base_offset,
                 (long long)outcome.base_offset);
    cr_assert_not(outcome.duplicate);
}

static inline void assert_duplicate(struct outcome outcome, int64_t base_offset)
{
    cr_assert_eq(outcome.outcome, WIRE__OUTCOME__OK, "expected a duplicate, got %s",
                 error_name(outcome.code));
    cr_assert(outcome.duplicate, "expected a duplicate, got stored at %lld", (long long)outcome.base_offset);
    cr_assert_eq(outcome.base_offset, base_offset);
}

static inline void assert_refused(struct outcome outcome, int code)
{
    cr_assert_eq(outcome.outcome, WIRE__OUTCOME__REFUSED, "expected refused, got outcome %d",
                 outcome.outcome);
    cr_assert_eq(outcome.code, code, "expected %s, got %s", error_name(code), error_name(outcome.code));
    cr_assert_eq(outcome.base_offset, -1);
}

static inline void assert_unknown(struct outcome outcome)
{
    cr_assert_eq(outcome.outcome, WIRE__OUTCOME__UNKNOWN, "expected unknown, got outcome %d, %s",
                 outcome.outcome, error_name(outcome.code));
    cr_assert_eq(outcome.code, WIRE_CRIER_EIO);
    cr_assert_eq(outcome.base_offset, -1);
}

#endif
