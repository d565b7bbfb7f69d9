/* live.c: verify and backup of a broker that runs, over its socket (crier_inspect).
 *
 * Thread:      main.
 * Happy path:  verify: one SCAN a segment, to the end. backup: SEAL, so that everything acknowledged by now is in files that
 *              never change → LIST them → offline_backup_from() with READs as its source.
 * Failures:    a file that retention removed meanwhile: the backup begins again, a few times; what was copied stays. */
#include "tools/live.h"

#include "tools/text.h"

#include "storage/offline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 5

/* ---- verify ---- */

struct totals {
    struct offline_summary summary;
    struct crier_inspected last; /* without its pointers */
};

static void print_fault(const struct crier_inspected *segment, const struct crier_inspect_fault *fault)
{
    printf("DAMAGED: segment %" PRIu64 ", ", segment->number);
    if (fault->last_index > fault->first_index)
        printf("entries %" PRIu64 "..%" PRIu64, fault->first_index, fault->last_index);
    else
        printf("entry %" PRIu64, fault->first_index);
    if (fault->topic != NULL)
        printf(", topic %s, partition %" PRIu32 ", offset %" PRIu64, fault->topic, fault->partition,
               fault->offset);
    printf(": %s\n", fault->what);
}

static void on_scanned(void *ctx, const struct crier_inspected *inspected)
{
    struct totals *totals = ctx;
    totals->last = *inspected;
    if (!inspected->found)
        return;
    totals->summary.segments++;
    totals->summary.entries += inspected->entries;
    totals->summary.bytes += inspected->size;
    totals->summary.faults += inspected->faults;
    for (size_t i = 0; i < inspected->fault_count; i++)
        print_fault(inspected, &inspected->fault[i]);
    if (inspected->faults > inspected->fault_count)
        printf("DAMAGED: segment %" PRIu64 ": %" PRIu64 " more\n", inspected->number,
               inspected->faults - inspected->fault_count);
}

int live_verify(crier *bus)
{
    struct totals totals = {0};
    char text[TEXT_SIZE];
    struct watch watch = watch_create(NULL);
    struct offline_watch of = watch_of(&watch);
    do {
        struct crier_inspection question = {
            .struct_size = sizeof(question), .what = CRIER_INSPECT_SCAN, .after = totals.last.number};
        int rc = crier_inspect(bus, &question, on_scanned, &totals);
        if (rc < 0) {
            watch_finish(&watch);
            return command_failed("the broker cannot say: %s", crier_strerror(rc));
        }
        uint64_t all = totals.summary.segments + totals.last.segments_left;
        of.progress(of.ctx, "segments", totals.summary.segments, all);
    } while (totals.last.found && totals.last.segments_left > 0);
    watch_finish(&watch);
    watch_print_summary(&totals.summary);
    if (totals.summary.faults == 0) {
        puts(": all good");
        return STATUS_DONE;
    }
    printf(": %s damaged\nStop the broker; then crier verify DIR tells more, crier restore brings it back\n",
           text_count(totals.summary.faults, text));
    return STATUS_FAILED;
}

/* ---- backup ---- */

struct live {
    crier *bus;
    struct offline_list list;
    size_t capacity;
    int rc;
    uint64_t last; /* number of the segment listed last; 0: there was none */
    bool found, sealed;
    uint8_t *to; /* of a read */
    size_t size;
};

static void on_sealed(void *ctx, const struct crier_inspected *inspected)
{
    struct offline_list *list = &((struct live *)ctx)->list;
    memcpy(list->cluster_id, inspected->cluster_id, sizeof(list->cluster_id));
    list->node_id = inspected->node_id;
    list->created_us = inspected->created_us;
    list->state_index = inspected->state_index;
    list->state_size = inspected->state_size;
}

