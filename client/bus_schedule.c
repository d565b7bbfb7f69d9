/* bus_schedule.c: crier_schedule_cancel and _list, blocking as bus_request.c; crier_schedule_cancel_with, which is not. */
#include "client/bus_request.h"
#include "client/handles.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- canceling ---- */

int crier_schedule_cancel(crier *bus, const crier_schedule *schedule)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;
    int rc;

    if (!bus || !schedule || schedule->due_us < 0)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_SCHEDULE_CANCEL, NULL)))
        return CRIER_ENOMEM;
    request->schedule = *schedule;
    if ((rc = bus_request_run(bus, request)) == 0)
        bus_request_free(request);
    return rc;
}

static void nobody(crier *bus, int code, void *ctx)
{
    (void)bus, (void)code, (void)ctx;
}

int crier_schedule_cancel_with(crier *bus, const crier_schedule *schedule, crier_canceled *done, void *ctx)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;

    if (!bus || !schedule || schedule->due_us < 0)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_SCHEDULE_CANCEL, NULL)))
        return CRIER_ENOMEM;
    request->schedule = *schedule;
    request->canceled = done ? done : nobody;
    request->ctx = ctx;
    return bus_request_begin(bus, request);
}

/* ---- listing ---- */

bool schedule_keep(struct bus_request *request, const struct crier_schedule_info *info)
{
    char *topic;

    if (request->schedule_count == request->schedule_capacity) {
        size_t capacity = request->schedule_capacity ? 2 * request->schedule_capacity : 64;
        struct crier_schedule_info *grown = realloc(request->schedules, capacity * sizeof(*grown));
        if (!grown)
            return false;
        request->schedules = grown;
        request->schedule_capacity = capacity;
    }
    if (!(topic = text_copy(info->topic)))
        return false;
    request->schedules[request->schedule_count] = *info;
    request->schedules[request->schedule_count++].topic = topic;
    return true;
}

void schedule_copies_free(struct bus_request *request)
{
    for (size_t i = 0; i < request->schedule_count; i++)
        free((char *)(uintptr_t)request->schedules[i].topic);
    free(request->schedules);
}

int crier_schedule_list(crier *bus, const struct crier_schedule_list_options *options,
                        void (*each)(void *ctx, const struct crier_schedule_info *info), void *ctx,
                        uint64_t *ret_pending)
{
    handle_check(&bus_handles, bus);
    struct crier_schedule_list_options copy = crier_schedule_list_options_default();
    struct bus_request *request;
    int rc;

    if (!bus || !each || !struct_take(&copy, sizeof(copy), options) || copy.after.due_us < 0 ||
        !copy.count_max)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_SCHEDULE_LIST, copy.topic)))
        return CRIER_ENOMEM;
    request->schedule = copy.after;
    request->count_max = copy.count_max;
    if ((rc = bus_request_run(bus, request)) < 0)
        return rc;
    for (size_t i = 0; i < request->schedule_count; i++)
        each(ctx, &request->schedules[i]);
    if (ret_pending)
        *ret_pending = request->schedules_pending;
    bus_request_free(request);
    return 0;
}

/* ---- as text ---- */

void crier_schedule_to_text(const crier_schedule *schedule, char text[CRIER_SCHEDULE_TEXT_SIZE])
{
    (void)snprintf(text, CRIER_SCHEDULE_TEXT_SIZE, "%" PRIx64 "-%" PRIx64, (uint64_t)schedule->due_us,
                   schedule->number);
}

/* 1 to 16 digits; NULL: it is none. */
static const char *hex_read(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t size = strspn(text, "0123456789abcdef");

    if (size == 0 || size > 16)
        return NULL;
    for (size_t i = 0; i < size; i++)
        value = value << 4 | (uint64_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
    *ret_value = value;
    return text + size;
}

int crier_schedule_from_text(const char *text, crier_schedule *ret_schedule)
{
    uint64_t due_us, number;

    if (!text || !ret_schedule)
        return CRIER_EINVAL;
    if (!(text = hex_read(text, &due_us)) || *text != '-' || !(text = hex_read(text + 1, &number)) || *text ||
        due_us > INT64_MAX)
        return CRIER_EINVAL;
    *ret_schedule = (crier_schedule){(int64_t)due_us, number};
    return 0;
}
