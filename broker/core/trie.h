/* trie.h: names made of levels ("orders.eu.placed") and patterns over them, matched level by level.
 *
 * A pattern is a name in which a whole level may be `*` (any one level) or the last one `**` (any number of levels, also
 * none). Names that begin with '$' are reserved and matched by no pattern that begins with a wildcard.
 *
 * The same tree holds either: a trie of patterns is asked which of them match a name (trie_match_name), a trie of names
 * which of them match a pattern (trie_match_pattern). Both cost what they find and the levels on the way, not what there
 * is. The semantics of `**` are those of EventEmitter2, the usual wildcards of Node's world.
 *
 * Pure; one thread. Items are the caller's and are linked in place; nodes are the trie's, allocated as memory.h says. */
#ifndef CRIER_BROKER_CORE_TRIE_H
#define CRIER_BROKER_CORE_TRIE_H

#include <stdbool.h>

struct trie_node;

struct trie {
    struct trie_node *root; /* NULL: empty */
};

struct trie_item {
    struct trie_node *node; /* NULL: not in a trie */
    struct trie_item *prev, *next;
};

typedef void trie_found(void *ctx, struct trie_item *item);

/* Has it a wildcard; is each where it may be, and no level empty? Whether it is a valid name otherwise is the caller's to check. */
bool trie_is_pattern(const char *text);
bool trie_pattern_valid(const char *text);

/* Several items may have the same path. */
void trie_add(struct trie *trie, const char *path, struct trie_item *item);
void trie_remove(struct trie *trie, struct trie_item *item); /* one that is in none is left alone */

/* The items of a trie of patterns whose pattern matches the name. found() must not change the trie. */
void trie_match_name(const struct trie *patterns, const char *name, trie_found *found, void *ctx);
/* The items of a trie of names that the pattern matches. found() must not change the trie. */
void trie_match_pattern(const struct trie *names, const char *pattern, trie_found *found, void *ctx);

#endif
