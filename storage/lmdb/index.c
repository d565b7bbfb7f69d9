/* index.c: the offset index of one segment, in memory; see index.h.
 *
 * Partitions lie in one array in the order they came; a hash table of positions in it finds them. Each has its runs
 * in ascending order of offset, which is also ascending order of entries. */
#include "storage/lmdb/index.h"

#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>

#define NO_SLOT UINT32_MAX

struct slot {
    uint64_t partition;
    uint64_t start_offset, next_offset;
    struct index_run *runs;
    uint32_t count, capacity;
    uint32_t reserved;      /* runs that reserved entries may still begin */
    uint32_t saved;         /* runs before this one are in the file as they are */
    uint64_t open_position; /* where in the segment's log the last run began */
    bool existed;           /* known at the segment's start */
    bool changed;           /* listed in `changed` */
    bool open;              /* the last run may still grow; not so when it came from a file */
};

struct index {
    _Atomic uint32_t refs;
    pthread_mutex_t lock; /* guards all below */
    struct slot *slots;
    uint32_t count, capacity;
    uint32_t *table;     /* open addressing; NO_SLOT: free */
    uint32_t table_size; /* a power of two, at least twice count */
    uint32_t *changed;   /* slots with something to save; room for `capacity` */
    uint32_t changed_count;
    uint64_t position; /* bytes of entries so far */
    uint64_t covers;   /* the last entry that is in it */
    size_t run_memory;
};

struct index *index_create(void)
{
    struct index *index = calloc(1, sizeof(*index));
    if (!index)
        return NULL;
    if (pthread_mutex_init(&index->lock, NULL) != 0) {
        free(index);
        return NULL;
    }
    atomic_init(&index->refs, 1);
    return index;
}

struct index *index_ref(struct index *index)
{
    CHECK(atomic_fetch_add(&index->refs, 1) > 0);
    return index;
}

void index_unref(struct index *index)
{
    if (!index || atomic_fetch_sub(&index->refs, 1) > 1)
        return;
    for (uint32_t i = 0; i < index->count; i++)
        free(index->slots[i].runs);
    free(index->slots);
    free(index->table);
    free(index->changed);
    pthread_mutex_destroy(&index->lock);
    free(index);
}

/* ---- slots ---- */

static uint32_t hash(uint64_t partition)
{
    return (uint32_t)((partition * 0x9e3779b97f4a7c15u) >> 32);
}

/* Where the partition's position is in the table, or would be. */
static uint32_t *probe(struct index *index, uint64_t partition)
{
    uint32_t at = hash(partition) & (index->table_size - 1);
    while (index->table[at] != NO_SLOT && index->slots[index->table[at]].partition != partition)
        at = (at + 1) & (index->table_size - 1);
    return &index->table[at];
}

static struct slot *find(struct index *index, uint64_t partition)
{
    if (index->table_size == 0)
        return NULL;
    uint32_t at = *probe(index, partition);
    return at == NO_SLOT ? NULL : &index->slots[at];
}

static int grow(struct index *index)
{
    uint32_t capacity = index->capacity ? index->capacity * 2 : 8;
    uint32_t table_size = capacity * 2;
    struct slot *slots = realloc(index->slots, capacity * sizeof(*slots));
    if (!slots)
        return STORE_ENOMEM;
    index->slots = slots;
    uint32_t *changed = realloc(index->changed, capacity * sizeof(*changed));
    if (!changed)
        return STORE_ENOMEM;
    index->changed = changed;
    uint32_t *table = malloc(table_size * sizeof(*table));
    if (!table)
        return STORE_ENOMEM;
    free(index->table);
    index->table = table;
    index->table_size = table_size;
    index->capacity = capacity;
    for (uint32_t i = 0; i < table_size; i++)
        table[i] = NO_SLOT;
    for (uint32_t i = 0; i < index->count; i++)
        *probe(index, index->slots[i].partition) = i;
    return 0;
}

static struct slot *find_or_add(struct index *index, uint64_t partition)
{
    struct slot *slot = find(index, partition);
    if (slot)
        return slot;
    if (index->count == index->capacity && grow(index) < 0)
        return NULL;
    *probe(index, partition) = index->count;
    slot = &index->slots[index->count++];
    *slot = (struct slot){.partition = partition};
    return slot;
}

/* Room for one more run than are there and reserved. */
static int slot_grow(struct index *index, struct slot *slot)
{
    if (slot->count + slot->reserved < slot->capacity)
        return 0;
    uint32_t capacity = slot->capacity ? slot->capacity * 2 : 1;
    struct index_run *runs = realloc(slot->runs, capacity * sizeof(*runs));
    if (!runs)
        return STORE_ENOMEM;
    index->run_memory += (capacity - slot->capacity) * sizeof(*runs);
    slot->runs = runs;
    slot->capacity = capacity;
    return 0;
}

