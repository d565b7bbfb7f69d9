/* topic_admin.c: topics altered and deleted.
 *
 * Both are commands: decided when they are asked for, done when their entry is durable, and answered then. Until that a
 * second change of the same topic waits, and so does everything that would stand on a topic that is going: its emits wait
 * for the entry and are refused with it (or with the disk, if that refused the entry), its joins and descriptions are asked
 * anew afterwards. So nothing is ever prepared on a topic after its deletion, and the name can be taken again at once. */
#include "broker/core/shard_internal.h"
#include "proto/state.pb-c.h"

/* A request whose entry is durable now is told apart by its generation. */
#define ADMIN_WRITTEN 1u

bool retention_any(const struct retention *retention)
{
    return retention->time_us || retention->bytes || retention->count || retention->until_consumed;
}

int retention_check(const struct retention *retention)
{
    bool limits = retention->time_us || retention->bytes || retention->count;
    return (retention->until_consumed && limits) || retention->time_us > INT64_MAX / 2 ? WIRE_CRIER_EINVAL
                                                                                       : 0;
}

void retention_pack(const struct retention *retention, State__TopicSettings *settings)
{
    settings->retention_time_us = retention->time_us;
    settings->retention_bytes = retention->bytes;
    settings->retention_count = retention->count;
    settings->retain_until_consumed = retention->until_consumed;
}

struct retention retention_unpack(const State__TopicSettings *settings)
{
    return (struct retention){.time_us = settings->retention_time_us,
                              .bytes = settings->retention_bytes,
                              .count = settings->retention_count,
                              .until_consumed = settings->retain_until_consumed};
}

void quota_pack(const struct quota *quota, State__TopicSettings *settings)
{
    settings->quota_events = quota->events;
    settings->quota_bytes = quota->bytes;
}

struct quota quota_unpack(const State__TopicSettings *settings)
{
    return (struct quota){.events = settings->quota_events, .bytes = settings->quota_bytes};
}

static struct retention altered(const struct retention *now, const struct retention *wanted, uint32_t set)
{
    struct retention retention = *now;
    if (set & TOPIC_SET_TIME)
        retention.time_us = wanted->time_us;
    if (set & TOPIC_SET_BYTES)
        retention.bytes = wanted->bytes;
    if (set & TOPIC_SET_COUNT)
        retention.count = wanted->count;
    if (set & TOPIC_SET_UNTIL_CONSUMED)
        retention.until_consumed = wanted->until_consumed;
    return retention;
}

/* ---- requests ---- */

static void change_begin(struct shard *shard, struct topic *topic, const struct shard_request *request)
{
    struct shard_entry *entry = shard->gathering;
    entry->changes =
        core_grow(entry->changes, entry->change_count, &entry->change_capacity, sizeof(struct topic *));
    entry->changes[entry->change_count++] = topic;
    topic->change = entry->number;
    struct shard_request written = *request;
    written.generation = ADMIN_WRITTEN;
    shard_park(shard, entry->number, &written);
}

static void alter_prepare(struct shard *shard, struct topic *topic, const struct shard_request *request)
{
    State__TopicSettings settings = STATE__TOPIC_SETTINGS__INIT;
    settings.durability = request->memory;
    retention_pack(&request->retention, &settings);
    quota_pack(&request->quota, &settings);
    settings.max_listeners = request->max_listeners;
    retry_policy_pack(&request->retry, &settings);
    State__AlterTopic command = STATE__ALTER_TOPIC__INIT;
    command.id = (ProtobufCBinaryData){TOPIC_ID_SIZE, topic->id};
    command.name = topic->name;
    command.set = request->set;
    command.settings = &settings;
    uint8_t bytes[2 * TOPIC_NAME_MAX + 224];
    CHECK(state__alter_topic__get_packed_size(&command) <= sizeof(bytes));
    shard_add_command(shard, COMMAND_ALTER_TOPIC, bytes, state__alter_topic__pack(&command, bytes));
    change_begin(shard, topic, request);
}

static void delete_prepare(struct shard *shard, struct topic *topic, const struct shard_request *request)
{
    State__DeleteTopic command = STATE__DELETE_TOPIC__INIT;
    command.id = (ProtobufCBinaryData){TOPIC_ID_SIZE, topic->id};
    command.name = topic->name;
    uint8_t bytes[TOPIC_NAME_MAX + 64];
    CHECK(state__delete_topic__get_packed_size(&command) <= sizeof(bytes));
    shard_add_command(shard, COMMAND_DELETE_TOPIC, bytes, state__delete_topic__pack(&command, bytes));
    topic->deleting = true;
    change_begin(shard, topic, request);
}

uint64_t topic_depends(const struct shard *shard, const struct topic *topic)
{
    uint64_t number = topic->applied ? topic->change : topic->entry;
    return number > shard->entry_done ? number : 0;
}

