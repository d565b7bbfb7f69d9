/* disk_inspect.c: what the disk tells of its files. The twin has none, so one segment is made up, with all that is durable in it:
 * what is simulated is the way of the questions and answers, not what checks files (tests/unit/test_store_inspect.c).
 *
 * An answer comes with a later poll, one a time. The bytes of a file follow from their place. */
#include "tests/sim/disk.h"

#include "base/check.h"

#include <string.h>

#define SEGMENT     1
#define FAULT_EVERY 5 /* entries: then one of them is said to be damaged */

uint8_t disk_file_byte(uint64_t position)
{
    return (uint8_t)(position * 0x9e3779b97f4a7c15u >> 56);
}

int disk_inspect(struct disk *disk, struct store_inspect *inspect)
{
    if (disk->inspect_count == DISK_INSPECTS_MAX)
        return STORE_EAGAIN;
    disk->inspects[disk->inspect_count++] = inspect;
    return 0;
}

static void tell_segment(const struct disk *disk, struct store_inspect *inspect)
{
    inspect->segments = 1;
    inspect->found = inspect->after < SEGMENT;
    if (!inspect->found)
        return;
    inspect->segment =
        (struct store_segment){.number = SEGMENT, .first_index = 1, .last_index = disk->entry_count};
    if (inspect->what != STORE_SCAN)
        return;
    inspect->entries = disk->entry_count;
    inspect->faults = disk->entry_count % FAULT_EVERY == 0;
    if (inspect->faults)
        inspect->fault[0] =
            (struct store_fault){disk->entry_count, disk->entry_count, disk->entry_count % 8, 0, "made up"};
}

static void tell_bytes(struct store_inspect *inspect)
{
    struct buffer *buffer = inspect->number == SEGMENT ? buffer_create(inspect->size) : NULL;
    inspect->status = buffer ? STORE_OK : STORE_EAGAIN;
    if (!buffer)
        return;
    for (size_t i = 0; i < inspect->size; i++)
        buffer->data[i] = disk_file_byte(inspect->position + i);
    inspect->bytes = (struct slice){buffer, buffer->data, inspect->size};
}

unsigned disk_inspect_answer(struct disk *disk)
{
    if (disk->inspect_count == 0)
        return 0;
    struct store_inspect *inspect = disk->inspects[0];
    memmove(disk->inspects, disk->inspects + 1, --disk->inspect_count * sizeof(struct store_inspect *));
    inspect->status = STORE_OK;
    if (inspect->what == STORE_FILE)
        tell_bytes(inspect);
    else if (inspect->what == STORE_SEAL)
        inspect->state_index = disk->entry_count;
    else
        tell_segment(disk, inspect);
    inspect->done(inspect, inspect->ctx);
    return 1;
}
