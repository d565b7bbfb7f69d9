/* stream_compare.c: the traces of crier's streams beside Node's. See stream_script.h. */
#include "stream_script.h"

#include <stdlib.h>
#include <string.h>

#define NODE_VERSION 20
#define OLD_SHARE    100 /* one in so many */
#define SHOWN_MAX    50  /* differences */
#define CONTEXT      120 /* characters of a trace beside one */

static void difference_print(const char *our, const char *node, uint64_t seed)
{
    size_t at = 0;

    while (our[at] == node[at])
        at++;
    size_t before = at < CONTEXT ? 0 : at - CONTEXT;
    printf("seed %llu: ... %.*s\n  crier: %.*s\n  Node:  %.*s\n", (unsigned long long)seed,
           (int)(at - before), our + before,
           (int)strcspn(our + at, "\n") < CONTEXT ? (int)strcspn(our + at, "\n") : CONTEXT, our + at,
           (int)strcspn(node + at, "\n") < CONTEXT ? (int)strcspn(node + at, "\n") : CONTEXT, node + at);
}

/* Scripts in which Node waits for ever for the DRAIN of a destination that was destroyed, while others are there (255 to 9517), or counts
 * what was read twice (3486): docs/decisions/0019-streams.md. */
static const uint64_t left_out[] = {255, 1652, 6187, 9517, 3486};

/* Node 18 tells some things in another tick than 20, whose streams crier has, and says something else when a write is through
 * before it returns. With 18 only scripts are compared in which no write is, and OLD_SHARE of them may differ. */
static bool is_left_out(uint64_t seed, int node_version)
{
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        if (left_out[i] == seed)
            return true;
    return node_version < NODE_VERSION && !script_is_late_only(seed);
}

unsigned script_compare(FILE *ours, FILE *nodes, uint64_t seed, unsigned scripts, unsigned *ret_compared)
{
    char *our = NULL, *node = NULL;
    size_t our_size = 0, node_size = 0;
    unsigned differ = 0;
    struct script script;

    if (getline(&node, &node_size, nodes) < 0)
        exit(1);
    int version = (int)strtol(node, NULL, 10);
    for (unsigned i = 0; i < scripts; i++) {
        if (getline(&our, &our_size, ours) < 0 || getline(&node, &node_size, nodes) < 0)
            exit(1);
        if (is_left_out(seed + i, version))
            continue;
        ++*ret_compared;
        if (strcmp(our, node) == 0)
            continue;
        if (differ++ < SHOWN_MAX && version >= NODE_VERSION)
            difference_print(our, node, seed + i);
        if (differ > 1 || version < NODE_VERSION)
            continue;
        script_make(&script, seed + i);
        printf("crier: %sNode:  %sscript: ", our, node);
        script_print(stdout, &script);
    }
    free(our);
    free(node);
    if (version < NODE_VERSION) {
        printf("Node %d: %u of %u scripts differ\n", version, differ, *ret_compared);
        differ = differ * OLD_SHARE > *ret_compared ? differ : 0;
    }
    return differ;
}
