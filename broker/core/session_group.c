/* session_group.c: a group's member on the wire: what it is given, what it gives back, what it has done; and groups for
 * people (list, describe, seek, delete).
 *
 * Happy path:  ASSIGN (added) → DELIVER → COMMIT → COMMITTED; ASSIGN (revoked): no DELIVER any more → RELEASE
 * Failures:    a member that is silent, or owes a RELEASE, for its session timeout is ended: its partitions go to others,
 *              and what it still commits is fenced. */
#include "broker/core/session_internal.h"

/* ---- given and taken ---- */

void listener_assigned(struct listener *listener, const struct shard_reply *reply)
{
    for (size_t i = 0; i < reply->position_count; i++)
        cursor_create(listener, reply->positions[i].partition, reply->positions[i].offset);
    size_t count = reply->position_count;
    Wire__ListenPartition *block;
    Wire__ListenPartition **added = listen_partitions(listener, reply->positions, &count, &block);
    Wire__Assign message = WIRE__ASSIGN__INIT;
    message.listener = listener->id;
    message.generation = listener->generation;
    message.added = added;
    message.n_added = count;
    connection_send(listener->connection, FRAME_ASSIGN, &message.base, NULL, 0);
    free(added);
    free(block);
    for (size_t i = 0; i < reply->position_count; i++)
        cursor_wake(listener_cursor(listener, reply->positions[i].partition));
}

void listener_revoked(struct listener *listener, const struct shard_reply *reply)
{
    uint64_t *revoked = core_alloc((reply->position_count + 1) * sizeof(*revoked));
    for (size_t i = 0; i < reply->position_count; i++) {
        struct cursor *cursor = listener_cursor(listener, reply->positions[i].partition);
        CHECK(cursor);
        revoked[i] = cursor->view->id;
        cursor_destroy(cursor);
    }
    listener_wake(listener); /* what was promised to their reads is the others' credit again */
    bool first = !listener->revoked_us;
    Wire__Assign message = WIRE__ASSIGN__INIT;
    message.listener = listener->id;
    message.generation = listener->generation;
    message.revoked = revoked;
    message.n_revoked = reply->position_count;
    connection_send(listener->connection, FRAME_ASSIGN, &message.base, NULL, 0);
    free(revoked);
    if (first) {
        listener->revoked_us = listener->connection->session->mono_us;
        listener->revoked_output = listener->connection->output_queued;
    }
}

/* On a slow line the ASSIGN stands behind deliveries for a while: while those go out it has not been asked. */
static void revoked_still_on_its_way(struct listener *listener)
{
    const struct core_connection *connection = listener->connection;
    if (listener->revoked_us && connection->output_sent < listener->revoked_output &&
        connection->sent_us > listener->revoked_us)
        listener->revoked_us = connection->sent_us;
}

void listener_tick(struct listener *listener)
{
    const struct core_connection *connection = listener->connection;
    int64_t now_us = connection->session->mono_us;
    if (!listener->group || listener->state != LISTENER_ACTIVE)
        return;
    revoked_still_on_its_way(listener);
    if (!connection->paused && now_us - connection->received_us > listener->session_timeout_us)
        listener_end(listener, WIRE_CRIER_ETIMEDOUT,
                     "silent for the session timeout: others have its partitions");
    else if (listener->revoked_us && now_us - listener->revoked_us > listener->session_timeout_us)
        listener_end(listener, WIRE_CRIER_ETIMEDOUT,
                     "kept partitions it was asked to release for the session timeout");
}

void frame_release(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Release *message = frame_unpack(connection, &wire__release__descriptor, frame);
    if (!message)
        return;
    struct listener *listener = listener_find(connection, message->listener);
    if (!listener || !listener->group || listener->generation != message->generation)
        return; /* ended meanwhile: they are others' already */
    struct position *positions = core_alloc((message->n_partitions + 1) * sizeof(*positions));
    for (size_t i = 0; i < message->n_partitions; i++)
        positions[i] = (struct position){.partition = message->partitions[i]};
    listener->revoked_us = 0;
    struct shard_request request = {.kind = SHARD_RELEASE,
                                    .token = {connection->id, 0},
                                    .group = listener->group,
                                    .generation = listener->generation,
                                    .positions = positions,
                                    .position_count = message->n_partitions};
    shard_submit(connection->session->shard, &request);
    free(positions);
}

/* ---- COMMIT ---- */

static void committed_send(struct core_connection *connection, uint64_t request, int code)
{
    Wire__Committed committed = WIRE__COMMITTED__INIT;
    committed.request = request;
    committed.code = code;
    committed.text = (char *)(code ? error_text(code) : "");
    connection_send(connection, FRAME_COMMITTED, &committed.base, NULL, 0);
}

void frame_commit(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Commit *message = frame_unpack(connection, &wire__commit__descriptor, frame);
    if (!message)
        return;
    const struct listener *listener = listener_find(connection, message->listener);
    if (!listener || !listener->group || listener->state != LISTENER_ACTIVE ||
        listener->generation != message->generation) {
        committed_send(connection, message->request, WIRE_CRIER_EFENCED);
        return;
    }
    struct position *positions = core_alloc((message->n_positions + 1) * sizeof(*positions));
    for (size_t i = 0; i < message->n_positions; i++)
        positions[i] = (struct position){message->positions[i]->partition, message->positions[i]->offset};
    struct shard_request request = {.kind = SHARD_COMMIT,
                                    .token = {connection->id, message->request},
                                    .group = listener->group,
                                    .generation = listener->generation,
                                    .positions = positions,
                                    .position_count = message->n_positions};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
    free(positions);
}

