/* memory_disk.c: what the memory twin has instead of files; see memory_disk.h. */
#include "storage/memory_disk.h"

#include "base/check.h"
#include "storage/entry.h"

#include <stdlib.h>
#include <string.h>

/* Where a batch is. */
struct batch_place {
    uint64_t base_offset;
    uint32_t span;
    uint32_t size;
    size_t entry;    /* position in the disk's entries */
    size_t part_at;  /* of the envelope, in the entry */
    int64_t time_us; /* of the entry */
};

struct memory_partition {
    uint64_t partition;
    struct batch_place *places; /* in order of offset */
    size_t count, capacity;
};

/* Grows an array so that one more fits. */
static void *grow(void *list, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity ? *capacity * 2 : 16;
    list = realloc(list, *capacity * item_size);
    CHECK(list != NULL);
    return list;
}

static uint8_t *copy_bytes(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    CHECK(copy != NULL);
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

/* ---- entries ---- */

void memory_entries_add(struct memory_entries *entries, const struct store_append *append, uint64_t index)
{
    entries->list = grow(entries->list, entries->count, &entries->capacity, sizeof(*entries->list));
    struct memory_entry *entry = &entries->list[entries->count++];
    entry->batches = 0;
    entry->size = entry_size(append->parts, append->part_count);
    CHECK((entry->data = malloc(entry->size)) != NULL);
    struct entry_header header = {
        .type = append->type, .index = index, .term = append->term, .append_time_us = append->append_time_us};
    entry_encode(entry->data, &header, append->parts, append->part_count);
}

void memory_entries_clear(struct memory_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free(entries->list[i].data);
    free(entries->list);
    *entries = (struct memory_entries){0};
}

/* The partition's position in the index, or where it would be. */
static size_t partition_position(const struct memory_disk *disk, uint64_t partition)
{
    size_t low = 0, high = disk->partition_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (disk->partitions[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct memory_partition *find_partition(const struct memory_disk *disk, uint64_t partition)
{
    size_t at = partition_position(disk, partition);
    return at < disk->partition_count && disk->partitions[at].partition == partition ? &disk->partitions[at]
                                                                                     : NULL;
}

static struct memory_partition *add_partition(struct memory_disk *disk, uint64_t partition)
{
    size_t at = partition_position(disk, partition);
    if (at < disk->partition_count && disk->partitions[at].partition == partition)
        return &disk->partitions[at];
    disk->partitions =
        grow(disk->partitions, disk->partition_count, &disk->partition_capacity, sizeof(*disk->partitions));
    memmove(&disk->partitions[at + 1], &disk->partitions[at],
            (disk->partition_count - at) * sizeof(*disk->partitions));
    disk->partition_count++;
    disk->partitions[at] = (struct memory_partition){.partition = partition};
    return &disk->partitions[at];
}

static void index_entry(struct memory_disk *disk, size_t position)
{
    const struct memory_entry *entry = &disk->entries.list[position];
    struct entry_header header;
    CHECK(entry_header_decode(entry->data, entry->size, &header) == 0);
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < header.part_count; i++) {
        struct entry_part part;
        int64_t used = entry_part_decode(entry->data + at, entry->size - at, &part);
        CHECK(used > 0);
        if (part.kind == PART_DATA) {
            struct memory_partition *partition = add_partition(disk, part.partition);
            partition->places =
                grow(partition->places, partition->count, &partition->capacity, sizeof(*partition->places));
            disk->entries.list[position].batches++;
            partition->places[partition->count++] =
                (struct batch_place){part.base_offset, part.span, (uint32_t)part.payload.size,
                                     position,         at,        header.append_time_us};
        }
        at += (size_t)used;
    }
}

void memory_disk_commit(struct memory_disk *disk, struct memory_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        disk->entries.list = grow(disk->entries.list, disk->entries.count, &disk->entries.capacity,
                                  sizeof(*disk->entries.list));
        disk->entries.list[disk->entries.count++] = entries->list[i];
        index_entry(disk, disk->entries.count - 1);
    }
    entries->count = 0; /* the bytes moved */
    memory_entries_clear(entries);
}

int memory_disk_replay(const struct memory_disk *disk, store_entry_fn *fn, void *ctx)
{
    if (disk->applied_index > disk->entries.count)
        return STORE_ECORRUPT; /* the log does not reach the state: entries were lost */
    struct entry_part *parts = malloc(ENTRY_PARTS_MAX * sizeof(*parts));
    CHECK(parts != NULL);
    int rc = 0;
    for (size_t i = disk->applied_index; rc == 0 && i < disk->entries.count; i++) {
        struct entry_header header;
        rc = entry_decode(disk->entries.list[i].data, disk->entries.list[i].size, &header, parts,
                          ENTRY_PARTS_MAX);
        CHECK(rc == 0);
        struct store_entry entry = {.type = header.type,
                                    .index = header.index,
                                    .term = header.term,
                                    .append_time_us = header.append_time_us,
                                    .parts = parts,
                                    .part_count = header.part_count};
        rc = fn(ctx, &entry);
    }
    free(parts);
    return rc;
}

/* ---- reading ---- */

static int take_batch(const struct memory_disk *disk, const struct batch_place *place,
                      struct store_batch *ret_batch)
{
    const struct memory_entry *entry = &disk->entries.list[place->entry];
    struct entry_part part;
    CHECK(entry_part_decode(entry->data + place->part_at, entry->size - place->part_at, &part) > 0);
    CHECK(entry_payload_check(&part) == 0);
    struct buffer *buffer = buffer_create(part.payload.size);
    if (!buffer)
        return STORE_ENOMEM;
    memcpy(buffer->data, part.payload.data, part.payload.size);
    *ret_batch = (struct store_batch){.base_offset = part.base_offset,
                                      .span = part.span,
                                      .index = place->entry + 1,
                                      .append_time_us = place->time_us,
                                      .batch = {buffer, buffer->data, part.payload.size}};
    return 0;
}

/* The first batch that ends after the offset. */
static size_t place_position(const struct memory_partition *partition, uint64_t offset)
{
    size_t low = 0, high = partition->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct batch_place *place = &partition->places[middle];
        if (place->base_offset + place->span > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int memory_disk_read(const struct memory_disk *disk, struct store_read *read, uint64_t *ret_bytes)
{
    const struct memory_partition *partition = find_partition(disk, read->partition);
    uint64_t bytes = 0;
    size_t gathered = 0;
    if (partition)
        for (size_t i = place_position(partition, read->offset);
             i < partition->count && read->count < STORE_READ_BATCHES_MAX; i++) {
            const struct batch_place *place = &partition->places[i];
            while (gathered < read->offset_count && read->offsets[gathered] < place->base_offset)
                gathered++;
            if (read->offsets && gathered == read->offset_count)
                break;
            if (read->offsets && read->offsets[gathered] >= place->base_offset + place->span)
                continue;
            if (place->base_offset >= read->until || (read->count > 0 && bytes >= read->bytes_max))
                break;
            int rc = take_batch(disk, place, &read->batches[read->count]);
            if (rc < 0)
                return rc;
            bytes += read->batches[read->count++].batch.size;
        }
    *ret_bytes = bytes;
    return 0;
}

static void look_up_prefix(const struct memory_partition *partition, struct store_lookup *lookup)
{
    lookup->offset = lookup->from;
    lookup->bytes = 0;
    lookup->more = false;
    for (size_t i = partition ? place_position(partition, lookup->from) : 0;
         partition && i < partition->count; i++) {
        const struct batch_place *place = &partition->places[i];
        if (place->base_offset + place->span > lookup->until)
            break;
        if (lookup->bytes + place->size > lookup->bytes_max)
            return;
        lookup->bytes += place->size;
        lookup->offset = place->base_offset + place->span;
    }
    lookup->offset = lookup->until;
}

void memory_disk_lookup(const struct memory_disk *disk, struct store_lookup *lookup)
{
    const struct memory_partition *partition = find_partition(disk, lookup->partition);
    if (lookup->kind == LOOKUP_PREFIX) {
        look_up_prefix(partition, lookup);
        return;
    }
    lookup->found = false;
    for (size_t i = 0; partition && i < partition->count && !lookup->found; i++)
        if (partition->places[i].time_us >= lookup->time_us) {
            lookup->found = true;
            lookup->offset = partition->places[i].base_offset;
        }
}

/* ---- giving back ---- */

/* An entry whose batches are all gone: only its index is left. Replay begins above it. */
static void drop_batch(struct memory_disk *disk, const struct batch_place *place)
{
    struct memory_entry *entry = &disk->entries.list[place->entry];
    if (--entry->batches > 0)
        return;
    free(entry->data);
    entry->data = NULL;
}

void memory_disk_clean(struct memory_disk *disk, struct log_starts *starts)
{
    for (size_t i = 0; i < disk->partition_count; i++) {
        struct memory_partition *partition = &disk->partitions[i];
        uint64_t log_start = log_starts_get(starts, partition->partition);
        size_t count = 0;
        while (count < partition->count && partition->places[count].entry < disk->applied_index &&
               partition->places[count].base_offset + partition->places[count].span <= log_start)
            drop_batch(disk, &partition->places[count++]);
        partition->count -= count;
        memmove(partition->places, partition->places + count, partition->count * sizeof(*partition->places));
    }
}

/* ---- rows ---- */

static int compare_keys(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : a_size < b_size ? -1 : a_size > b_size;
}

static size_t row_position(const struct memory_rows *rows, const uint8_t *key, size_t key_size,
                           bool *ret_there)
{
    size_t low = 0, high = rows->count;
    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_keys(rows->list[middle].key, rows->list[middle].key_size, key, key_size);
        *ret_there = *ret_there || order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void row_finish(struct memory_row *row)
{
    free(row->key);
    free(row->value);
}

static void row_set(struct memory_rows *rows, const struct memory_row *row)
{
    bool there;
    size_t at = row_position(rows, row->key, row->key_size, &there);
    if (there)
        row_finish(&rows->list[at]);
    if (!row->value) {
        if (there) {
            rows->count--;
            memmove(&rows->list[at], &rows->list[at + 1], (rows->count - at) * sizeof(*rows->list));
        }
        return;
    }
    if (!there) {
        rows->list = grow(rows->list, rows->count, &rows->capacity, sizeof(*rows->list));
        memmove(&rows->list[at + 1], &rows->list[at], (rows->count - at) * sizeof(*rows->list));
        rows->count++;
    }
    rows->list[at] = (struct memory_row){.key = copy_bytes(row->key, row->key_size),
                                         .value = copy_bytes(row->value, row->value_size),
                                         .key_size = row->key_size,
                                         .value_size = row->value_size};
}

static void rows_append(struct memory_rows *to, const struct store_row *row)
{
    CHECK(row->key_size > 0 && row->key_size <= STORE_KEY_SIZE_MAX && row->key[0] != 0);
    to->list = grow(to->list, to->count, &to->capacity, sizeof(*to->list));
    to->list[to->count++] =
        (struct memory_row){.key = copy_bytes(row->key, row->key_size),
                            .value = row->value ? copy_bytes(row->value, row->value_size) : NULL,
                            .key_size = row->key_size,
                            .value_size = row->value_size};
}

void memory_rows_copy(struct memory_rows *to, const struct store_flush *flush)
{
    for (const struct store_rows *some = flush->rows; some; some = some->next)
        for (size_t i = 0; i < some->count; i++)
            rows_append(to, &some->rows[i]);
}

void memory_rows_clear(struct memory_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        row_finish(&rows->list[i]);
    free(rows->list);
    *rows = (struct memory_rows){0};
}

void memory_disk_flush(struct memory_disk *disk, const struct memory_rows *changes, uint64_t applied_index)
{
    CHECK(applied_index >= disk->applied_index);
    for (size_t i = 0; i < changes->count; i++)
        row_set(&disk->rows, &changes->list[i]);
    disk->applied_index = applied_index;
}

void memory_disk_range(const struct memory_disk *disk, struct store_range *range)
{
    const struct memory_rows *rows = &disk->rows;
    bool there;
    size_t first = row_position(rows, range->from, range->from_size, &there), last = first, size = 0;
    for (; last < rows->count && last - first < range->count_max && rows->list[last].key[0] == range->from[0];
         last++)
        size += rows->list[last].key_size + rows->list[last].value_size;
    range->status = STORE_OK;
    range->count = last - first;
    range->rows = range->count ? malloc(range->count * sizeof(struct store_row) + size) : NULL;
    CHECK(range->rows || !range->count);
    uint8_t *at = (uint8_t *)(range->rows + range->count);
    for (size_t i = 0; i < range->count; i++) {
        const struct memory_row *row = &rows->list[first + i];
        range->rows[i] = (struct store_row){at, row->key_size, at + row->key_size, row->value_size};
        memcpy(at, row->key, row->key_size);
        memcpy(at + row->key_size, row->value, row->value_size);
        at += row->key_size + row->value_size;
    }
}

void memory_disk_finish(struct memory_disk *disk)
{
    memory_entries_clear(&disk->entries);
    memory_rows_clear(&disk->rows);
    for (size_t i = 0; i < disk->partition_count; i++)
        free(disk->partitions[i].places);
    free(disk->partitions);
    *disk = (struct memory_disk){0};
}