static void mark_changed(struct index *index, struct slot *slot)
{
    if (slot->changed)
        return;
    slot->changed = true;
    index->changed[index->changed_count++] = (uint32_t)(slot - index->slots);
}

/* ---- adding ---- */

static void cancel_locked(struct index *index, const struct entry_part *parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (parts[i].kind == PART_DATA)
            find(index, parts[i].partition)->reserved--;
}

int index_reserve(struct index *index, const struct entry_part *parts, uint32_t count)
{
    int rc = 0;
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (parts[i].kind != PART_DATA)
            continue;
        struct slot *slot = find_or_add(index, parts[i].partition);
        rc = slot ? slot_grow(index, slot) : STORE_ENOMEM;
        if (rc == 0)
            slot->reserved++;
        else
            cancel_locked(index, parts, i);
    }
    pthread_mutex_unlock(&index->lock);
    return rc;
}

void index_cancel(struct index *index, const struct entry_part *parts, uint32_t count)
{
    pthread_mutex_lock(&index->lock);
    cancel_locked(index, parts, count);
    pthread_mutex_unlock(&index->lock);
}

static void add_part(struct index *index, const struct entry_part *part, uint64_t entry_index)
{
    struct slot *slot = find(index, part->partition);
    CHECK(slot && slot->reserved > 0);
    slot->reserved--;
    if (!slot->open || index->position - slot->open_position >= INDEX_RUN_BYTES) {
        CHECK(slot->count < slot->capacity);
        slot->runs[slot->count++] = (struct index_run){
            .partition = part->partition, .base_offset = part->base_offset, .first_index = entry_index};
        slot->open = true;
        slot->open_position = index->position;
    }
    struct index_run *run = &slot->runs[slot->count - 1];
    run->next_offset = slot->next_offset = part->base_offset + part->span;
    run->last_index = entry_index;
    run->bytes += part->payload.size;
    mark_changed(index, slot);
}

void index_add(struct index *index, const struct entry_part *parts, uint32_t count, uint64_t entry_index,
               size_t entry_size)
{
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < count; i++)
        if (parts[i].kind == PART_DATA)
            add_part(index, &parts[i], entry_index);
    index->position += entry_size;
    index->covers = entry_index;
    pthread_mutex_unlock(&index->lock);
}

/* ---- looking up ---- */

uint64_t index_start_offset(struct index *index, uint64_t partition)
{
    pthread_mutex_lock(&index->lock);
    const struct slot *slot = find(index, partition);
    uint64_t offset = slot ? slot->start_offset : 0;
    pthread_mutex_unlock(&index->lock);
    return offset;
}

uint64_t index_next_offset(struct index *index, uint64_t partition)
{
    pthread_mutex_lock(&index->lock);
    const struct slot *slot = find(index, partition);
    uint64_t offset = slot ? slot->next_offset : 0;
    pthread_mutex_unlock(&index->lock);
    return offset;
}

bool index_holds(struct index *index, uint64_t partition, uint64_t offset)
{
    pthread_mutex_lock(&index->lock);
    const struct slot *slot = find(index, partition);
    bool holds = slot && slot->start_offset <= offset && offset < slot->next_offset;
    pthread_mutex_unlock(&index->lock);
    return holds;
}

/* The first run that ends after the offset, as a position. */
static uint32_t first_after_offset(const struct slot *slot, uint64_t offset)
{
    uint32_t low = 0, high = slot->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slot->runs[middle].next_offset > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint32_t first_after_entry(const struct slot *slot, uint64_t entry_index)
{
    uint32_t low = 0, high = slot->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slot->runs[middle].last_index >= entry_index)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

unsigned index_find(struct index *index, uint64_t partition, uint64_t offset, struct index_run *runs,
                    unsigned count_max)
{
    unsigned count = 0;
    pthread_mutex_lock(&index->lock);
    const struct slot *slot = find(index, partition);
    if (slot)
        for (uint32_t i = first_after_offset(slot, offset); i < slot->count && count < count_max; i++)
            runs[count++] = slot->runs[i];
    pthread_mutex_unlock(&index->lock);
    return count;
}

bool index_find_entry(struct index *index, uint64_t partition, uint64_t entry_index,
                      struct index_run *ret_run)
{
    bool found = false;
    pthread_mutex_lock(&index->lock);
    const struct slot *slot = find(index, partition);
    if (slot) {
        uint32_t at = first_after_entry(slot, entry_index);
        if ((found = at < slot->count))
            *ret_run = slot->runs[at];
    }
    pthread_mutex_unlock(&index->lock);
    return found;
}

int index_each_run(struct index *index, index_run_fn *fn, void *ctx)
{
    int rc = 0;
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < index->count && rc >= 0; i++)
        for (uint32_t run = 0; run < index->slots[i].count && rc >= 0; run++)
            rc = fn(ctx, &index->slots[i].runs[run]);
    pthread_mutex_unlock(&index->lock);
    return rc < 0 ? rc : 0;
}

