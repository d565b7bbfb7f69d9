/* reader_entry.c: what a reader gets out of one entry; see reader_entry.h.
 *
 * Three ways, by where the bytes are and how many of them are wanted:
 *   inside a leaf page       the batches are copied out of the map;
 *   mostly this partition's  the whole entry is read into the buffer that leaves: no copy;
 *   shared with others       up to SCRATCH_SIZE it is read whole and the batches are copied out, above that envelope by
 *                            envelope, and only what is wanted is read.
 * Every byte that leaves has been checked against its CRC. */
#include "storage/lmdb/reader_entry.h"

#include "base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GATHER_SIZE  (16u << 10)  /* a buffer for single batches of many entries */
#define SCRATCH_SIZE (512u << 10) /* entries are closed at 256 KiB; only larger single batches exceed this */

bool read_job_done(const struct read_job *job)
{
    const struct store_read *read = job->read;
    return job->at >= read->until || read->count == STORE_READ_BATCHES_MAX ||
           (read->count > 0 && job->bytes >= read->bytes_max);
}

void read_job_skip(struct read_job *job, uint64_t offset)
{
    const struct store_read *read = job->read;
    if (!read->offsets) {
        job->at = offset;
        return;
    }
    while (job->gathered < read->offset_count && read->offsets[job->gathered] < offset)
        job->gathered++;
    job->at = job->gathered < read->offset_count ? read->offsets[job->gathered] : read->until;
}

void read_job_expect(struct read_job *job, const struct index_run *runs, unsigned count)
{
    size_t expected = 0;
    for (unsigned i = 0; i < count; i++)
        expected += runs[i].bytes;
    size_t wanted = job->read->bytes_max > job->bytes ? job->read->bytes_max - job->bytes : 0;
    job->expected = expected < wanted ? expected : wanted;
    if (job->read->offsets && job->expected > GATHER_SIZE)
        job->expected = GATHER_SIZE;
}

int read_failed(struct read_job *job, const struct env *env, uint64_t entry_index, int code, int rc)
{
    struct health *health = job->reader->health;
    if (code == STORE_EIO) {
        health_fail(health, "read", env->path, rc);
    } else if (code == STORE_ECORRUPT) {
        atomic_fetch_add(&health->errors, 1);
        LOG_ERROR(health->log, "STORE-CORRUPT",
                  "entry %" PRIu64 " in %s is damaged; partition %" PRIu64
                  " cannot be read from offset %" PRIu64,
                  entry_index, env->path, job->read->partition, job->at);
    }
    return code;
}

static int corrupt(struct read_job *job, const struct env *env, uint64_t entry_index)
{
    return read_failed(job, env, entry_index, STORE_ECORRUPT, 0);
}

/* ---- the buffer that leaves ---- */

/* Room for `size` bytes at the end of the current buffer, or of a new one; NULL: out of memory. */
static uint8_t *reserve(struct read_job *job, size_t size)
{
    struct reader *reader = job->reader;
    if (reader->buffer && reader->buffer->capacity - reader->filled >= size)
        return reader->buffer->data + reader->filled;
    buffer_unref(reader->buffer);
    reader->filled = 0;
    size_t capacity = size > job->expected ? size : job->expected;
    /* Small answers do not pin large buffers. */
    if (capacity > READER_BUFFER_SIZE / 2 && size <= READER_BUFFER_SIZE)
        reader->buffer = buffer_pool_get(reader->pool);
    else
        reader->buffer = buffer_create(capacity);
    return reader->buffer ? reader->buffer->data : NULL;
}

/* Adds a batch that lies in the current buffer. */
static void add_batch(struct read_job *job, const struct entry_part *part, const struct entry_header *header)
{
    struct store_read *read = job->read;
    read->batches[read->count++] = (struct store_batch){
        .base_offset = part->base_offset,
        .span = part->span,
        .index = header->index,
        .append_time_us = header->append_time_us,
        .batch = {buffer_ref(job->reader->buffer), part->payload.data, part->payload.size},
    };
    job->bytes += part->payload.size;
    read_job_skip(job, part->base_offset + part->span);
}

static bool wanted(const struct read_job *job, const struct entry_part *part)
{
    return part->kind == PART_DATA && part->partition == job->read->partition &&
           part->base_offset + part->span > job->at &&
           (job->read->offsets ? part->base_offset <= job->at : part->base_offset < job->read->until);
}

/* ---- from memory ---- */

