/* redrive.c: dead letters go back to the topics and partitions they came from.
 *
 * A job per request, one at a time for a topic. It reads the dead-letter topic from its log start on; some events at a time are
 * written back, without what made them dead letters, in the same entry that moves the log start behind them: so each is in
 * one of the two topics, whatever happens.
 *
 * Happy path:  REDRIVE → read, taken apart (the store's thread) → DATA … and MOVE_LOG_STARTS in one entry → the next ones → REDRIVEN
 * Failures:    what is no dead letter, or came from a topic that is gone, ends the job with a code, and so does the disk guard; what
 *              is in front of it is back.
 * Thread: the core's; the digest any. Pure. */
#include "broker/core/shared_internal.h"

#define REDRIVE_EVENTS   256u /* of one entry */
#define REDRIVE_BYTES    (128u * 1024)
#define UNCOMPRESSED_MAX (64u << 20)

struct letter {
    char *topic;
    uint32_t place;  /* the partition's, in its topic */
    uint64_t offset; /* in the dead-letter topic */
    uint64_t bytes;  /* of the batches that were read and end with it, or before */
    struct slice batch;
};

struct redrive {
    struct store_read read;
    struct redrive *prev, *next;
    struct shard *shard;
    struct parked *asked;
    char name[TOPIC_NAME_MAX + 1]; /* of the dead-letter topic */
    uint32_t place;
    uint64_t until; /* of the partition at hand: it ends there */
    bool begun;     /* the partition at hand: until is set */
    bool reading;
    uint64_t entry;  /* being written by it; 0: nothing is */
    uint64_t behind; /* the log start, once that is durable */
    uint64_t moving, moved;
    int status;
    uint64_t seen, seen_bytes;  /* the read's: everything below `seen` is in letters */
    size_t count, letters_size; /* with the bytes of their batches */
    struct letter letters[REDRIVE_EVENTS];
};

/* ---- taking letters apart ---- */

static void letters_free(struct redrive *job)
{
    for (size_t i = 0; i < job->count; i++) {
        free(job->letters[i].topic);
        slice_unref(&job->letters[i].batch);
    }
    job->count = job->letters_size = 0;
}

/* May there be another in the entry? What was compressed is larger here than it was read. */
static bool letters_room(const struct redrive *job)
{
    return job->count < REDRIVE_EVENTS && job->letters_size < REDRIVE_BYTES;
}

static bool header_is(const struct batch_pair *header, const char *name)
{
    return header->key_size == strlen(name) && !memcmp(header->key, name, header->key_size);
}

/* Takes the broker's headers out; what they say is in `letter`. False: it is no dead letter. */
static bool headers_split(struct batch_pair *headers, size_t *count, struct letter *letter)
{
    size_t kept = 0;
    uint64_t place = UINT64_MAX;
    for (size_t i = 0; i < *count; i++) {
        bool ours = false;
        for (size_t k = 0; k < DEAD_HEADERS; k++)
            ours |= header_is(&headers[i], dead_header_names[k]);
        if (header_is(&headers[i], dead_header_names[DEAD_TOPIC]) && headers[i].value) {
            free(letter->topic);
            letter->topic = strndup(headers[i].value, headers[i].value_size);
        }
        if (header_is(&headers[i], dead_header_names[DEAD_PARTITION]) && headers[i].value) {
            const char *digits = headers[i].value;
            place = headers[i].value_size ? 0 : UINT64_MAX;
            for (size_t k = 0; k < headers[i].value_size && place < TOPIC_PARTITIONS_MAX; k++)
                place = digits[k] >= '0' && digits[k] <= '9' ? place * 10 + (uint64_t)(digits[k] - '0')
                                                             : UINT64_MAX;
        }
        if (!ours)
            headers[kept++] = headers[i];
    }
    *count = kept;
    letter->place = (uint32_t)place;
    return letter->topic && place < TOPIC_PARTITIONS_MAX;
}

