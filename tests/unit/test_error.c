/* test_error.c: the wire's table and the public header say the same, and every code has a name and a text. */
#include "base/check.h"
#include "client/include/crier/crier.h"
#include "proto/error.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *name;
    int wire, public;
} both[] = {
#define BOTH(name, number, retriable, text) {#name, WIRE_##name, name},
    ERROR_MAP(BOTH)
#undef BOTH
};

Test(error, the_wire_and_the_public_header_use_the_same_numbers)
{
    for (size_t i = 0; i < ARRAY_SIZE(both); i++)
        cr_assert_eq(both[i].wire, both[i].public, "%s", both[i].name);
}

/* A code added to the public header and not to the table has no text here. */
Test(error, the_table_has_every_public_code)
{
    for (int code = CRIER_EOFFSET; code < CRIER_OK; code++)
        cr_assert_str_neq(error_name(code), "CRIER_E?", "%d", code);
    for (int code = CRIER_ENOLISTENER; code < CRIER_EOFFSET; code++)
        cr_assert_str_neq(error_name(code), "CRIER_E?", "%d", code);
    for (int code = CRIER_EQUOTA; code > CRIER_ENOSCHEDULE; code--) /* one is not given out yet */
        if (code != CRIER_EREVOKED && code != CRIER_EQUOTA)
            cr_assert_str_eq(error_name(code), "CRIER_E?", "%d: a newer code: have it in this test", code);
    cr_assert_str_neq(error_name(CRIER_EQUOTA), "CRIER_E?");
    cr_assert_str_neq(error_name(CRIER_EREVOKED), "CRIER_E?");
    cr_assert_str_neq(error_name(CRIER_ENOSCHEDULE), "CRIER_E?");
    cr_assert_str_eq(error_name(CRIER_ENOSCHEDULE - 1), "CRIER_E?", "a newer code: move this test's end");
}

Test(error, names_are_those_of_the_enum)
{
    for (size_t i = 0; i < ARRAY_SIZE(both); i++)
        cr_assert_str_eq(error_name(both[i].wire), both[i].name);
    cr_assert_str_eq(error_name(0), "CRIER_OK");
}

Test(error, texts_are_there_and_differ)
{
    cr_assert_str_eq(error_text(0), "ok");
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        cr_assert_gt(strlen(error_text(both[i].wire)), 5);
        for (size_t k = 0; k < i; k++)
            cr_assert_str_neq(error_text(both[i].wire), error_text(both[k].wire));
    }
}

Test(error, an_unknown_code_is_a_text_too)
{
    cr_assert_not_null(error_text(-12345));
    cr_assert_not_null(error_text(7));
    cr_assert_not(error_retriable(-12345));
}

Test(error, retriable_is_what_may_succeed_later_as_it_is)
{
    cr_assert(error_retriable(CRIER_EFULL));
    cr_assert(error_retriable(CRIER_EAGAIN));
    cr_assert(error_retriable(CRIER_EQUOTA));
    cr_assert_not(error_retriable(CRIER_ETOOBIG));
    cr_assert_not(error_retriable(CRIER_EUNKNOWN));
    cr_assert_not(error_retriable(0));
}
