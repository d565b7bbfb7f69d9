/* fuzz.h: what a fuzz target, the corpus generator and the replay test share.
 *
 * A target is one file with LLVMFuzzerTestOneInput() in it: bytes in, and an abort (CHECK) if a promise does not hold. It is linked
 * with libFuzzer (CRIER_FUZZ, clang) to search, and with replay.c in every build to keep what was found. */
#ifndef CRIER_TESTS_FUZZ_H
#define CRIER_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define SEED_SIZE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Valid inputs of every kind, the same on every machine. Writes seed `number` to `to`; returns its size, 0: no such one. */
size_t seed_frame(unsigned number, uint8_t to[SEED_SIZE_MAX]);
size_t seed_batch(unsigned number, uint8_t to[SEED_SIZE_MAX]);

#endif
