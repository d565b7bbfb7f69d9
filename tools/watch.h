/* watch.h: how verify, backup and restore tell people what they find: faults with their topics, progress, the way back.
 *
 * Thread: main. */
#ifndef CRIER_TOOLS_WATCH_H
#define CRIER_TOOLS_WATCH_H

#include "storage/offline.h"

struct topic_names;

struct watch {
    struct topic_names *names; /* may be NULL: partitions are told by number */
    bool progress;             /* standard error is a terminal */
    int percent;               /* shown last */
};

/* Reads the names in the folder's state; a folder whose state cannot be read, or NULL, has none. */
struct watch watch_create(const char *folder);
void watch_finish(struct watch *watch);
struct offline_watch watch_of(struct watch *watch); /* borrowed by what it is given to */

/* "12 segments, 34,567 entries, 1.2 GB" on standard output, without the end of the line. */
void watch_print_summary(const struct offline_summary *summary);

#endif
