/* topic_name.c: what a topic may be called, and what a pattern. See topic_name.h. */
#include "client/topic_name.h"

#include "crier/crier.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes of the UTF-8 sequence at `at` (shortest form, no surrogates, up to U+10FFFF), or 0. */
static size_t utf8_size(const unsigned char *at)
{
    unsigned char first = at[0], low = 0x80, high = 0xbf;
    size_t size;

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        size = 2;
    else if (first >= 0xe0 && first <= 0xef)
        size = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        size = 4;
    else
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (at[i] < 0x80 || at[i] > 0xbf) /* the NUL at the end stops this too */
            return 0;
    return size;
}

bool text_is_valid(const char *text, unsigned size_max)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t step;

    for (; *at; at += step)
        if (*at < 0x20 || *at == 0x7f || (step = utf8_size(at)) == 0)
            return false;
    size_t size = (size_t)(at - (const unsigned char *)text);
    return size > 0 && size <= size_max;
}

/* UTF-8 without blanks, no level empty. */
static bool levels_are_valid(const char *name)
{
    if (!name || !text_is_valid(name, CRIER_TOPIC_NAME_MAX))
        return false;
    return name[0] != '.' && name[strlen(name) - 1] != '.' && !strchr(name, ' ') && !strstr(name, "..");
}

bool topic_is_pattern(const char *text)
{
    return text[0] != '$' && strchr(text, '*') != NULL;
}

bool topic_pattern_is_valid(const char *pattern)
{
    if (!levels_are_valid(pattern) || pattern[0] == '$')
        return false;
    for (const char *level = pattern; *level; level += strspn(level, ".")) {
        size_t size = strcspn(level, ".");
        bool any = size == 1, rest = size == 2 && level[1] == '*' && level[2] == '\0';
        if (memchr(level, '*', size) && !(level[0] == '*' && (any || rest)))
            return false;
        level += size;
    }
    return true;
}

const char *topic_name_local(const char *name)
{
    static const char *const local[] = {"error", "newListener", "removeListener", CRIER_ERROR_MONITOR,
                                        CRIER_WARNING};

    for (size_t i = 0; name && i < sizeof(local) / sizeof(local[0]); i++)
        if (strcmp(name, local[i]) == 0)
            return local[i];
    return NULL;
}

bool topic_name_is_local(const char *name)
{
    return topic_name_local(name) != NULL;
}

bool topic_name_is_valid(const char *name)
{
    if (!levels_are_valid(name) || name[0] == '$' || topic_is_pattern(name))
        return false;
    return !topic_name_is_local(name);
}

#define DEAD_PREFIX "$dead."

bool topic_name_is_readable(const char *name)
{
    size_t prefix = sizeof(DEAD_PREFIX) - 1;

    if (!name || strncmp(name, DEAD_PREFIX, prefix) != 0)
        return topic_name_is_valid(name);
    return levels_are_valid(name) && topic_name_is_valid(name + prefix);
}

bool topic_name_dead_letter(const char *name, char *ret_name)
{
    size_t prefix = sizeof(DEAD_PREFIX) - 1, size = strlen(name) + 1;

    if (prefix + size > CRIER_TOPIC_NAME_MAX + 1)
        return false;
    memcpy(ret_name, DEAD_PREFIX, prefix);
    memcpy(ret_name + prefix, name, size);
    return true;
}

#define PRESENCE_PREFIX "$presence."

bool topic_name_is_presence(const char *name)
{
    size_t prefix = sizeof(PRESENCE_PREFIX) - 1;

    if (!name || strncmp(name, PRESENCE_PREFIX, prefix) != 0 || strlen(name) > CRIER_TOPIC_NAME_MAX)
        return false;
    name += prefix;
    return topic_is_pattern(name) ? topic_pattern_is_valid(name) : topic_name_is_readable(name);
}

#define INBOX_PREFIX "$inbox."
#define INBOX_DIGITS 15

bool topic_name_is_inbox(const char *name)
{
    size_t prefix = sizeof(INBOX_PREFIX) - 1;

    if (!name || strncmp(name, INBOX_PREFIX, prefix) != 0)
        return false;
    return strspn(name + prefix, "0123456789abcdef") == INBOX_DIGITS && strlen(name) == prefix + INBOX_DIGITS;
}

uint64_t topic_name_inbox_id(const char *name)
{
    return strtoull(name + sizeof(INBOX_PREFIX) - 1, NULL, 16) | UINT64_C(1) << 63;
}

void topic_name_inbox_make(char name[INBOX_NAME_SIZE], uint64_t random)
{
    snprintf(name, INBOX_NAME_SIZE, INBOX_PREFIX "%015llx", (unsigned long long)(random >> 4));
}

char *text_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);

    return copy ? memcpy(copy, text, size) : NULL;
}
