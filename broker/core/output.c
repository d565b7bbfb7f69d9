/* output.c: frames out: prefix and header packed together, attachments referenced. */
#include "broker/core/session_internal.h"

#define HEADER_ON_STACK 2048

void connection_send(struct core_connection *connection, enum frame_kind kind, const ProtobufCMessage *header,
                     const struct slice *slices, size_t slice_count)
{
    struct session *session = connection->session;
    if (connection->state == CONNECTION_CLOSING)
        return;
    size_t attachment_size = 0;
    for (size_t i = 0; i < slice_count; i++)
        attachment_size += slices[i].size;
    size_t header_size = protobuf_c_message_get_packed_size(header);
    CHECK(header_size <= FRAME_HEADER_SIZE_MAX);
    uint8_t on_stack[FRAME_PREFIX_SIZE + HEADER_ON_STACK];
    uint8_t *head = header_size <= HEADER_ON_STACK ? on_stack : core_alloc(FRAME_PREFIX_SIZE + header_size);
    frame_prefix_encode(head, kind, header_size, attachment_size);
    protobuf_c_message_pack(header, head + FRAME_PREFIX_SIZE);
    connection->output_queued += FRAME_PREFIX_SIZE + header_size + attachment_size;
    session->ops->send(connection->owner, head, FRAME_PREFIX_SIZE + header_size, slices, slice_count);
    if (head != on_stack)
        free(head);
    if (!connection->paused && connection->output_queued - connection->output_sent > OUTPUT_PAUSE_BYTES)
        connection_unanswered(connection, 0); /* judges anew */
}