void committed_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    committed_send(connection, reply->token.request, reply->code);
    connection_unanswered(connection, -1);
}

/* ---- groups for people ---- */

#define GROUP_LIST_LIMIT_MAX 100 /* names of 255 bytes: they fit a frame's header */

static void groups_code(struct core_connection *connection, uint64_t request, int code, const char *text)
{
    Wire__Groups groups = WIRE__GROUPS__INIT;
    groups.request = request;
    groups.code = code;
    groups.text = (char *)text;
    connection_send(connection, FRAME_GROUPS, &groups.base, NULL, 0);
}

static void group_submit(struct core_connection *connection, const struct shard_request *request)
{
    if (request_refused(connection, request->token.request))
        return;
    if (request->kind != SHARD_GROUP_LIST && !text_valid(request->group, GROUP_NAME_MAX)) {
        groups_code(connection, request->token.request, WIRE_CRIER_EINVAL,
                    "a group name is 1 to 255 bytes of printable UTF-8");
        return;
    }
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, request);
}

void frame_group_list(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__GroupList *message = frame_unpack(connection, &wire__group_list__descriptor, frame);
    if (!message)
        return;
    uint32_t limit =
        message->limit && message->limit < GROUP_LIST_LIMIT_MAX ? message->limit : GROUP_LIST_LIMIT_MAX;
    struct shard_request request = {.kind = SHARD_GROUP_LIST,
                                    .token = {connection->id, message->request},
                                    .name = message->after,
                                    .partitions = limit};
    group_submit(connection, &request);
}

void frame_group_describe(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__GroupDescribe *message = frame_unpack(connection, &wire__group_describe__descriptor, frame);
    if (!message)
        return;
    struct shard_request request = {.kind = SHARD_GROUP_DESCRIBE,
                                    .token = {connection->id, message->request},
                                    .group = message->name,
                                    .name = message->topic,
                                    .partitions = message->first};
    group_submit(connection, &request);
}

void frame_group_seek(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__GroupSeek *message = frame_unpack(connection, &wire__group_seek__descriptor, frame);
    if (!message)
        return;
    struct position *positions = core_alloc((message->n_positions + 1) * sizeof(*positions));
    for (size_t i = 0; i < message->n_positions; i++)
        positions[i] = (struct position){message->positions[i]->partition, message->positions[i]->offset};
    struct shard_request request = {.kind = SHARD_GROUP_SEEK,
                                    .token = {connection->id, message->request},
                                    .group = message->name,
                                    .name = message->topic,
                                    .positions = positions,
                                    .position_count = message->n_positions};
    group_submit(connection, &request);
    free(positions);
}

void frame_group_delete(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__GroupDelete *message = frame_unpack(connection, &wire__group_delete__descriptor, frame);
    if (!message)
        return;
    struct shard_request request = {
        .kind = SHARD_GROUP_DELETE, .token = {connection->id, message->request}, .group = message->name};
    group_submit(connection, &request);
}

/* One group as a message has it; the blocks are freed by group_unpacked. */
static void group_pack(Wire__GroupInfo *to, const struct group_info *from)
{
    wire__group_info__init(to);
    to->name = (char *)from->name;
    to->members = from->members;
    to->topics = (char **)from->topics;
    to->n_topics = from->topic_count;
    to->n_partitions = from->partition_count;
    to->kind = (Wire__GroupKind)from->kind;
    to->partitions = core_alloc((from->partition_count + 1) * sizeof(Wire__GroupPartition *));
    Wire__GroupPartition *block = core_alloc((from->partition_count + 1) * sizeof(*block));
    for (size_t i = 0; i < from->partition_count; i++) {
        const struct group_partition *partition = &from->partitions[i];
        wire__group_partition__init(&block[i]);
        block[i].partition = partition->partition;
        block[i].has_position = partition->has_position;
        block[i].position = partition->position;
        block[i].high_watermark = partition->high_watermark;
        block[i].owned = partition->member != NULL;
        block[i].done = partition->done;
        block[i].leased = partition->leased;
        block[i].retries = partition->retries;
        if (partition->member)
            block[i].member = (char *)partition->member;
        to->partitions[i] = &block[i];
    }
    to->partitions[from->partition_count] = block; /* so that it is found again, also when there are none */
}

static void group_unpacked(Wire__GroupInfo *info)
{
    free(info->partitions[info->n_partitions]);
    free(info->partitions);
}

void groups_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    connection_unanswered(connection, -1);
    if (reply->code) {
        groups_code(connection, reply->token.request, reply->code, error_text(reply->code));
        return;
    }
    Wire__GroupInfo *infos = core_alloc((reply->group_count + 1) * sizeof(*infos));
    Wire__GroupInfo **pointers = core_alloc((reply->group_count + 1) * sizeof(Wire__GroupInfo *));
    for (size_t i = 0; i < reply->group_count; i++) {
        group_pack(&infos[i], &reply->groups[i]);
        pointers[i] = &infos[i];
    }
    Wire__Groups groups = WIRE__GROUPS__INIT;
    groups.request = reply->token.request;
    groups.groups = pointers;
    groups.n_groups = reply->group_count;
    groups.more = reply->more;
    connection_send(connection, FRAME_GROUPS, &groups.base, NULL, 0);
    for (size_t i = 0; i < reply->group_count; i++)
        group_unpacked(&infos[i]);
    free(pointers);
    free(infos);
}