static int letter_add(struct redrive *job, const struct batch_record *record)
{
    struct letter *letter = &job->letters[job->count];
    *letter = (struct letter){.offset = (uint64_t)record->offset, .bytes = job->seen_bytes};
    size_t count;
    struct batch_pair *headers = event_headers(record, 0, &count);
    if (!headers)
        return WIRE_CRIER_ENOMEM;
    int rc = headers_split(headers, &count, letter) ? 0 : WIRE_CRIER_EINVAL;
    if (rc == 0)
        letter->batch = event_build(record, headers, count);
    if (rc == 0 && !letter->batch.data)
        rc = WIRE_CRIER_ENOMEM;
    free(headers);
    if (rc < 0) {
        free(letter->topic);
        return rc;
    }
    job->count++;
    job->letters_size += letter->batch.size;
    return 0;
}

static int letters_of_batch(struct redrive *job, const struct store_batch *batch)
{
    struct batch_iterator iterator;
    struct batch_record record;
    int rc = batch_iterator_init(&iterator, batch->batch.data, batch->batch.size, UNCOMPRESSED_MAX);
    if (rc < 0)
        return rc;
    while (rc >= 0 && letters_room(job) && (rc = batch_iterator_next(&iterator, &record)) > 0) {
        if ((uint64_t)record.offset < job->read.offset || (uint64_t)record.offset >= job->read.until)
            continue;
        if ((rc = letter_add(job, &record)) == 0)
            job->seen = (uint64_t)record.offset + 1;
    }
    uint64_t end = batch->base_offset + batch->span;
    if (rc == 0 && (letters_room(job) || job->seen == end)) { /* all of it */
        job->seen = end;
        job->seen_bytes += batch->batch.size;
        if (job->count)
            job->letters[job->count - 1].bytes = job->seen_bytes;
    }
    batch_iterator_finish(&iterator);
    return rc < 0 ? rc : 0;
}

static void redrive_digest(struct store_read *read)
{
    struct redrive *job = read->ctx;
    job->seen = read->count ? read->offset : read->until;
    for (uint32_t i = 0; i < read->count && letters_room(job) && job->status == 0; i++)
        job->status = letters_of_batch(job, &read->batches[i]);
}

/* ---- writing them back ---- */

static void job_end(struct redrive *job, int code)
{
    struct shard *shard = job->shard;
    struct shard_reply reply = {.kind = SHARD_REDRIVEN,
                                .request_kind = SHARD_REDRIVE,
                                .token = job->asked->request.token,
                                .code = code,
                                .moved = job->moved};
    DL_DELETE(shard->shared->redrives, job);
    shard->output->reply(shard->output_ctx, &reply);
    letters_free(job);
    parked_destroy(job->asked);
    free(job);
}

/* Where a letter goes; NULL: that is gone. */
static struct partition *letter_partition(struct shard *shard, const struct letter *letter)
{
    const struct topic *topic = topic_find(shard, letter->topic);
    if (!topic || !topic->applied || topic->deleting || topic->ephemeral || topic->reserved ||
        letter->place >= topic->partition_count)
        return NULL;
    return partition_find(shard, topic->partitions[letter->place]);
}

/* Returns 0, or the code why not all of them. */
static int letters_write(struct redrive *job, struct partition *from)
{
    struct shard *shard = job->shard;
    uint64_t limit = job->asked->request.limit ? job->asked->request.limit - job->moved : UINT64_MAX;
    uint64_t bytes = 0;
    int code = job->status;
    size_t i = 0;
    (void)entry_make_room(shard, job->letters_size, (uint32_t)job->count);
    job->behind = job->count ? job->letters[0].offset : job->seen;
    for (; i < job->count && job->moving < limit; i++) {
        const struct letter *letter = &job->letters[i];
        if (letter->offset < from->log_start_prepared)
            continue; /* retention has taken it meanwhile */
        struct partition *to = letter_partition(shard, letter);
        if (!to) {
            code = WIRE_CRIER_ENOTOPIC;
            break;
        }
        event_prepare(shard, to, letter->batch);
        job->moving++;
        job->behind = letter->offset + 1;
        bytes = letter->bytes;
    }
    if (i == job->count && !code) {
        job->behind = job->seen;
        bytes = job->seen_bytes;
    }
    if (job->behind > from->log_start_prepared) {
        retention_move(shard, from->id, job->behind, bytes);
        job->entry = shard->gathering->number;
    }
    return code;
}

