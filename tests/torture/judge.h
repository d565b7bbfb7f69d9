/* judge.h: the truth, and the verdict on it: everything is replayed from the broker by a new listener and compared with what
 * the producers wrote down and with what a listener that lived through it all was shown.
 *
 * Thread: the main thread, when the producers have ended. */
#ifndef CRIER_TESTS_TORTURE_JUDGE_H
#define CRIER_TESTS_TORTURE_JUDGE_H

#include "tests/torture/verdict.h"

/* listener: read from the start to the end. False: a producer left no log, or the topic could not be read; told on standard
 * error. */
bool judge(const struct producers *producers, const char *url, const struct witness *listener,
           struct verdict *ret_verdict);
void judge_print(const struct verdict *verdict); /* the offences, one line */

#endif
