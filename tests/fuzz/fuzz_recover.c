/* fuzz_recover.c: a start from state rows and log entries that may be anything.
 *
 * LMDB gives whole values back and every entry has checksums, so what the core is given at a start is what somebody wrote:
 * another version, a tool, or a bug of ours years ago. Each row and each command is refused or taken, never trusted.
 *
 * Promises: core_recover answers 0 or a code with a sentence; nothing crashes or leaks; what was taken can be flushed. Also
 * that any bytes are an entry or none, the same from whichever side one looks. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "broker/core/core.h"
#include "proto/batch.h"
#include "storage/entry.h"
#include "tests/fuzz/script.h"

#include <string.h>

#define ROWS_MAX    32
#define ENTRIES_MAX 32
#define PARTS_MAX   4
#define TABLES      16
#define COMMANDS    24

struct start {
    struct store store; /* first */
    struct script *script;
};

static int load_state(struct store *store, store_row_fn *fn, void *ctx, uint64_t *ret_applied_index)
{
    struct script *script = ((struct start *)store)->script;
    unsigned rows = script_u8(script) % ROWS_MAX;
    *ret_applied_index = 0;
    for (unsigned i = 0; i < rows; i++) {
        uint8_t key[64];
        struct store_row row = {.key = key};
        size_t key_size;
        key[0] = script_u8(script) % TABLES;
        const uint8_t *rest = script_bytes(script, script_u8(script) % 33, &key_size);
        if (key_size)
            memcpy(key + 1, rest, key_size);
        row.key_size = 1 + key_size;
        row.value = script_bytes(script, script_u8(script), &row.value_size);
        int rc = fn(ctx, &row);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static size_t batch_make(struct script *script, uint8_t *to, size_t capacity)
{
    struct batch_builder builder;
    size_t value_size;
    batch_builder_init(&builder, to, capacity);
    const uint8_t *value = script_bytes(script, script_u8(script) % 32, &value_size);
    batch_builder_append(&builder, 1700000000000, NULL, 0, value, value_size, NULL, 0);
    return batch_builder_finish(&builder, (int64_t)script_u8(script) - 1, script_u8(script) % 3,
                                script_u8(script));
}

static int replay(struct store *store, store_entry_fn *fn, void *ctx)
{
    struct script *script = ((struct start *)store)->script;
    for (uint64_t index = 1; index <= ENTRIES_MAX && !script_over(script); index++) {
        struct entry_part parts[PARTS_MAX];
        static uint8_t batches[PARTS_MAX][1024], commands[PARTS_MAX][256];
        struct store_entry entry = {.type = ENTRY_NORMAL,
                                    .index = index,
                                    .term = 1,
                                    .append_time_us = (int64_t)script_u16(script) << (script_u8(script) % 48),
                                    .parts = parts};
        entry.part_count = 1 + script_u8(script) % PARTS_MAX;
        for (uint32_t i = 0; i < entry.part_count; i++) {
            struct entry_part *part = &parts[i];
            size_t size;
            *part = (struct entry_part){.kind = script_u8(script) & 1 ? PART_DATA : PART_COMMAND};
            if (part->kind == PART_DATA) {
                part->partition = script_u8(script) % 8;
                part->base_offset = script_u8(script);
                part->span = script_u8(script) % 4;
                part->payload =
                    (struct slice){NULL, batches[i], batch_make(script, batches[i], sizeof(batches[i]))};
            } else {
                part->command = (uint16_t)(script_u8(script) % COMMANDS);
                const uint8_t *bytes = script_bytes(script, script_u8(script), &size);
                if (size)
                    memcpy(commands[i], bytes, size);
                part->payload = (struct slice){NULL, commands[i], size};
            }
        }
        int rc = fn(ctx, &entry);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int start(struct store *store)
{
    (void)store;
    return 0;
}

/* The first entry of this life stays under way for ever. */
static int append(struct store *store, struct store_append *append)
{
    (void)store, (void)append;
    return 0;
}

static int lookup(struct store *store, struct store_lookup *lookup)
{
    (void)store, (void)lookup;
    return 0;
}

static int flush(struct store *store, struct store_flush *flush)
{
    size_t count = 0;
    (void)store;
    for (const struct store_rows *some = flush->rows; some; some = some->next)
        for (size_t i = 0; i < some->count; i++, count++)
            CHECK(some->rows[i].key_size >= 1 && some->rows[i].key_size <= STORE_KEY_SIZE_MAX);
    CHECK(count == flush->row_count);
    return 0;
}

static int trim(struct store *store, uint64_t partition, uint64_t log_start)
{
    (void)store, (void)partition, (void)log_start;
    return 0;
}

static int range(struct store *store, struct store_range *range)
{
    (void)store, (void)range;
    return STORE_EAGAIN;
}

static const struct store_ops store_ops = {.load_state = load_state,
                                           .replay = replay,
                                           .start = start,
                                           .append = append,
                                           .lookup = lookup,
                                           .flush = flush,
                                           .trim = trim,
                                           .range = range};

static void no_random(void *ctx, void *to, size_t size)
{
    (void)ctx;
    memset(to, 7, size);
}

static void no_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    (void)ctx, (void)level;
    CHECK(id && text);
}

static const struct core_ops ops = {.random = no_random, .log = no_log}; /* no connection ever comes */

static void recover(struct script *script)
{
    struct start store = {.store.ops = &store_ops, .script = script};
    struct core_config config = core_config_default();
    char error[256] = "";
    struct core *core = core_create(&config, &ops, NULL, &store.store);
    CHECK(core);
    int rc = core_recover(core, 0, 0, error, sizeof(error));
    CHECK(rc <= 0 && (rc == 0 || error[0]));
    for (int64_t turn = 1; rc == 0 && turn < 4; turn++) {
        core_turn_begin(core, config.flush_interval_us * turn, 0);
        core_turn_end(core);
    }
    core_destroy(core);
}

static void decode(const uint8_t *data, size_t size)
{
    struct entry_header header, again;
    struct entry_part parts[PARTS_MAX];
    int rc = entry_header_decode(data, size, &header);
    int whole = entry_decode(data, size, &again, parts, PARTS_MAX);
    CHECK(rc == 0 || whole != 0);
    for (uint32_t i = 0; whole == 0 && i < again.part_count; i++)
        CHECK(parts[i].payload.data >= data && parts[i].payload.data + parts[i].payload.size <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    if (script_u8(&script) & 1)
        recover(&script);
    else
        decode(script.at, script.left);
    return 0;
}
