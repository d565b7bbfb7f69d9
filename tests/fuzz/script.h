/* script.h: a fuzz input as a script: numbers and byte strings, one after the other, with zeros behind the end.
 *
 * A target that runs a protocol reads what to do next from it, so that every input means something and a mutation changes
 * one step. */
#ifndef CRIER_TESTS_FUZZ_SCRIPT_H
#define CRIER_TESTS_FUZZ_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct script {
    const uint8_t *at;
    size_t left;
};

static inline bool script_over(const struct script *script)
{
    return script->left == 0;
}

static inline uint8_t script_u8(struct script *script)
{
    if (!script->left)
        return 0;
    script->left--;
    return *script->at++;
}

static inline uint32_t script_u16(struct script *script)
{
    uint32_t high = script_u8(script);
    return high << 8 | script_u8(script);
}

/* So many bytes, or what is left. Borrowed from the input. */
static inline const uint8_t *script_bytes(struct script *script, size_t size, size_t *ret_size)
{
    const uint8_t *bytes = script->at;
    *ret_size = size < script->left ? size : script->left;
    script->at += *ret_size;
    script->left -= *ret_size;
    return bytes;
}

#endif