static int copy_batch(struct read_job *job, struct entry_part *part, const struct entry_header *header)
{
    uint8_t *to = reserve(job, part->payload.size);
    if (!to)
        return STORE_ENOMEM;
    memcpy(to, part->payload.data, part->payload.size);
    job->reader->filled += part->payload.size;
    part->payload.data = to;
    add_batch(job, part, header);
    return 0;
}

/* The entry's header, in memory, checked against its row. */
static int header_of(const uint8_t *data, const struct env_value *value, struct entry_header *ret_header)
{
    int rc = entry_header_decode(data, value->size, ret_header);
    if (rc < 0)
        return rc;
    return ret_header->length == value->size && ret_header->index == value->index ? 0 : STORE_ECORRUPT;
}

/* The whole entry is at data: in the buffer that leaves (in_place) or elsewhere. 0, STORE_ECORRUPT or STORE_ENOMEM. */
static int take_batches(struct read_job *job, const uint8_t *data, const struct env_value *value,
                        bool in_place)
{
    struct entry_header header;
    int rc = header_of(data, value, &header);
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; rc == 0 && i < header.part_count && !read_job_done(job); i++) {
        struct entry_part part;
        int64_t used = entry_part_decode(data + at, value->size - at, &part);
        if (used < 0)
            return STORE_ECORRUPT;
        at += (size_t)used;
        if (!wanted(job, &part))
            continue;
        if ((rc = entry_payload_check(&part)) < 0)
            return rc;
        if (in_place)
            add_batch(job, &part, &header);
        else
            rc = copy_batch(job, &part, &header);
    }
    return rc;
}

/* ---- from the file ---- */

static uint8_t *scratch_of(struct reader *reader)
{
    if (!reader->scratch)
        reader->scratch = malloc(SCRATCH_SIZE);
    return reader->scratch;
}

static int read_in_place(struct read_job *job, const struct env *env, const struct env_value *value)
{
    uint8_t *to = reserve(job, value->size);
    if (!to)
        return STORE_ENOMEM;
    int rc = env_pread(env, to, value->size, value->position);
    if (rc != 0)
        return read_failed(job, env, value->index, env_code(rc), rc);
    rc = take_batches(job, to, value, true);
    job->reader->filled += value->size;
    return rc == STORE_ECORRUPT ? corrupt(job, env, value->index) : rc;
}

static int read_whole(struct read_job *job, const struct env *env, const struct env_value *value)
{
    uint8_t *scratch = scratch_of(job->reader);
    if (!scratch)
        return STORE_ENOMEM;
    int rc = env_pread(env, scratch, value->size, value->position);
    if (rc != 0)
        return read_failed(job, env, value->index, env_code(rc), rc);
    rc = take_batches(job, scratch, value, false);
    return rc == STORE_ECORRUPT ? corrupt(job, env, value->index) : rc;
}

/* One batch of a large entry, straight into the buffer that leaves. */
static int read_batch(struct read_job *job, const struct env *env, const struct entry_header *header,
                      struct entry_part *part, const uint8_t *envelope, uint32_t crc, uint64_t position)
{
    uint8_t *to = reserve(job, part->payload.size);
    if (!to)
        return STORE_ENOMEM;
    int rc = env_pread(env, to, part->payload.size, position);
    if (rc != 0)
        return read_failed(job, env, header->index, env_code(rc), rc);
    part->payload.data = to;
    if (crc != entry_envelope_crc(envelope, to, part->payload.size) || entry_payload_check(part) < 0)
        return corrupt(job, env, header->index);
    job->reader->filled += part->payload.size;
    add_batch(job, part, header);
    return 0;
}

/* A walk over the envelopes of an entry in the file. */
struct envelope_walk {
    uint64_t at; /* in the entry: the current payload, then the next envelope */
    uint8_t bytes[ENTRY_ENVELOPE_SIZE];
    uint32_t crc;
    struct entry_part part; /* payload: its size only */
};

/* The envelope at walk->at; then walk->at is its payload. 0 or an LMDB code. */
static int envelope_next(struct envelope_walk *walk, const struct env *env, const struct env_value *value)
{
    if (walk->at + ENTRY_ENVELOPE_SIZE > value->size)
        return MDB_CORRUPTED;
    int rc = env_pread(env, walk->bytes, sizeof(walk->bytes), value->position + walk->at);
    if (rc != 0)
        return rc;
    entry_envelope_decode(walk->bytes, &walk->part, &walk->crc);
    walk->at += ENTRY_ENVELOPE_SIZE;
    if (walk->part.payload.size > value->size - walk->at ||
        (walk->part.kind == PART_DATA && walk->part.payload.size < ENTRY_BATCH_SIZE_MIN))
        return MDB_CORRUPTED;
    return 0;
}

