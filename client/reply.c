/* reply.c: crier_reply and its kin: a memory emit to the inbox that the request names. See reply.h, crier/request.h.
 *
 * Thread:      any.
 * Happy path:  crier_reply -> the request's address -> crier_emit_with, keyed with the request's number
 * Failures:    whoever asked is gone: the broker refuses the emit, and nobody minds. */
#include "client/reply.h"
#include "client/handles.h"

#include "client/bus_internal.h"
#include "client/topic_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void reply_address_make(char to[CRIER_REPLY_ADDRESS_SIZE], const char *inbox, uint64_t number)
{
    (void)snprintf(to, CRIER_REPLY_ADDRESS_SIZE, "%s:%" PRIu64, inbox, number);
}

int reply_code(const crier_event *reply)
{
    crier_header header;
    char text[12] = {0};

    if (crier_event_header_find(reply, REPLY_CODE_HEADER, &header) < 0 || header.value_size >= sizeof(text))
        return 0;
    memcpy(text, header.value, header.value_size);
    long code = strtol(text, NULL, 10);
    return code < 0 && code >= INT32_MIN ? (int)code : 0;
}

int crier_reply_address(const crier_event *request, char to[CRIER_REPLY_ADDRESS_SIZE])
{
    crier_header header;

    if (!request || !to || !request->internal ||
        crier_event_header_find(request, REPLY_TO_HEADER, &header) < 0 ||
        header.value_size >= CRIER_REPLY_ADDRESS_SIZE)
        return CRIER_EINVAL;
    memcpy(to, header.value, header.value_size);
    to[header.value_size] = '\0';
    return 0;
}

static void on_replied(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)code, (void)offset, (void)ctx; /* whoever asked has gone, or will time out */
}

int crier_reply_to(crier *bus, const char *address, int code, const void *value, size_t value_size)
{
    handle_check(&bus_handles, bus);
    struct crier_emit_options options = crier_emit_options_default();
    crier_header header;
    char inbox[CRIER_REPLY_ADDRESS_SIZE], text[12];
    char *number;

    if (!bus || !address || strlen(address) >= sizeof(inbox) || code > 0)
        return CRIER_EINVAL;
    if (bus->emitter)
        return CRIER_ENOTSUP;
    memcpy(inbox, address, strlen(address) + 1);
    if (!(number = strchr(inbox, ':')))
        return CRIER_EINVAL;
    *number++ = '\0';
    if (!topic_name_is_inbox(inbox) || *number == '\0')
        return CRIER_EINVAL;
    options.key = number;
    options.key_size = strlen(number);
    options.done = on_replied;
    if (code < 0) {
        int size = snprintf(text, sizeof(text), "%d", code);
        header = (crier_header){REPLY_CODE_HEADER, sizeof(REPLY_CODE_HEADER) - 1, text, (size_t)size};
        options.headers = &header;
        options.header_count = 1;
    }
    return bus_emit(bus, inbox, value, value_size, &options);
}

int crier_reply(crier *bus, const crier_event *request, const void *value, size_t value_size)
{
    handle_check(&bus_handles, bus);
    char address[CRIER_REPLY_ADDRESS_SIZE];
    int rc = crier_reply_address(request, address);

    return rc < 0 ? rc : crier_reply_to(bus, address, 0, value, value_size);
}

int crier_reply_failed(crier *bus, const crier_event *request, int code, const char *text)
{
    handle_check(&bus_handles, bus);
    char address[CRIER_REPLY_ADDRESS_SIZE];
    int rc = crier_reply_address(request, address);

    if (rc < 0 || code >= 0 || !text)
        return CRIER_EINVAL;
    return crier_reply_to(bus, address, code, text, strlen(text));
}