static int admin_code(const struct shard *shard, const struct topic *topic,
                      const struct shard_request *request)
{
    if (!topic)
        return WIRE_CRIER_ENOTOPIC;
    if (topic->reserved)
        return WIRE_CRIER_EINVAL;
    if (shard->read_only)
        return WIRE_CRIER_EIO;
    if (request->kind != SHARD_TOPIC_ALTER)
        return 0;
    if (topic->ephemeral && (request->set & ~(TOPIC_SET_QUOTA | TOPIC_SET_MAX_LISTENERS)))
        return WIRE_CRIER_ENOTSUP;
    struct retention retention = altered(&topic->retention, &request->retention, request->set);
    if ((request->set & ~TOPIC_SET_ALL) || retry_policy_check(shard, topic->name, &request->retry))
        return WIRE_CRIER_EINVAL;
    return retention_check(&retention);
}

void topic_admin_request(struct shard *shard, const struct shard_request *request)
{
    struct topic *topic = topic_find(shard, request->name);
    if (request->generation == ADMIN_WRITTEN && request->kind == SHARD_TOPIC_DELETE) {
        topics_reply(shard, request, NULL, 0, false);
        return;
    }
    if (topic && topic_depends(shard, topic)) {
        shard_park(shard, topic_depends(shard, topic), request);
        return;
    }
    int code = admin_code(shard, topic, request);
    if (code)
        shard_reply_code(shard, request, code);
    else if (request->generation == ADMIN_WRITTEN)
        topics_reply(shard, request, &topic, 1, false);
    else if (request->kind == SHARD_TOPIC_ALTER)
        alter_prepare(shard, topic, request);
    else
        delete_prepare(shard, topic, request);
}

void topic_changes_set_back(struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->change_count; i++) {
        entry->changes[i]->deleting = false;
        entry->changes[i]->change = 0;
    }
    entry->change_count = 0;
}

/* ---- applied ---- */

static struct topic *topic_of(struct shard *shard, const char *name, const ProtobufCBinaryData *id)
{
    struct topic *topic = topic_find(shard, name);
    bool same = topic && topic->applied && id->len == TOPIC_ID_SIZE && !memcmp(topic->id, id->data, id->len);
    return same ? topic : NULL;
}

static void limits_alter(struct shard *shard, struct topic *topic, const State__AlterTopic *command)
{
    struct quota wanted = quota_unpack(command->settings);
    if (command->set & TOPIC_SET_QUOTA_EVENTS)
        topic->quota.events = wanted.events;
    if (command->set & TOPIC_SET_QUOTA_BYTES)
        topic->quota.bytes = wanted.bytes;
    if (command->set & TOPIC_SET_MAX_LISTENERS)
        topic->max_listeners = command->settings->max_listeners;
    if ((command->set & (TOPIC_SET_QUOTA | TOPIC_SET_MAX_LISTENERS)) && shard->serving)
        topic_announce_limits(shard, topic);
}

int apply_alter_topic(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__AlterTopic *command = state__alter_topic__unpack(NULL, size, bytes);
    struct topic *topic = command && command->settings ? topic_of(shard, command->name, &command->id) : NULL;
    if (topic) {
        struct retention wanted = retention_unpack(command->settings);
        shard_row_will_change(shard, &topic->row);
        topic->retention = altered(&topic->retention, &wanted, command->set);
        if (command->set & TOPIC_SET_DURABILITY)
            topic->memory = command->settings->durability;
        struct retry_policy retry = retry_policy_unpack(command->settings);
        retry = retry_policy_altered(&topic->retry, &retry, command->set);
        if (command->set & TOPIC_SET_RETRY_ANY)
            retry_policy_set(topic, &retry);
        limits_alter(shard, topic, command);
        retention_settings_changed(shard, topic);
    }
    if (command)
        state__alter_topic__free_unpacked(command, NULL);
    return topic ? 0 : STORE_ECORRUPT;
}

/* Positions that wait to be committed with an entry: those that are gone now are left out. */
static void entry_forget_positions(struct shard_entry *entry)
{
    size_t kept = 0;
    for (size_t i = 0; i < entry->position_count; i++)
        if (!entry->positions[i]->deleted)
            entry->positions[kept++] = entry->positions[i];
    entry->position_count = kept;
}

static void positions_delete(struct shard *shard, const struct topic *topic)
{
    for (struct group *group = shard->groups; group; group = group->hh.next)
        for (uint32_t i = 0; i < topic->partition_count; i++)
            position_delete(shard, group, topic->partitions[i]);
    for (struct shard_entry *entry = shard->in_flight; entry; entry = entry->next)
        entry_forget_positions(entry);
    if (shard->gathering)
        entry_forget_positions(shard->gathering);
}

/* Listeners are ended first: members leave their groups while the topic is still there. */
static void topic_end(struct shard *shard, struct topic *topic)
{
    if (shard->serving)
        topic_announce_end(shard, topic);
    for (struct group *group = shard->groups; group; group = group->hh.next) {
        struct crew *crew = crew_find(group, topic);
        if (crew)
            crew_free(shard, crew);
    }
    positions_delete(shard, topic);
    topic_delete(shard, topic);
}

int apply_delete_topic(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__DeleteTopic *command = state__delete_topic__unpack(NULL, size, bytes);
    struct topic *topic = command ? topic_of(shard, command->name, &command->id) : NULL;
    if (topic)
        topic_end(shard, topic);
    if (command)
        state__delete_topic__free_unpacked(command, NULL);
    return topic ? 0 : STORE_ECORRUPT;
}
