/* bus_shared.c: crier_ack, crier_nack, crier_extend: on their way to the I/O thread; crier_redrive, blocking.
 *
 * Thread:   any; told_run: the I/O thread.
 * Owns:     struct told, until it has run. */
#include "client/bus_request.h"

#include "client/handles.h"
#include "client/leased.h"
#include "client/struct_size.h"
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

struct told {
    struct task task;
    crier *bus;
    struct crier_lease lease;
    struct shared_end end;
    char reason[CRIER_NACK_REASON_MAX + 1];
};

static void told_run(struct task *task, bool dropped)
{
    struct told *told = LIST_ENTRY(task, struct told, task);

    if (!dropped)
        settle_lease(told->bus->engine, &told->lease, &told->end);
    free(told);
}

static int tell(crier *bus, const struct crier_lease *lease, const struct shared_end *end)
{
    struct told *told;

    if (!bus || !lease || lease->assignment == 0 || lease->attempt == 0)
        return CRIER_EINVAL;
    if (bus->emitter)
        return CRIER_ENOTSUP;
    if (!(told = calloc(1, sizeof(*told))))
        return CRIER_ENOMEM;
    told->task.run = told_run;
    list_init(&told->task.link);
    told->bus = bus;
    told->lease = *lease;
    told->end = *end;
    if (end->reason)
        told->end.reason = memcpy(told->reason, end->reason, strlen(end->reason) + 1);
    agenda_add(bus->agenda, AGENDA_IMMEDIATE, &told->task);
    return 0;
}

int crier_ack(crier *bus, const struct crier_lease *lease)
{
    handle_check(&bus_handles, bus);
    struct shared_end end = {.kind = FRAME_ACK};

    return tell(bus, lease, &end);
}

int crier_nack(crier *bus, const struct crier_lease *lease, const struct crier_nack_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_nack_options copy = crier_nack_options_default();
    struct shared_end end = {.kind = FRAME_NACK};

    if (!struct_take(&copy, sizeof(copy), options) || copy.delay_ms > CRIER_NACK_DELAY_MS_MAX ||
        (copy.reason && strnlen(copy.reason, CRIER_NACK_REASON_MAX + 1) > CRIER_NACK_REASON_MAX))
        return CRIER_EINVAL;
    end.delay_ms = copy.delay_ms;
    end.reason = copy.reason;
    end.reject = copy.reject;
    return tell(bus, lease, &end);
}

int crier_extend(crier *bus, const struct crier_lease *lease, uint32_t lease_ms)
{
    handle_check(&bus_handles, bus);
    struct shared_end end = {.kind = FRAME_EXTEND, .lease_ms = lease_ms};

    return lease_ms > CRIER_LEASE_MS_MAX ? CRIER_EINVAL : tell(bus, lease, &end);
}

int crier_redrive(crier *bus, const char *topic, uint64_t limit, uint64_t *ret_moved)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;
    int rc;

    if (!bus || !topic)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_REDRIVE, topic)))
        return CRIER_ENOMEM;
    request->limit = limit;
    if ((rc = bus_request_run(bus, request)) < 0)
        return rc;
    if (ret_moved)
        *ret_moved = request->moved;
    bus_request_free(request);
    return 0;
}
