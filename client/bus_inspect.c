/* bus_inspect.c: crier_inspect(): a blocking question about the broker's files.
 *
 * Thread:   any that may block; inspected_keep: the I/O thread. */
#include "client/bus_request.h"

#include "client/handles.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

void inspected_free(struct crier_inspected *inspected)
{
    struct crier_inspect_fault *faults = (struct crier_inspect_fault *)(uintptr_t)inspected->fault;

    for (size_t i = 0; faults && i < inspected->fault_count; i++) {
        free((char *)(uintptr_t)faults[i].topic);
        free((char *)(uintptr_t)faults[i].what);
    }
    free(faults);
    free((uint8_t *)(uintptr_t)inspected->bytes);
}

static bool fault_copy(struct crier_inspect_fault *to, const struct crier_inspect_fault *fault)
{
    *to = *fault;
    to->topic = fault->topic ? text_copy(fault->topic) : NULL;
    to->what = text_copy(fault->what);
    return to->what && (to->topic || !fault->topic);
}

bool inspected_keep(struct bus_request *request, const struct crier_inspected *inspected)
{
    struct crier_inspect_fault *faults = calloc(inspected->fault_count + 1, sizeof(*faults));
    uint8_t *bytes = malloc(inspected->byte_count + 1);
    bool kept = faults && bytes;

    for (size_t i = 0; kept && i < inspected->fault_count; i++)
        kept = fault_copy(&faults[i], &inspected->fault[i]);
    if (kept && inspected->byte_count)
        memcpy(bytes, inspected->bytes, inspected->byte_count);
    request->inspected = *inspected; /* freed with the request, kept or not */
    request->inspected.fault = faults;
    request->inspected.bytes = bytes;
    return kept;
}

int crier_inspect(crier *bus, const struct crier_inspection *inspection,
                  void (*answer)(void *ctx, const struct crier_inspected *inspected), void *ctx)
{
    handle_check(&bus_handles, bus);
    struct crier_inspection copy = {.struct_size = sizeof(copy)};
    struct bus_request *request;
    int rc;

    if (!bus || !inspection || !answer || !struct_take(&copy, sizeof(copy), inspection))
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_INSPECT, NULL)))
        return CRIER_ENOMEM;
    request->inspection = copy;
    if ((rc = bus_request_run(bus, request)) < 0)
        return rc;
    answer(ctx, &request->inspected);
    bus_request_free(request);
    return 0;
}