static int read_by_envelopes(struct read_job *job, const struct env *env, const struct env_value *value)
{
    struct entry_header header;
    int rc = read_entry_header(job->reader, env, value, &header);
    struct envelope_walk walk = {.at = ENTRY_HEADER_SIZE};
    for (uint32_t i = 0; rc == 0 && i < header.part_count && !read_job_done(job); i++) {
        if ((rc = envelope_next(&walk, env, value)) != 0)
            return read_failed(job, env, value->index, env_code(rc), rc);
        size_t size = walk.part.payload.size;
        if (wanted(job, &walk.part))
            rc = read_batch(job, env, &header, &walk.part, walk.bytes, walk.crc, value->position + walk.at);
        walk.at += size;
    }
    return rc;
}

int read_entry(struct read_job *job, const struct env *env, const struct env_value *value,
               const struct index_run *run)
{
    if (value->position == 0) {
        int rc = take_batches(job, value->data, value, false);
        return rc == STORE_ECORRUPT ? corrupt(job, env, value->index) : rc;
    }
    if (!job->read->offsets && run->first_index == run->last_index && run->bytes >= value->size / 2 &&
        value->size <= ENTRY_SIZE_MAX)
        return read_in_place(job, env, value);
    return value->size <= SCRATCH_SIZE ? read_whole(job, env, value) : read_by_envelopes(job, env, value);
}

/* ---- for lookups ---- */

/* A lookup has no job to fail; its errors are named the same way. */
static int lookup_failed(struct reader *reader, const struct env *env, const struct env_value *value, int rc)
{
    int code = env_code(rc);
    if (code == STORE_EIO)
        health_fail(reader->health, "read", env->path, rc);
    if (code != STORE_ECORRUPT)
        return code;
    atomic_fetch_add(&reader->health->errors, 1);
    LOG_ERROR(reader->health->log, "STORE-CORRUPT", "entry %" PRIu64 " in %s is damaged", value->index,
              env->path);
    return STORE_ECORRUPT;
}

int read_entry_header(struct reader *reader, const struct env *env, const struct env_value *value,
                      struct entry_header *ret_header)
{
    uint8_t bytes[ENTRY_HEADER_SIZE];
    const uint8_t *data = value->data;
    if (value->position != 0) {
        int rc = env_pread(env, bytes, sizeof(bytes), value->position);
        if (rc != 0)
            return lookup_failed(reader, env, value, rc);
        data = bytes;
    }
    return header_of(data, value, ret_header) == 0 ? 0 : lookup_failed(reader, env, value, MDB_CORRUPTED);
}

static int find_in_file(struct reader *reader, const struct env *env, const struct env_value *value,
                        uint64_t partition, uint64_t *ret_offset)
{
    struct entry_header header;
    int rc = read_entry_header(reader, env, value, &header);
    if (rc < 0)
        return rc;
    struct envelope_walk walk = {.at = ENTRY_HEADER_SIZE};
    for (uint32_t i = 0; i < header.part_count; i++, walk.at += walk.part.payload.size) {
        if ((rc = envelope_next(&walk, env, value)) != 0)
            return lookup_failed(reader, env, value, rc);
        if (walk.part.kind == PART_DATA && walk.part.partition == partition) {
            *ret_offset = walk.part.base_offset;
            return 0;
        }
    }
    return STORE_EAGAIN;
}

int read_entry_offset(struct reader *reader, const struct env *env, const struct env_value *value,
                      uint64_t partition, uint64_t *ret_offset)
{
    if (value->position != 0)
        return find_in_file(reader, env, value, partition, ret_offset);
    struct entry_header header;
    if (header_of(value->data, value, &header) < 0)
        return lookup_failed(reader, env, value, MDB_CORRUPTED);
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < header.part_count; i++) {
        struct entry_part part;
        int64_t used = entry_part_decode(value->data + at, value->size - at, &part);
        if (used < 0)
            return lookup_failed(reader, env, value, MDB_CORRUPTED);
        if (part.kind == PART_DATA && part.partition == partition) {
            *ret_offset = part.base_offset;
            return 0;
        }
        at += (size_t)used;
    }
    return STORE_EAGAIN;
}
