/* retry.h: how shared groups go on with what fails, as options of a command: for topic.c and topic_change.c. */
#ifndef CRIER_TOOLS_RETRY_H
#define CRIER_TOOLS_RETRY_H

#include "base/options.h"
#include "crier/crier.h"

#include <stddef.h>

struct retry_options {
    struct retry_number {
        bool given;
        uint32_t value; /* as in crier_retry */
    } first_ms, max_ms, deliveries;
    const char *dead_letter; /* NULL: not given; "": the default */
};

int option_retry_delay(void *target, const char *text, char *error, size_t error_size);
int option_deliveries(void *target, const char *text, char *error, size_t error_size);

#define RETRY_ROWS(type, field)                                                                              \
    {"retry-delay",                                                                                          \
     0,                                                                                                      \
     NULL,                                                                                                   \
     "DURATION|default",                                                                                     \
     NULL,                                                                                                   \
     "Shared groups: until what failed comes again; it doubles each time. Default: 1s.",                     \
     option_retry_delay,                                                                                     \
     offsetof(type, field) + offsetof(struct retry_options, first_ms)},                                      \
        {"retry-delay-max",                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "DURATION|default",                                                                                 \
         NULL,                                                                                               \
         "The same: it grows no further. Default: 60s.",                                                     \
         option_retry_delay,                                                                                 \
         offsetof(type, field) + offsetof(struct retry_options, max_ms)},                                    \
        {"deliveries",                                                                                       \
         0,                                                                                                  \
         NULL,                                                                                               \
         "N|default",                                                                                        \
         NULL,                                                                                               \
         "The same: after so many it is a dead letter. Default: 5.",                                         \
         option_deliveries,                                                                                  \
         offsetof(type, field) + offsetof(struct retry_options, deliveries)},                                \
    {                                                                                                        \
        "dead-letter", 0, NULL, "TOPIC", NULL,                                                               \
            "The same: the topic that it goes to then. Default, or '': $dead. and the topic's name.",        \
            options_string, offsetof(type, field) + offsetof(struct retry_options, dead_letter)              \
    }

struct crier_retry retry_of(const struct retry_options *options);
/* Says why a topic was refused that names another for its dead letters; returns the exit status. */
int retry_refused(const char *topic, const char *dead_letter);
unsigned retry_set(const struct retry_options *options); /* CRIER_SET_... of those given */

#endif
