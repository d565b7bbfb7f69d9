/* topic_name.h: what a topic may be called, and texts in general. The broker checks the same; here the caller hears of it
 * at once.
 * Pure; any thread. */
#ifndef CRIER_CLIENT_TOPIC_NAME_H
#define CRIER_CLIENT_TOPIC_NAME_H

#include <stdbool.h>
#include <stdint.h>

/* 1..255 bytes of UTF-8 without control characters, blanks or '*', levels split by single dots, no leading '$', and none
 * of the names that are local to a bus. */
bool topic_name_is_valid(const char *name);
/* The same, or where a topic's dead letters go: "$dead." and its name. */
bool topic_name_is_readable(const char *name);
/* Where a topic's dead letters go if it does not say; CRIER_TOPIC_NAME_MAX + 1 bytes. false: that is no name any more. */
bool topic_name_dead_letter(const char *name, char *ret_name);
bool topic_name_is_local(const char *name);     /* one of those; NULL: no */
const char *topic_name_local(const char *name); /* the same name, static; NULL: it is none */
/* Has it a wildcard? */
bool topic_is_pattern(const char *text);
/* As a topic name, but a whole level may be `*` (any one level), or the last one `**` (any number of levels, also none). */
bool topic_pattern_is_valid(const char *pattern);
/* For a group or the bus itself: 1..size_max bytes of UTF-8 without control characters. */
bool text_is_valid(const char *text, unsigned size_max);
/* "$presence." and a topic's name, or a pattern: who listens. No pattern itself. */
bool topic_name_is_presence(const char *name);
/* Where replies go: "$inbox." and fifteen hexadecimal digits; and its partition. */
#define INBOX_NAME_SIZE 23 /* with the NUL */
bool topic_name_is_inbox(const char *name);
uint64_t topic_name_inbox_id(const char *name);
void topic_name_inbox_make(char name[INBOX_NAME_SIZE], uint64_t random);
char *text_copy(const char *text); /* malloc'ed; NULL: no memory */

#endif