static void redrive_done(struct store_read *read, void *ctx)
{
    struct redrive *job = ctx;
    struct shard *shard = job->shard;
    const struct topic *topic = topic_find(shard, job->name);
    job->reading = false;
    for (uint32_t i = 0; i < read->count; i++)
        slice_unref(&read->batches[i].batch);
    if (read->status)
        job->status = read->status;
    bool there = topic && topic->applied && !topic->deleting && job->place < topic->partition_count;
    if (!there || shard->read_only) {
        job_end(job, there ? WIRE_CRIER_EIO : WIRE_CRIER_ENOTOPIC);
        return;
    }
    job->status = letters_write(job, partition_find(shard, topic->partitions[job->place]));
    letters_free(job);
    if (job->status && !job->entry)
        job_end(job, job->status);
}

/* What was written is durable, or was refused. True: the job goes on. */
static bool job_written(struct redrive *job, const struct topic *topic)
{
    const struct partition *partition = job->place < topic->partition_count
                                            ? partition_find(job->shard, topic->partitions[job->place])
                                            : NULL;
    bool stored = partition && partition->log_start >= job->behind;
    job->entry = 0;
    if (stored)
        job->moved += job->moving;
    job->moving = 0;
    uint64_t limit = job->asked->request.limit;
    if (stored && !job->status && !(limit && job->moved >= limit))
        return true;
    int refused = job->shard->read_only ? WIRE_CRIER_EIO : WIRE_CRIER_EFULL;
    job_end(job, !stored ? refused : job->status);
    return false;
}

/* Reads on; false: there is nothing more, or it cannot. */
static bool job_read(struct redrive *job, const struct topic *topic)
{
    struct shard *shard = job->shard;
    for (; job->place < topic->partition_count; job->place++, job->begun = false) {
        const struct partition *partition = partition_find(shard, topic->partitions[job->place]);
        if (!job->begun)
            job->until = partition->next;
        job->begun = true;
        if (partition->log_start >= job->until)
            continue;
        job->read = (struct store_read){.done = redrive_done,
                                        .digest = redrive_digest,
                                        .ctx = job,
                                        .partition = partition->id,
                                        .offset = partition->log_start,
                                        .until = job->until,
                                        .bytes_max = REDRIVE_BYTES};
        job->seen_bytes = 0;
        job->reading = shard->store->ops->read(shard->store, &job->read) == 0;
        return true;
    }
    return false;
}

static void job_turn(struct redrive *job)
{
    struct shard *shard = job->shard;
    if (job->reading || job->entry > shard->entry_done)
        return;
    const struct topic *topic = topic_find(shard, job->name);
    if (!topic || !topic->applied || topic->deleting) {
        job_end(job, 0); /* there are no dead letters */
        return;
    }
    if (job->entry && !job_written(job, topic))
        return;
    if (shard->guarded)
        job_end(job, WIRE_CRIER_EFULL);
    else if (!job_read(job, topic))
        job_end(job, 0);
}

void redrive_turn(struct shard *shard)
{
    struct redrive *job, *next;
    DL_FOREACH_SAFE (shard->shared->redrives, job, next)
        job_turn(job);
}

void redrive_request(struct shard *shard, const struct shard_request *request)
{
    const struct topic *topic = topic_find(shard, request->name);
    char name[TOPIC_NAME_MAX + 1];
    int code = 0;
    if (!topic || !topic->applied || topic->deleting || !dead_letter_name(topic, name))
        code = WIRE_CRIER_ENOTOPIC;
    else if (shard->read_only)
        code = WIRE_CRIER_EIO;
    struct redrive *job;
    DL_FOREACH (shard->shared->redrives, job)
        if (!code && !strcmp(job->name, name))
            code = WIRE_CRIER_EBUSY;
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    job = core_alloc(sizeof(*job));
    job->shard = shard;
    job->asked = parked_create(request);
    memcpy(job->name, name, sizeof(name));
    DL_APPEND(shard->shared->redrives, job);
}

void redrives_free(struct shard *shard)
{
    struct redrive *job, *next;
    DL_FOREACH_SAFE (shard->shared->redrives, job, next) {
        letters_free(job);
        parked_destroy(job->asked);
        free(job);
    }
}
