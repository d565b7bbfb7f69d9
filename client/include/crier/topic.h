/* topic.h: topics altered, trimmed and deleted. Included by crier.h; the rules stated there (threads, blocking, errors) hold.
 *
 * What is gone is gone for every listener. Those that had not heard it are told of the gap: an event on "error", and
 * crier_stats.skipped. */
#ifndef CRIER_TOPIC_H
#define CRIER_TOPIC_H

#include "crier.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which settings of a topic are to change: the bits of crier_topic_changes.set. */
#define CRIER_SET_DURABILITY      1u
#define CRIER_SET_RETENTION_TIME  2u
#define CRIER_SET_RETENTION_BYTES 4u
#define CRIER_SET_RETENTION_COUNT 8u
#define CRIER_SET_UNTIL_CONSUMED  16u
#define CRIER_SET_EVENTS_MAX      256u
#define CRIER_SET_BYTES_MAX       512u
#define CRIER_SET_MAX_LISTENERS   1024u
#define CRIER_SET_RETRY           65536u /* all of crier_retry, and dead_letter; one by one: */
#define CRIER_SET_RETRY_FIRST     131072u
#define CRIER_SET_RETRY_MAX       262144u
#define CRIER_SET_DELIVERIES      524288u
#define CRIER_SET_DEAD_LETTER     1048576u
/** How a topic is to change; what `set` does not name stays. */
struct crier_topic_changes {
    size_t struct_size;               /* sizeof(struct crier_topic_changes) */
    unsigned set;                     /* CRIER_SET_... */
    enum crier_durability durability; /* with CRIER_SET_DURABILITY: suggested to emitters */
    struct crier_retention retention; /* of it what is set */
    struct crier_retry retry;         /* of it what is set */
    struct crier_quota quota;         /* of it what is set; also of an ephemeral topic */
    uint32_t max_listeners;           /* with CRIER_SET_MAX_LISTENERS; the same */
    /* With CRIER_SET_DEAD_LETTER or CRIER_SET_RETRY: as in crier_topic_options; NULL, or "": the default again */
    const char *dead_letter;
};

/** Change a topic's settings. 0, CRIER_ENOTOPIC, CRIER_EINVAL (they contradict each other), ... Blocking. changes: borrowed. */
CRIER_API int crier_topic_alter(crier *bus, const char *name, const struct crier_topic_changes *changes);
/** Delete a topic, its events and groups' positions in it; its listeners end with CRIER_ENOTOPIC. Its name can be taken anew
 *  at once. 0, CRIER_ENOTOPIC, ... Blocking. */
CRIER_API int crier_topic_delete(crier *bus, const char *name);

/** What of a topic is to go. */
struct crier_topic_trim_options {
    size_t struct_size; /* set by crier_topic_trim_options_default() */
    int32_t partition;  /* 0-based within the topic; default -1: each */
    uint64_t offset;    /* what is below goes; default UINT64_MAX: everything there is now */
    int64_t time_us;    /* not 0: what was appended before this goes instead; microseconds since 1970 UTC */
};

static inline struct crier_topic_trim_options crier_topic_trim_options_default(void)
{
    struct crier_topic_trim_options options = {sizeof(options), -1, UINT64_MAX, 0};
    return options;
}

/** Remove a topic's oldest events; who had not heard them is told ("error", crier_stats.skipped). 0, CRIER_ENOTOPIC,
 *  CRIER_EINVAL (no such partition), ... Blocking. options: borrowed, NULL: defaults. */
CRIER_API int crier_topic_trim(crier *bus, const char *name, const struct crier_topic_trim_options *options);
/** The broker's clock is right: after a leap of over five minutes nothing goes for its age until this. 0, ... Blocking. */
CRIER_API int crier_confirm_time(crier *bus);

#ifdef __cplusplus
}
#endif

#endif
