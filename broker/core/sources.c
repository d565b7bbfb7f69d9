/* sources.c: how far each producer's source is stored, so that it resumes without a gap or a repeat.
 *
 * Role:     an atomic emit carries a position in its producer's source (a line number). It is stored as a command in the
 *           entry of the data, so both are there or neither is. At or below what is stored is a duplicate.
 * Who:      a named producer's source is known by its name, over clients and for ever; the client that claimed it last (the
 *           highest producer id) speaks for it, all others are fenced. Without a name it is the client's own count of its
 *           atomic emits, known by its producer id, and is forgotten as its sequences are (producers.c).
 *
 * Happy path:  claim (HELLO with a name) → WELCOME tells the position → source_judge → source_prepare → source_apply
 * Failures:    a position that does not follow (what it stands on was refused): CRIER_ESEQUENCE. Fenced: CRIER_EFENCED.
 *              The entry is refused: prepared goes back to applied, with the owner. EFENCED to an emit is answered at once;
 *              what is definite about it is the answer to the next HELLO, which waits for the claim.
 *
 * Positions are coalesced to one command per source and entry, written when the entry is sealed, as positions.c does.
 * Thread: the core's. Pure. */
#include "broker/core/shard_internal.h"
#include "proto/state.pb-c.h"

static struct source *source_by_name(struct shard *shard, const char *name)
{
    struct source *source = NULL;
    HASH_FIND_STR(shard->sources, name, source);
    return source;
}

/* Whoever has no source has been fenced, or has not emitted yet. */
static struct source *source_by_owner(struct shard *shard, uint64_t producer_id)
{
    struct source *source = NULL;
    HASH_FIND(hh_owner, shard->source_owners, &producer_id, sizeof(producer_id), source);
    return source;
}

static void owner_set(struct shard *shard, struct source *source, uint64_t owner)
{
    if (source->owner_prepared == owner)
        return;
    if (source->owner_prepared)
        HASH_DELETE(hh_owner, shard->source_owners, source);
    source->owner_prepared = owner;
    if (owner)
        HASH_ADD(hh_owner, shard->source_owners, owner_prepared, sizeof(source->owner_prepared), source);
}

/* name "": the client's own count. */
static struct source *source_create(struct shard *shard, const char *name)
{
    struct source *source = core_alloc(sizeof(*source));
    source->row.kind = ROW_SOURCE;
    source->name = core_strdup(name);
    if (name[0])
        HASH_ADD_KEYPTR(hh, shard->sources, source->name, strlen(source->name), source);
    return source;
}

static struct source *source_get(struct shard *shard, const char *name, uint64_t producer_id)
{
    struct source *source = name[0] ? source_by_name(shard, name) : source_by_owner(shard, producer_id);
    return source ? source : source_create(shard, name);
}

static void source_drop(struct shard *shard, struct source *source)
{
    CHECK(!source->id && !source->row.flush);
    owner_set(shard, source, 0);
    if (source->name[0])
        HASH_DELETE(hh, shard->sources, source);
    free(source->name);
    free(source);
}

/* ---- prepare ---- */

uint64_t source_depends(const struct shard *shard, const struct source *source)
{
    return source && source->entry > shard->entry_done ? source->entry : 0;
}

/* What is prepared of it goes into the open entry. */
static void source_changed(struct shard *shard, struct source *source)
{
    struct shard_entry *entry = shard_gather(shard);
    if (source->entry == entry->number)
        return;
    source->entry = entry->number;
    entry->sources =
        core_grow(entry->sources, entry->source_count, &entry->source_capacity, sizeof(struct source *));
    entry->sources[entry->source_count++] = source;
}

enum source_verdict source_judge(struct shard *shard, const struct emit *emit, struct source **ret_source)
{
    struct source *source = *ret_source = source_by_owner(shard, emit->producer_id);
    if (emit->named ? !source || !source->name[0] : source && source->name[0])
        return SOURCE_FENCED;
    uint64_t stored = source ? source->position_prepared : 0;
    if (emit->source_position <= stored)
        return SOURCE_DUPLICATE;
    return emit->source_previous <= stored ? SOURCE_NEW : SOURCE_GAP;
}

void source_prepare(struct shard *shard, const struct emit *emit)
{
    struct source *source = source_by_owner(shard, emit->producer_id);
    if (!source) {
        CHECK(!emit->named);
        source = source_create(shard, "");
        owner_set(shard, source, emit->producer_id);
    }
    source->position_prepared = emit->source_position;
    source_changed(shard, source);
}

bool source_stored(struct shard *shard, const struct emit *emit)
{
    const struct source *source = source_by_owner(shard, emit->producer_id);
    return source && emit->named == (source->name[0] != '\0') && emit->source_position <= source->position;
}

