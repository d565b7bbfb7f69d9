/* reader_entry.h: what a reader gets out of one entry.
 *
 * Thread: the reader's. Entries lie in the map (small ones, good until the transaction ends) or in the file. */
#ifndef CRIER_STORAGE_LMDB_READER_ENTRY_H
#define CRIER_STORAGE_LMDB_READER_ENTRY_H

#include "storage/entry.h"
#include "storage/lmdb/reader.h"

/* One store_read under way. */
struct read_job {
    struct reader *reader;
    struct store_read *read;
    uint64_t at;     /* the next offset wanted */
    size_t gathered; /* of read->offsets: those below `at` */
    size_t bytes;    /* of the batches so far */
    size_t expected; /* bytes still to come, about: how large a new buffer should be */
};

bool read_job_done(const struct read_job *job);
/* Nothing below is there, or wanted: on to the next offset that is. */
void read_job_skip(struct read_job *job, uint64_t offset);
void read_job_expect(struct read_job *job, const struct index_run *runs, unsigned count);

/* Adds the entry's batches of the partition from job->at on. run: the one it was found by. 0 or a store code (logged). */
int read_entry(struct read_job *job, const struct env *env, const struct env_value *value,
               const struct index_run *run);
/* Logs and returns the code. rc: an LMDB code, for the text. */
int read_failed(struct read_job *job, const struct env *env, uint64_t entry_index, int code, int rc);

int read_entry_header(struct reader *reader, const struct env *env, const struct env_value *value,
                      struct entry_header *ret_header);
/* The base offset of the partition's first batch in the entry. 0, STORE_EAGAIN (it has none) or a store code (logged). */
int read_entry_offset(struct reader *reader, const struct env *env, const struct env_value *value,
                      uint64_t partition, uint64_t *ret_offset);

#endif
