/* watch.c: how verify, backup and restore tell people what they find; see watch.h.
 *
 * Topics are named by the state's rows (proto/state.proto), or, since the last flush, by the commands that make them: each
 * says which partitions are its own. */
#include "tools/watch.h"

#include "proto/state.pb-c.h"
#include "tools/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW_TOPIC            2 /* the first byte of a topic row's key (docs/disk-format.md) */
#define COMMAND_CREATE_TOPIC 1

struct topic_names {
    struct name {
        uint64_t partition;
        uint32_t number; /* of the partition in its topic, from 0 */
        char *topic;     /* shared by a topic's partitions: freed with number 0 */
    } * list;
    size_t count, capacity;
    size_t sorted; /* so many from the front: those of the state; few come after */
};

static int add(struct topic_names *names, uint64_t partition, uint32_t number, char *topic)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? names->capacity * 2 : 64;
        struct name *list = realloc(names->list, capacity * sizeof(*list));
        if (list == NULL)
            return STORE_ENOMEM;
        names->list = list;
        names->capacity = capacity;
    }
    names->list[names->count++] = (struct name){partition, number, topic};
    return 0;
}

static int add_topic(struct topic_names *names, const char *topic, const uint64_t *partitions, size_t count)
{
    char *name = count > 0 ? strdup(topic) : NULL;
    int rc = 0;
    for (uint32_t i = 0; name != NULL && rc == 0 && i < count; i++)
        rc = add(names, partitions[i], i, name);
    return rc;
}

static int on_row(void *ctx, const struct store_row *row)
{
    State__TopicRow *topic =
        row->key[0] == ROW_TOPIC ? state__topic_row__unpack(NULL, row->value_size, row->value) : NULL;
    if (topic == NULL)
        return 0; /* another table; or of a newer version: its partitions stay numbers */
    int rc = add_topic(ctx, topic->name, topic->partitions, topic->n_partitions);
    state__topic_row__free_unpacked(topic, NULL);
    return rc;
}

static int by_partition(const void *a, const void *b)
{
    uint64_t left = ((const struct name *)a)->partition, right = ((const struct name *)b)->partition;
    return left < right ? -1 : left > right;
}

static const struct name *find(const struct topic_names *names, uint64_t partition)
{
    for (size_t i = names == NULL ? 0 : names->sorted; i < (names == NULL ? 0 : names->count); i++)
        if (names->list[i].partition == partition)
            return &names->list[i];
    const struct name wanted = {.partition = partition};
    return names == NULL || names->sorted == 0
               ? NULL
               : bsearch(&wanted, names->list, names->sorted, sizeof(wanted), by_partition);
}

static void on_command(void *ctx, uint16_t command, const uint8_t *bytes, size_t size)
{
    struct watch *watch = ctx;
    State__CreateTopic *topic = command == COMMAND_CREATE_TOPIC && watch->names != NULL
                                    ? state__create_topic__unpack(NULL, size, bytes)
                                    : NULL;
    if (topic == NULL)
        return;
    if (topic->n_partitions > 0 && find(watch->names, topic->partitions[0]) == NULL)
        (void)add_topic(watch->names, topic->name, topic->partitions, topic->n_partitions);
    state__create_topic__free_unpacked(topic, NULL);
}

struct watch watch_create(const char *folder)
{
    char error[512];
    struct watch watch = {.progress = isatty(STDERR_FILENO) != 0, .percent = -1};
    watch.names = calloc(1, sizeof(*watch.names));
    if (watch.names != NULL && folder != NULL) {
        (void)offline_rows(folder, on_row, watch.names, error, sizeof(error));
        watch.names->sorted = watch.names->count;
        if (watch.names->count > 0)
            qsort(watch.names->list, watch.names->count, sizeof(struct name), by_partition);
    }
    return watch;
}

void watch_finish(struct watch *watch)
{
    for (size_t i = 0; watch->names != NULL && i < watch->names->count; i++)
        if (watch->names->list[i].number == 0)
            free(watch->names->list[i].topic);
    if (watch->names != NULL)
        free(watch->names->list);
    free(watch->names);
}

/* ---- what is told ---- */

static void wipe(struct watch *watch)
{
    if (watch->percent >= 0)
        fputs("\r\033[K", stderr);
    watch->percent = -1;
}

static void print_batch(const struct watch *watch, uint64_t partition, uint64_t offset)
{
    const struct name *name = find(watch->names, partition);
    if (name != NULL)
        printf(", topic %s, partition %" PRIu32 ", offset %" PRIu64, name->topic, name->number, offset);
    else
        printf(", partition id %" PRIu64 ", offset %" PRIu64, partition, offset);
}

static void on_fault(void *ctx, const struct offline_fault *fault)
{
    struct watch *watch = ctx;
    wipe(watch);
    printf("%s: ", fault->harmless ? "note" : "DAMAGED");
    printf("%s", fault->file);
    if (fault->segment > 0)
        printf(", segment %" PRIu64, fault->segment);
    if (fault->last_index == UINT64_MAX)
        printf(", entry %" PRIu64 " and what follows it there", fault->first_index);
    else if (fault->last_index > fault->first_index)
        printf(", entries %" PRIu64 "..%" PRIu64, fault->first_index, fault->last_index);
    else if (fault->last_index > 0)
        printf(", entry %" PRIu64, fault->first_index);
    if (fault->partition > 0)
        print_batch(watch, fault->partition, fault->offset);
    printf(": %s\n", fault->what);
}

static void on_progress(void *ctx, const char *file, uint64_t done_bytes, uint64_t total_bytes)
{
    struct watch *watch = ctx;
    int percent = total_bytes == 0 ? 100 : (int)(done_bytes * 100 / total_bytes);
    if (!watch->progress || percent == watch->percent)
        return;
    watch->percent = percent;
    const char *slash = strrchr(file, '/');
    fprintf(stderr, "\r%3d %%  %s\033[K", percent, slash != NULL ? slash + 1 : file);
    fflush(stderr);
    if (percent == 100)
        wipe(watch);
}

struct offline_watch watch_of(struct watch *watch)
{
    return (struct offline_watch){
        .fault = on_fault, .progress = on_progress, .command = on_command, .ctx = watch};
}

void watch_print_summary(const struct offline_summary *summary)
{
    char text[3][TEXT_SIZE];
    printf("%s segment%s, %s entries, %s", text_count(summary->segments, text[0]),
           summary->segments == 1 ? "" : "s", text_count(summary->entries, text[1]),
           text_bytes(summary->bytes, text[2]));
}
