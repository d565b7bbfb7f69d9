/* trie.c: names and patterns, level by level. See trie.h.
 *
 * A node is a level; its children are found by a hash of their text (table.h), so a level with 100,000 names costs as much as one
 * with two. Recursion goes as deep as a name has levels, at most 128.
 *
 * Happy path:  trie_add makes the nodes on the way; trie_remove takes those away that nobody needs any more. */
#include "broker/core/trie.h"

#include "broker/core/memory.h"
#include "broker/core/table.h"

struct trie_node {
    struct trie_node *parent;
    struct table children; /* by level */
    struct trie_item *items;
    size_t level_size;
    char level[];
};

/* The first level of the path: its size. *ret_rest: what follows, NULL if it was the last. */
static size_t level_split(const char *path, const char **ret_rest)
{
    size_t size = strcspn(path, ".");
    *ret_rest = path[size] ? path + size + 1 : NULL;
    return size;
}

static bool is_any(const char *level, size_t size)
{
    return size == 1 && level[0] == '*';
}

static bool is_rest(const char *level, size_t size)
{
    return size == 2 && level[0] == '*' && level[1] == '*';
}

bool trie_is_pattern(const char *text)
{
    return strchr(text, '*') != NULL;
}

bool trie_pattern_valid(const char *text)
{
    while (text) {
        const char *rest;
        size_t size = level_split(text, &rest);
        bool wildcard = is_any(text, size) || (is_rest(text, size) && !rest);
        if (size == 0 || (!wildcard && memchr(text, '*', size)))
            return false;
        text = rest;
    }
    return true;
}

/* ---- the tree ---- */

static bool node_is(const void *node, const void *level, size_t size)
{
    const struct trie_node *self = node;
    return self->level_size == size && memcmp(self->level, level, size) == 0;
}

static struct trie_node *node_child(const struct trie_node *node, const char *level, size_t size)
{
    return table_find(&node->children, table_hash(level, size), node_is, level, size);
}

static struct trie_node *node_make(struct trie_node *parent, const char *level, size_t size)
{
    struct trie_node *node = core_alloc(sizeof(*node) + size);
    node->parent = parent;
    node->level_size = size;
    memcpy(node->level, level, size);
    if (parent)
        table_add(&parent->children, table_hash(level, size), node);
    return node;
}

void trie_add(struct trie *trie, const char *path, struct trie_item *item)
{
    CHECK(!item->node);
    if (!trie->root)
        trie->root = node_make(NULL, "", 0);
    struct trie_node *node = trie->root;
    while (path) {
        const char *rest;
        size_t size = level_split(path, &rest);
        struct trie_node *child = node_child(node, path, size);
        node = child ? child : node_make(node, path, size);
        path = rest;
    }
    item->node = node;
    DL_APPEND(node->items, item);
}

void trie_remove(struct trie *trie, struct trie_item *item)
{
    struct trie_node *node = item->node;
    if (!node)
        return;
    DL_DELETE(node->items, item);
    item->node = NULL;
    while (node && !node->items && node->children.count == 0) {
        struct trie_node *parent = node->parent;
        if (parent)
            table_remove(&parent->children, table_hash(node->level, node->level_size), node);
        else
            trie->root = NULL;
        free(node);
        node = parent;
    }
}

static void node_tell(const struct trie_node *node, trie_found *found, void *ctx)
{
    struct trie_item *item;
    DL_FOREACH (node->items, item)
        found(ctx, item);
}

/* ---- a name among patterns ---- */

/* rest: the levels of the name that are left, NULL: none. */
static void name_match(const struct trie_node *node, const char *rest, trie_found *found, void *ctx)
{
    bool reserved = !node->parent && rest[0] == '$'; /* wildcards do not stand for it */
    const struct trie_node *all = reserved ? NULL : node_child(node, "**", 2);
    if (all)
        node_tell(all, found, ctx);
    if (!rest) {
        node_tell(node, found, ctx);
        return;
    }
    const char *after;
    size_t size = level_split(rest, &after);
    const struct trie_node *any = reserved ? NULL : node_child(node, "*", 1);
    const struct trie_node *same = node_child(node, rest, size);
    if (any)
        name_match(any, after, found, ctx);
    if (same)
        name_match(same, after, found, ctx);
}

void trie_match_name(const struct trie *patterns, const char *name, trie_found *found, void *ctx)
{
    if (patterns->root)
        name_match(patterns->root, name, found, ctx);
}

/* ---- a pattern among names ---- */

static bool node_reserved(const struct trie_node *node)
{
    return !node->parent->parent && node->level[0] == '$';
}

static void subtree_tell(const struct trie_node *node, trie_found *found, void *ctx)
{
    node_tell(node, found, ctx);
    uint32_t at = 0;
    for (const struct trie_node *child; (child = table_next(&node->children, &at));)
        if (!node_reserved(child))
            subtree_tell(child, found, ctx);
}

static void pattern_match(const struct trie_node *node, const char *rest, trie_found *found, void *ctx)
{
    if (!rest) {
        node_tell(node, found, ctx);
        return;
    }
    const char *after;
    size_t size = level_split(rest, &after);
    if (is_rest(rest, size)) {
        subtree_tell(node, found, ctx);
    } else if (is_any(rest, size)) {
        uint32_t at = 0;
        for (const struct trie_node *child; (child = table_next(&node->children, &at));)
            if (!node_reserved(child))
                pattern_match(child, after, found, ctx);
    } else {
        const struct trie_node *child = node_child(node, rest, size);
        if (child)
            pattern_match(child, after, found, ctx);
    }
}

void trie_match_pattern(const struct trie *names, const char *pattern, trie_found *found, void *ctx)
{
    if (names->root)
        pattern_match(names->root, pattern, found, ctx);
}
