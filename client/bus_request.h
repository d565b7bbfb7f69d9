/* bus_request.h: a blocking question on its way to the I/O thread and back: between bus_request.c and bus_group.c. */
#ifndef CRIER_CLIENT_BUS_REQUEST_H
#define CRIER_CLIENT_BUS_REQUEST_H

#include "client/bus_internal.h"

enum bus_request_kind {
    BUS_TOPIC_CREATE,
    BUS_TOPIC_DESCRIBE,
    BUS_TOPIC_LIST,
    BUS_TOPIC_ALTER,
    BUS_TOPIC_DELETE,
    BUS_TOPIC_TRIM,
    BUS_GROUP_LIST,
    BUS_GROUP_DESCRIBE,
    BUS_GROUP_SEEK,
    BUS_GROUP_DELETE,
    BUS_PING,
    BUS_INSPECT,
    BUS_SCHEDULE_CANCEL,
    BUS_SCHEDULE_LIST,
    BUS_REDRIVE
};

struct topic_copy {
    struct crier_topic_info info; /* name and partitions: malloc'ed */
};

struct group_copy; /* bus_group.c */

struct bus_request {
    struct bus_request *next;
    crier *bus;
    enum bus_request_kind kind;
    char *name;  /* of the topic, or the group */
    char *topic; /* the group's topic; NULL: not asked */
    struct crier_topic_options options;
    bool has_options;
    struct crier_topic_changes changes;
    char *dead_letter; /* of options or changes, whose own it is; NULL: none */
    struct crier_topic_trim_options trim;
    struct crier_group_seek_options seek;
    struct crier_inspection inspection;
    crier_schedule schedule; /* CANCEL; LIST: after which */
    uint32_t count_max;
    uint64_t limit;           /* REDRIVE */
    uint64_t moved;           /* the same: the answer */
    crier_canceled *canceled; /* nobody waits: this is told, and the request freed; NULL: somebody does */
    void *ctx;                /* for it */
    /* under bus.lock */
    bool answered;
    bool abandoned; /* nobody waits any more */
    int code;
    int64_t answered_us;
    struct topic_copy *topics;
    size_t topic_count, topic_capacity;
    struct group_copy *groups;
    size_t group_count, group_capacity;
    struct crier_inspected inspected;      /* its pointers: malloc'ed */
    struct crier_schedule_info *schedules; /* topics: malloc'ed */
    size_t schedule_count, schedule_capacity;
    uint64_t schedules_pending;
};

/* ---- bus_request.c ---- */

/* name: copied, NULL: none. NULL: no memory. */
struct bus_request *bus_request_make(crier *bus, enum bus_request_kind kind, const char *name);
/* Asks and waits. On 0 the answer is in the request, which the caller frees; taken on failure. */
int bus_request_run(crier *bus, struct bus_request *request);
void bus_request_free(struct bus_request *request);
/* *name, in the request's options or changes, is the caller's: it becomes a copy. False: no memory; the request is freed. */
bool bus_request_dead_letter(struct bus_request *request, const char **name);

/* The same without waiting: the request frees itself. 0, or an error: it is freed. */
int bus_request_begin(crier *bus, struct bus_request *request);

/* ---- bus_schedule.c ---- */

bool schedule_keep(struct bus_request *request,
                   const struct crier_schedule_info *info); /* false: no memory */
void schedule_copies_free(struct bus_request *request);

/* ---- bus_inspect.c ---- */

bool inspected_keep(struct bus_request *request,
                    const struct crier_inspected *inspected); /* false: no memory */
void inspected_free(struct crier_inspected *inspected);

/* ---- bus_group.c ---- */

/* I/O thread: keeps a copy; further partitions of the group that was kept last are added to it. false: no memory. */
bool group_keep(struct bus_request *request, const struct crier_group_info *info);
void groups_free(struct group_copy *groups, size_t count);

#endif
