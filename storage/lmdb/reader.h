/* reader.h: a thread that reads batches back from any segment, and finds offsets by time.
 *
 * Thread:  its own; reader_read and reader_lookup are the owner's and never wait.
 * Owner:   an accepted request is the reader's until it is posted to the completions; the batches in it then are the
 *          owner's, each with a reference to its buffer. */
#ifndef CRIER_STORAGE_LMDB_READER_H
#define CRIER_STORAGE_LMDB_READER_H

#include "base/queue.h"
#include "storage/lmdb/segment.h"

#define READER_HINTS 64

struct reader {
    /* set before start */
    struct segments *segments;
    struct health *health;
    struct completions *completions;
    unsigned read_tag, lookup_tag; /* the weights of queued and finished requests */
    /* its own */
    struct queue *queue;
    pthread_t thread;
    bool running;
    struct buffer_pool *pool; /* of READER_BUFFER_SIZE */
    struct buffer *buffer;    /* being filled for the request at hand, or NULL */
    size_t filled;
    uint8_t *scratch; /* entries shared with other partitions; made when first needed */
    struct reader_hint {
        uint64_t partition, first_index; /* of the segment that its last read was in; 0: none */
    } hints[READER_HINTS];               /* by partition */
};

/* Four whole entries with their headers: a replay copies each byte once. */
#define READER_BUFFER_SIZE  ((1u << 20) + (16u << 10))
#define READER_BUFFERS_KEPT 4

int reader_init(struct reader *reader, unsigned queue_max); /* 0 or STORE_ENOMEM; after the fields were set */
int reader_start(struct reader *reader);
int reader_read(struct reader *reader, struct store_read *read);       /* 0 or STORE_EAGAIN */
int reader_lookup(struct reader *reader, struct store_lookup *lookup); /* 0 or STORE_EAGAIN */
void reader_stop(struct reader *reader); /* answers what is queued, ends the thread */
void reader_finish(struct reader *reader);

#endif
