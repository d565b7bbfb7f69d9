/* inspect.h: the broker's files: what `crier verify` and `crier backup` ask a broker that runs. Included by crier.h; the rules stated
 * there (threads, blocking, errors) hold. */
#ifndef CRIER_INSPECT_H
#define CRIER_INSPECT_H

#include "crier.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What to do with the files. */
enum crier_inspect_what {
    CRIER_INSPECT_SCAN = 0, /* check the next segment of the log after number `after` */
    CRIER_INSPECT_LIST = 1, /* the same, without looking into it */
    CRIER_INSPECT_SEAL = 2, /* keep a copy of the state, and let the log go on in a new segment */
    CRIER_INSPECT_READ = 3  /* bytes of a file */
};
/* Which file CRIER_INSPECT_READ reads. */
enum crier_inspect_file { CRIER_FILE_STATE = 0, CRIER_FILE_SEGMENT = 1, CRIER_FILE_INDEX = 2 };

/* What crier_inspect() is asked for. */
struct crier_inspection {
    size_t struct_size;           /* sizeof(struct crier_inspection) */
    enum crier_inspect_what what; /* what to do */
    uint64_t after;               /* SCAN, LIST: 0 for the first */
    enum crier_inspect_file file; /* READ, and what follows */
    uint64_t number;              /* of the segment; of the state: its index */
    uint32_t generation;          /* of the segment */
    uint64_t position;            /* in the file, in bytes */
    uint32_t size;                /* in bytes; all of it must be there; at most 1 MiB */
};

/* Something that is wrong with a segment. */
struct crier_inspect_fault {
    uint64_t first_index; /* of the log's entries it is about ... */
    uint64_t last_index;  /* ... and the last one */
    const char *topic;    /* NULL: not known */
    uint32_t partition;   /* 0-based within the topic */
    uint64_t offset;      /* of the first event it is about */
    const char *what;     /* in words */
};

/* The answer. Borrowed, with everything it points to. */
struct crier_inspected {
    bool found;                              /* SCAN, LIST: there was a segment */
    uint64_t number;                         /* of the segment */
    uint32_t generation;                     /* of the segment */
    bool sealed;                             /* it will never change */
    uint64_t first_index;                    /* of its entries */
    uint64_t last_index;                     /* of its entries */
    int64_t first_time_us;                   /* when its first entry was appended, since 1970 UTC */
    int64_t last_time_us;                    /* and its last one */
    uint64_t size;                           /* of its data file, in bytes */
    uint64_t index_size;                     /* of its index file, in bytes */
    uint64_t segments;                       /* in all */
    uint64_t segments_left;                  /* after this one */
    uint64_t entries;                        /* SCAN: good ones */
    uint64_t faults;                         /* SCAN: how many */
    const struct crier_inspect_fault *fault; /* the first fault_count of them */
    size_t fault_count;                      /* as many as are told */
    uint64_t state_index;                    /* SEAL: of the copy */
    uint64_t state_size;                     /* SEAL: of the copy, in bytes */
    uint8_t cluster_id[16];                  /* of the data folder */
    uint32_t node_id;                        /* of the data folder */
    int64_t created_us;                      /* the data folder, since 1970 UTC */
    const uint8_t *bytes;                    /* READ */
    size_t byte_count;                       /* of bytes */
};

/** Calls answer(ctx, inspected) once; inspected is borrowed for the call. inspection: borrowed.
 *  0, CRIER_EAGAIN (busy, or the file is gone meanwhile: begin again), CRIER_ENOTSUP, CRIER_ETIMEDOUT, ... Blocking. */
CRIER_API int crier_inspect(crier *bus, const struct crier_inspection *inspection,
                            void (*answer)(void *ctx, const struct crier_inspected *inspected), void *ctx);

#ifdef __cplusplus
}
#endif

#endif