size_t index_memory(struct index *index)
{
    pthread_mutex_lock(&index->lock);
    size_t size =
        sizeof(*index) + index->capacity * (sizeof(struct slot) + 3 * sizeof(uint32_t)) + index->run_memory;
    pthread_mutex_unlock(&index->lock);
    return size;
}

/* ---- succession and files ---- */

int index_set_start(struct index *index, uint64_t partition, uint64_t next_offset)
{
    pthread_mutex_lock(&index->lock);
    struct slot *slot = find_or_add(index, partition);
    if (slot) {
        slot->start_offset = slot->next_offset = next_offset;
        slot->existed = true;
    }
    pthread_mutex_unlock(&index->lock);
    return slot ? 0 : STORE_ENOMEM;
}

struct index *index_create_after(struct index *before)
{
    struct index *index = index_create();
    if (!index)
        return NULL;
    int rc = 0;
    pthread_mutex_lock(&before->lock);
    for (uint32_t i = 0; i < before->count && rc == 0; i++)
        if (before->slots[i].next_offset > 0)
            rc = index_set_start(index, before->slots[i].partition, before->slots[i].next_offset);
    pthread_mutex_unlock(&before->lock);
    if (rc < 0) {
        index_unref(index);
        return NULL;
    }
    return index;
}

int index_set_run(struct index *index, const struct index_run *run)
{
    int rc = STORE_ENOMEM;
    pthread_mutex_lock(&index->lock);
    struct slot *slot = find_or_add(index, run->partition);
    if (slot && slot_grow(index, slot) == 0) {
        if (slot->count == 0 || slot->runs[slot->count - 1].base_offset != run->base_offset)
            slot->count++;
        slot->runs[slot->count - 1] = *run;
        slot->next_offset = run->next_offset;
        slot->saved = slot->count; /* closed: what comes next begins a new run */
        rc = 0;
    }
    pthread_mutex_unlock(&index->lock);
    return rc;
}

size_t index_start_count(struct index *index)
{
    size_t count = 0;
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < index->count; i++)
        count += index->slots[i].existed;
    pthread_mutex_unlock(&index->lock);
    return count;
}

int index_each_start(struct index *index, index_start_fn *fn, void *ctx)
{
    int rc = 0;
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < index->count && rc >= 0; i++)
        if (index->slots[i].existed)
            rc = fn(ctx, index->slots[i].partition, index->slots[i].start_offset);
    pthread_mutex_unlock(&index->lock);
    return rc < 0 ? rc : 0;
}

int index_each_change(struct index *index, index_run_fn *fn, void *ctx, uint64_t *ret_covers)
{
    int rc = 0;
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < index->changed_count && rc >= 0; i++) {
        const struct slot *slot = &index->slots[index->changed[i]];
        for (uint32_t run = slot->saved; run < slot->count && rc >= 0; run++)
            rc = fn(ctx, &slot->runs[run]);
    }
    if (rc >= 0) {
        for (uint32_t i = 0; i < index->changed_count; i++) {
            struct slot *slot = &index->slots[index->changed[i]];
            slot->changed = false;
            slot->saved =
                slot->count - (slot->open ? 1 : 0); /* an open run is saved again when it has grown */
        }
        index->changed_count = 0;
        *ret_covers = index->covers;
    }
    pthread_mutex_unlock(&index->lock);
    return rc < 0 ? rc : 0;
}

uint64_t index_covers(struct index *index)
{
    pthread_mutex_lock(&index->lock);
    uint64_t covers = index->covers;
    pthread_mutex_unlock(&index->lock);
    return covers;
}

void index_set_covers(struct index *index, uint64_t entry_index)
{
    pthread_mutex_lock(&index->lock);
    index->covers = entry_index;
    pthread_mutex_unlock(&index->lock);
}

void index_change_all(struct index *index)
{
    pthread_mutex_lock(&index->lock);
    for (uint32_t i = 0; i < index->count; i++) {
        index->slots[i].saved = 0;
        if (index->slots[i].count > 0)
            mark_changed(index, &index->slots[i]);
    }
    pthread_mutex_unlock(&index->lock);
}
