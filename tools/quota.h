/* quota.h: how much may be emitted to a topic in a second, as options of a command and as text: for topic.c and topic_change.c. */
#ifndef CRIER_TOOLS_QUOTA_H
#define CRIER_TOOLS_QUOTA_H

#include "base/options.h"
#include "crier/crier.h"

#include <stddef.h>

struct quota_options {
    struct quota_limit {
        bool given;
        uint64_t value; /* as in crier_quota */
    } events, bytes;
};

int option_quota(void *target, const char *text, char *error, size_t error_size);

#define QUOTA_ROWS(type, field)                                                                              \
    {"events-max", 0,                                                                                        \
     NULL,         "N|none|default",                                                                         \
     NULL,         "Events a second that may be emitted to it. Default: the broker's topic-events-max.",     \
     option_quota, offsetof(type, field) + offsetof(struct quota_options, events)},                          \
    {                                                                                                        \
        "bytes-max", 0, NULL, "SIZE|none|default", NULL,                                                     \
            "Bytes a second, as batches. Default: the broker's topic-bytes-max.", option_quota,              \
            offsetof(type, field) + offsetof(struct quota_options, bytes)                                    \
    }

struct crier_quota quota_of(const struct quota_options *options);
unsigned quota_set(const struct quota_options *options); /* CRIER_SET_... of those given */

#define QUOTA_TEXT_SIZE 96
/* "as the broker says"; "1,000 events a second, any number of bytes" */
const char *quota_text(const struct crier_quota *quota, char to[QUOTA_TEXT_SIZE]);

#endif
