/* check.h: assertions that stay on in release builds.
 *
 * CHECK(x) states what only a bug of ours could break; a failure prints the place and aborts, because going on
 * with a broken belief is how acknowledged data gets lost. What a peer, a disk or a user can cause is never
 * CHECKed: it is an error with a code. */
#ifndef CRIER_BASE_CHECK_H
#define CRIER_BASE_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *function, const char *expression);

#define CHECK(expression)                                                                                    \
    do {                                                                                                     \
        if (__builtin_expect(!(expression), 0))                                                              \
            check_failed(__FILE__, __LINE__, __func__, #expression);                                         \
    } while (0)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
