/* retention.h: what a topic keeps, as options of a command and as text: for topic.c and topic_change.c. */
#ifndef CRIER_TOOLS_RETENTION_H
#define CRIER_TOOLS_RETENTION_H

#include "base/options.h"
#include "crier/crier.h"

#include <stddef.h>

/* Values as given; UINT64_MAX or -1: not given (retention_options_none). */
struct retention_options {
    struct retention_limit {
        bool given;
        uint64_t value; /* 0: no limit */
    } time_us, bytes, count;
    bool until_consumed, until_removed;
};

int option_limit_time(void *target, const char *text, char *error, size_t error_size);
int option_limit_size(void *target, const char *text, char *error, size_t error_size);
int option_limit_count(void *target, const char *text, char *error, size_t error_size);

#define RETENTION_ROWS(type, field)                                                                          \
    {"retention-time",                                                                                       \
     0,                                                                                                      \
     NULL,                                                                                                   \
     "DURATION|none",                                                                                        \
     NULL,                                                                                                   \
     "Events go when they are older.",                                                                       \
     option_limit_time,                                                                                      \
     offsetof(type, field) + offsetof(struct retention_options, time_us)},                                   \
        {"retention-bytes",                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "SIZE|none",                                                                                        \
         NULL,                                                                                               \
         "The oldest go when a partition has more.",                                                         \
         option_limit_size,                                                                                  \
         offsetof(type, field) + offsetof(struct retention_options, bytes)},                                 \
        {"retention-count",                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "N|none",                                                                                           \
         NULL,                                                                                               \
         "The oldest go when a partition has more events.",                                                  \
         option_limit_count,                                                                                 \
         offsetof(type, field) + offsetof(struct retention_options, count)},                                 \
    {                                                                                                        \
        "retain-until-consumed", 0, NULL, NULL, NULL, "Events go once every group is past them.",            \
            options_flag, offsetof(type, field) + offsetof(struct retention_options, until_consumed)         \
    }

#define RETENTION_CONFLICT "--retain-until-consumed excludes the other limits"
bool retention_options_valid(const struct retention_options *options);
struct crier_retention retention_of(const struct retention_options *options);
unsigned retention_set(const struct retention_options *options); /* CRIER_SET_... of those given */

#define RETENTION_TEXT_SIZE 160
/* "everything"; "24 h, 10.0 GB a partition" */
const char *retention_text(const struct crier_retention *retention, char to[RETENTION_TEXT_SIZE]);

#endif
