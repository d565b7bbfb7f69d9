/* bus_topic.c: crier_topic_alter, _delete, _trim and crier_confirm_time: blocking, as bus_request.c. */
#include "client/bus_request.h"
#include "client/handles.h"
#include "client/struct_size.h"

static int run(crier *bus, struct bus_request *request)
{
    int rc = bus_request_run(bus, request);

    if (rc == 0)
        bus_request_free(request);
    return rc;
}

int crier_topic_alter(crier *bus, const char *name, const struct crier_topic_changes *changes)
{
    handle_check(&bus_handles, bus);
    struct crier_topic_changes copy = {.struct_size = sizeof(copy)};
    struct bus_request *request;

    if (!bus || !name || !changes || !struct_take(&copy, sizeof(copy), changes))
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_TOPIC_ALTER, name)))
        return CRIER_ENOMEM;
    request->changes = copy;
    if (!bus_request_dead_letter(request, &request->changes.dead_letter))
        return CRIER_ENOMEM;
    return run(bus, request);
}

int crier_topic_delete(crier *bus, const char *name)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;

    if (!bus || !name)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_TOPIC_DELETE, name)))
        return CRIER_ENOMEM;
    return run(bus, request);
}

int crier_topic_trim(crier *bus, const char *name, const struct crier_topic_trim_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_topic_trim_options copy = crier_topic_trim_options_default();
    struct bus_request *request;

    if (!bus || !name || !name[0] || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_TOPIC_TRIM, name)))
        return CRIER_ENOMEM;
    request->trim = copy;
    return run(bus, request);
}

int crier_confirm_time(crier *bus)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;

    if (!bus)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_TOPIC_TRIM, NULL)))
        return CRIER_ENOMEM;
    return run(bus, request);
}