static bool room(struct live *live)
{
    if (live->list.count < live->capacity)
        return true;
    size_t capacity = live->capacity ? live->capacity * 2 : 64;
    struct offline_segment *grown = realloc(live->list.segments, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    live->list.segments = grown;
    live->capacity = capacity;
    return true;
}

static void on_listed(void *ctx, const struct crier_inspected *inspected)
{
    struct live *live = ctx;
    live->found = inspected->found;
    if (!inspected->found)
        return;
    live->last = inspected->number;
    if (!inspected->sealed)
        return; /* what came after SEAL */
    if (!room(live)) {
        live->rc = CRIER_ENOMEM;
        return;
    }
    live->list.segments[live->list.count++] =
        (struct offline_segment){.number = inspected->number,
                                 .generation = inspected->generation,
                                 .first_index = inspected->first_index,
                                 .last_index = inspected->last_index,
                                 .first_time_us = inspected->first_time_us,
                                 .last_time_us = inspected->last_time_us,
                                 .size = inspected->size,
                                 .index_size = inspected->index_size};
}

static void on_read(void *ctx, const struct crier_inspected *inspected)
{
    struct live *live = ctx;
    live->rc = inspected->byte_count == live->size ? 0 : CRIER_EPROTO;
    if (live->rc == 0)
        memcpy(live->to, inspected->bytes, live->size);
}

/* As struct offline_source wants it. */
static int read_file(void *ctx, const struct offline_file *file, uint64_t position, void *to, size_t size)
{
    struct live *live = ctx;
    struct crier_inspection question = {.struct_size = sizeof(question),
                                        .what = CRIER_INSPECT_READ,
                                        .file = file->kind == OFFLINE_STATE     ? CRIER_FILE_STATE
                                                : file->kind == OFFLINE_SEGMENT ? CRIER_FILE_SEGMENT
                                                                                : CRIER_FILE_INDEX,
                                        .number = file->kind == OFFLINE_STATE ? live->list.state_index
                                                                              : file->number,
                                        .generation = file->generation,
                                        .position = position,
                                        .size = (uint32_t)size};
    live->to = to;
    live->size = size;
    int rc = crier_inspect(live->bus, &question, on_read, live);
    live->rc = rc < 0 ? rc : live->rc;
    return live->rc == 0 ? 0 : live->rc == CRIER_EAGAIN ? STORE_EAGAIN : STORE_EIO;
}

static int list_sealed(struct live *live)
{
    struct crier_inspection question = {.struct_size = sizeof(question), .what = CRIER_INSPECT_SEAL};
    live->list.count = 0;
    live->last = 0;
    int rc = crier_inspect(live->bus, &question, on_sealed, live);
    question.what = CRIER_INSPECT_LIST;
    for (live->found = true; rc == 0 && live->rc == 0 && live->found;) {
        question.after = live->last;
        rc = crier_inspect(live->bus, &question, on_listed, live);
    }
    return rc < 0 ? rc : live->rc;
}

int live_backup(crier *bus, const char *to)
{
    struct live live = {.bus = bus};
    struct offline_source source = {read_file, &live};
    struct watch watch = watch_create(NULL);
    struct offline_watch of = watch_of(&watch);
    struct offline_summary summary;
    char error[512] = "", text[TEXT_SIZE];
    int rc = 0, status = STATUS_FAILED;
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        live.rc = 0;
        if ((rc = list_sealed(&live)) < 0) {
            (void)snprintf(error, sizeof(error), "the broker cannot say what it has: %s", crier_strerror(rc));
            break;
        }
        rc = offline_backup_from(&live.list, &source, to, &of, &summary, error, sizeof(error));
        if (rc == 0 || live.rc != CRIER_EAGAIN)
            break;
    }
    if (rc == 0) {
        fputs("copied ", stdout);
        watch_print_summary(&summary);
        printf("; %s segments were there already\n", text_count(summary.kept, text));
        status = STATUS_DONE;
    } else {
        status = command_failed("%s", error);
    }
    free(live.list.segments);
    watch_finish(&watch);
    return status;
}