/* Whose the source is now; its answer is for when all that is prepared is durable. 0, or why it cannot be had. */
static int source_take(struct shard *shard, const char *name, uint64_t producer_id,
                       struct source **ret_source)
{
    struct source *source = *ret_source = source_by_name(shard, name);
    const struct source *held = source_by_owner(shard, producer_id);
    if (held && held != source)
        return WIRE_CRIER_EINVAL; /* its id speaks for something else */
    if (source && producer_id < source->owner_prepared)
        return source_depends(shard, source) ? 0 : WIRE_CRIER_EFENCED;
    if (held)
        return 0;
    if (shard->read_only)
        return WIRE_CRIER_EIO;
    if (!source)
        source = *ret_source = source_create(shard, name);
    owner_set(shard, source, producer_id);
    source_changed(shard, source);
    return 0;
}

void source_claim(struct shard *shard, const struct shard_request *request, uint64_t producer_id)
{
    struct shard_request claim = *request;
    struct source *source;
    int code = source_take(shard, request->name, producer_id, &source);
    uint64_t number = code ? 0 : source_depends(shard, source);
    claim.producer_id = producer_id;
    if (number) {
        shard_park(shard, number, &claim);
        return;
    }
    struct shard_reply reply = {.kind = SHARD_PRODUCER_ID,
                                .request_kind = request->kind,
                                .token = request->token,
                                .code = code,
                                .producer_id = producer_id,
                                .source_position = code ? 0 : source->position};
    shard->output->reply(shard->output_ctx, &reply);
}

void sources_encode(struct shard *shard, struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->source_count; i++) {
        const struct source *source = entry->sources[i];
        State__SourcePosition command = STATE__SOURCE_POSITION__INIT;
        command.name = source->name;
        command.producer_id = source->owner_prepared;
        command.position = source->position_prepared;
        uint8_t bytes[320]; /* a name of 255 bytes, and two numbers */
        CHECK(state__source_position__get_packed_size(&command) <= sizeof(bytes));
        shard_add_command(shard, COMMAND_SOURCE_POSITION, bytes,
                          state__source_position__pack(&command, bytes));
    }
}

/* One that several entries carry is in the list of each: the last one settles it, for then nothing points to it. */
void sources_set_back(struct shard *shard, struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->source_count; i++) {
        struct source *source = entry->sources[i];
        source->position_prepared = source->position;
        if (source->entry != entry->number)
            continue;
        source->entry = 0;
        if (source->owner)
            owner_set(shard, source, source->owner);
        if (!source->id && !source->row.flush)
            source_drop(shard, source);
    }
    entry->source_count = 0;
}

/* ---- apply ---- */

/* A named one is kept for ever. */
static void source_touch(struct shard *shard, struct source *source, int64_t time_us)
{
    if (source->name[0])
        return;
    if (source->id)
        DL_DELETE2(shard->sources_lru, source, lru_prev, lru_next);
    source->id = source->owner;
    source->used_us = time_us;
    DL_APPEND2(shard->sources_lru, source, lru_prev, lru_next);
}

int source_apply(struct shard *shard, const uint8_t *bytes, size_t size, int64_t time_us)
{
    State__SourcePosition *command = state__source_position__unpack(NULL, size, bytes);
    if (!command || command->producer_id == 0) {
        if (command)
            state__source_position__free_unpacked(command, NULL);
        return STORE_ECORRUPT;
    }
    struct source *source = source_get(shard, command->name, command->producer_id);
    shard_row_will_change(shard, &source->row);
    source->owner = command->producer_id;
    if (command->position > source->position)
        source->position = command->position;
    if (source->name[0] && !source->id)
        source->id = shard->self.next_source_id++;
    source_touch(shard, source, time_us);
    if (!source_depends(shard, source)) {
        owner_set(shard, source, source->owner);
        source->position_prepared = source->position;
    }
    state__source_position__free_unpacked(command, NULL);
    return 0;
}

void sources_expire(struct shard *shard, int64_t time_us)
{
    while (shard->sources_lru && shard->sources_lru->used_us < time_us - PRODUCER_EXPIRY_US) {
        struct source *source = shard->sources_lru;
        shard_row_will_change(shard, &source->row); /* the flush deletes the row, and then this */
        DL_DELETE2(shard->sources_lru, source, lru_prev, lru_next);
        source->id = source->position = 0;
        if (!source_depends(shard, source))
            source->position_prepared = 0;
    }
}

/* ---- rows ---- */

void source_load(struct shard *shard, const struct source_row *row)
{
    struct source *source = source_create(shard, row->name);
    source->owner = row->owner;
    source->position = source->position_prepared = row->position;
    if (source->name[0])
        source->id = row->id;
    owner_set(shard, source, row->owner);
    source_touch(shard, source, row->used_us);
}

static int by_use(const struct source *a, const struct source *b)
{
    return (a->used_us > b->used_us) - (a->used_us < b->used_us);
}

void source_lru_sort(struct shard *shard)
{
    DL_SORT2(shard->sources_lru, by_use, lru_prev, lru_next);
}

void source_flushed_away(struct shard *shard, struct source *source)
{
    if (!source->id && !source_depends(shard, source))
        source_drop(shard, source);
}

void source_free_all(struct shard *shard)
{
    struct source *source, *next;
    HASH_ITER (hh_owner, shard->source_owners, source, next) {
        source->id = 0;
        source->row.flush = 0;
        source_drop(shard, source);
    }
}
