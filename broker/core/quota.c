/* quota.c: who emits more than a quota lets through is slowed; what comes all the same is refused, and told why.
 *
 * A meter is a leaky bucket in its form as a virtual schedule (the generic cell rate algorithm, ITU-T I.371): one time for
 * each of events and bytes, which every event moves on by 1 s / rate. While that time is less than BURST_NS behind or not
 * ahead of now, everything is in time. An emit is taken whole when it comes in time, so the meter may run ahead by
 * its size; until now has caught up, the connection gets no more grant. That is enough for a client that keeps to its credit; what it
 * had been granted before is still taken while the meter is less than PATIENCE_NS ahead, and beyond that refused with
 * CRIER_EQUOTA. Refused parts do not count: trying again costs nothing.
 *
 * A topic's own quota takes the place of the broker's for topics, and one of a client's name that of the broker's for connections,
 * each of events and bytes for itself. A name's meter is that of all connections that say it, and stays when they go.
 *
 * Called:   frame_emit(); session_turn_end(); session_topic(), session_limits() and session_deleted() by the shard.
 * Owns:     session.slowed, the list of connections that wait for their time.
 * Cost:     per batch; a list of those that are slowed is looked through when the first may be due, every RELEASE_US at
 *           most.
 *
 * Happy path:  quota_charge: nothing is over → the meters move
 * Failures:    over: slowed → quota_release → grant_resume. Too far over: parts are marked, and refused where it is known
 *              that they are not stored already (emit.c, atomic.c, ephemeral.c). */
#include "broker/core/session_internal.h"

#include "base/check.h"

#define BURST_NS    INT64_C(1000000000)
#define PATIENCE_NS INT64_C(1000000000)
#define AHEAD_NS    INT64_C(3600000000000) /* no meter is further ahead: one frame may hold a million events */
#define RELEASE_US  INT64_C(5000)
#define NS_PER_S    UINT64_C(1000000000)

static const char client_why[] =
    "over the client's quota (client-events-max, client-bytes-max): emit less, or "
    "have it raised";
static const char named_why[] = "over the quota of this client's name (client-quota), which all connections "
                                "share that say it: emit less, or "
                                "have it raised";
static const char topic_why[] =
    "over the topic's quota (its own, see crier topic describe, or the broker's topic-events-max, "
    "topic-bytes-max): emit less, or have it raised";

static void meter_move(int64_t *due_ns, uint64_t rate, uint64_t count, int64_t now_ns)
{
    if (rate == 0)
        return;
    if (*due_ns < now_ns - BURST_NS)
        *due_ns = now_ns - BURST_NS;
    *due_ns += (int64_t)(count * NS_PER_S / rate);
    if (*due_ns > now_ns + AHEAD_NS)
        *due_ns = now_ns + AHEAD_NS;
}

/* How far it is ahead; 0 or less: what comes now is in time. */
static int64_t meter_ahead_ns(const struct quota_meter *meter, const struct quota *quota, int64_t now_ns)
{
    int64_t events = quota->events ? meter->events_due_ns - now_ns : 0;
    int64_t bytes = quota->bytes ? meter->bytes_due_ns - now_ns : 0;
    return events > bytes ? events : bytes;
}

static void meter_charge(struct quota_meter *meter, const struct quota *quota, const struct emit_part *part,
                         int64_t now_ns)
{
    meter_move(&meter->events_due_ns, quota->events, (uint64_t)part->header.last_offset_delta + 1, now_ns);
    meter_move(&meter->bytes_due_ns, quota->bytes, part->batch.size, now_ns);
}

/* One that takes the place of another: what it leaves open is not its to meter, nor is what it lifts. */
static struct quota metered(struct quota quota)
{
    return (struct quota){quota.events == QUOTA_NONE ? 0 : quota.events,
                          quota.bytes == QUOTA_NONE ? 0 : quota.bytes};
}

static struct quota named_quota(const struct core_connection *connection)
{
    return connection->named ? connection->session->config.client_quotas[connection->named - 1].quota
                             : (struct quota){0};
}

/* What a connection may get for itself: where its name has no quota. */
static struct quota own_quota(const struct core_connection *connection)
{
    struct quota named = named_quota(connection), quota = connection->session->config.client_quota;
    return (struct quota){named.events ? 0 : quota.events, named.bytes ? 0 : quota.bytes};
}

static int64_t named_ahead_ns(const struct core_connection *connection, int64_t now_ns)
{
    struct quota quota = metered(named_quota(connection));
    return connection->named
               ? meter_ahead_ns(&connection->session->named_meters[connection->named - 1], &quota, now_ns)
               : 0;
}

static int64_t own_ahead_ns(const struct core_connection *connection, int64_t now_ns)
{
    struct quota quota = own_quota(connection);
    return meter_ahead_ns(&connection->meter, &quota, now_ns);
}

/* Of the two, the later. */
static int64_t client_ahead_ns(const struct core_connection *connection, int64_t now_ns)
{
    int64_t named = named_ahead_ns(connection, now_ns), own = own_ahead_ns(connection, now_ns);
    return named > own ? named : own;
}

static void client_charge(struct core_connection *connection, const struct emit_part *part, int64_t now_ns)
{
    struct quota named = metered(named_quota(connection)), own = own_quota(connection);
    meter_charge(&connection->meter, &own, part, now_ns);
    if (connection->named)
        meter_charge(&connection->session->named_meters[connection->named - 1], &named, part, now_ns);
}

/* What one topic may get: its own quota, and the broker's for what that leaves open. */
static struct quota quota_of(const struct session *session, const struct topic_view *topic)
{
    struct quota quota = topic->quota;
    if (quota.events == 0)
        quota.events = session->config.topic_quota.events;
    if (quota.bytes == 0)
        quota.bytes = session->config.topic_quota.bytes;
    return metered(quota);
}

/* The topic whose quota counts; NULL: none. An inbox has none: who asked gets the answer. */
static struct topic_view *topic_metered(struct session *session, const struct emit_part *part)
{
    if ((!quota_any(&session->config.topic_quota) && session->topic_quotas == 0) || part->partition >> 63)
        return NULL;
    struct view *view = view_find(session, part->partition);
    return view ? view->topic : NULL;
}

/* Returns why the part is too much; NULL: it is not. */
static const char *part_over(const struct core_connection *connection, const struct emit_part *part,
                             int64_t now_ns)
{
    struct session *session = connection->session;
    const struct topic_view *topic = topic_metered(session, part);
    if (own_ahead_ns(connection, now_ns) > PATIENCE_NS)
        return client_why;
    if (named_ahead_ns(connection, now_ns) > PATIENCE_NS)
        return named_why;
    if (!topic)
        return NULL;
    struct quota quota = quota_of(session, topic);
    return meter_ahead_ns(&topic->meter, &quota, now_ns) > PATIENCE_NS ? topic_why : NULL;
}

/* No more grant before that. topic: whose quota says so; NULL: the connection's own, or its name's. */
static void slow_down(struct core_connection *connection, struct topic_view *topic, int64_t ahead_ns)
{
    struct session *session = connection->session;
    int64_t until_us = session->mono_us + ahead_ns / 1000 + 1;
    if (ahead_ns <= 0)
        return;
    if (until_us > connection->slowed_until_us) {
        connection->slowed_until_us = until_us;
        connection->slowed_by = topic;
    }
    if (!connection->slowed)
        DL_APPEND2(session->slowed, connection, slowed_prev, slowed_next);
    connection->slowed = true;
    if (until_us < session->quota_due_us)
        session->quota_due_us = until_us;
    if (!connection->slowed_told)
        session_log(
            session, LOG_LEVEL_WARN, "QUOTA-SLOWED",
            "connection %llu (%s, %s): it emits more than a quota lets through, and is slowed (told once)",
            (unsigned long long)connection->id, connection->peer,
            connection->name[0] ? connection->name : "unnamed");
    connection->slowed_told = true;
}

static void part_charge(struct core_connection *connection, const struct emit_part *part)
{
    struct session *session = connection->session;
    struct topic_view *topic = topic_metered(session, part);
    int64_t now_ns = session->mono_us * 1000;
    client_charge(connection, part, now_ns);
    slow_down(connection, NULL, client_ahead_ns(connection, now_ns));
    if (!topic)
        return;
    struct quota quota = quota_of(session, topic);
    meter_charge(&topic->meter, &quota, part, now_ns);
    slow_down(connection, topic, meter_ahead_ns(&topic->meter, &quota, now_ns));
}

void quota_charge(struct core_connection *connection, struct emit *emit)
{
    const struct session *session = connection->session;
    if (!quota_any(&session->config.client_quota) && !quota_any(&session->config.topic_quota) &&
        !connection->named && session->topic_quotas == 0)
        return;
    for (uint32_t i = 0; i < emit->part_count; i++) {
        struct emit_part *part = &emit->parts[i];
        const char *why = part->code ? NULL : part_over(connection, part, session->mono_us * 1000);
        part->over = why != NULL;
        emit->quota = emit->quota ? emit->quota : why;
    }
    for (uint32_t i = 0; i < emit->part_count; i++) {
        const struct emit_part *part = &emit->parts[i];
        if (!part->code && !part->over && !(emit->atomic && emit->quota))
            part_charge(connection, part);
    }
}

void quota_release(struct session *session)
{
    if (session->mono_us < session->quota_due_us)
        return;
    int64_t due_us = INT64_MAX;
    struct core_connection *connection, *next;
    DL_FOREACH_SAFE2(session->slowed, connection, next, slowed_next)
    {
        if (connection->slowed_until_us > session->mono_us) {
            due_us = connection->slowed_until_us < due_us ? connection->slowed_until_us : due_us;
            continue;
        }
        quota_forget(connection);
        if (connection->state == CONNECTION_READY)
            grant_resume(connection);
    }
    int64_t soonest_us = session->mono_us + RELEASE_US;
    session->quota_due_us = due_us < soonest_us ? soonest_us : due_us;
}

void quota_forget(struct core_connection *connection)
{
    if (connection->slowed)
        DL_DELETE2(connection->session->slowed, connection, slowed_prev, slowed_next);
    connection->slowed = false;
}

/* What was too much under the old ones does not count any more. */
static void meters_clear(struct session *session)
{
    for (struct core_connection *connection = session->connections; connection;
         connection = connection->hh.next) {
        quota_name(connection);
        connection->meter = (struct quota_meter){0};
        connection->slowed_until_us = 0;
        connection->slowed_by = NULL;
        connection->slowed_told = false;
    }
    for (struct topic_view *topic = session->topics; topic; topic = topic->next)
        topic->meter = (struct quota_meter){0};
    memset(session->named_meters, 0, sizeof(session->named_meters));
    session->quota_due_us = session->slowed ? session->mono_us : INT64_MAX;
}

/* What the topic's quota asked of those it slowed does not count any more; what their own asks does. */
static void slowed_anew(struct session *session, const struct topic_view *topic)
{
    int64_t now_ns = session->mono_us * 1000;
    struct core_connection *connection;
    DL_FOREACH2(session->slowed, connection, slowed_next)
    {
        if (connection->slowed_by != topic)
            continue;
        connection->slowed_by = NULL;
        connection->slowed_until_us = 0;
        slow_down(connection, NULL, client_ahead_ns(connection, now_ns));
        session->quota_due_us = session->mono_us;
    }
}

void quota_topic(struct session *session, struct topic_view *topic, struct quota quota)
{
    session->topic_quotas -= quota_any(&topic->quota);
    session->topic_quotas += quota_any(&quota);
    topic->quota = quota;
    topic->meter = (struct quota_meter){0};
    slowed_anew(session, topic);
}

void session_limits(void *ctx, const struct topic_info *info)
{
    struct session *session = ctx;
    const struct view *view = view_find(session, info->partitions[0].id);
    CHECK(view);
    view->topic->max_listeners = info->max_listeners;
    view->topic->warned = false;
    if (view->topic->quota.events != info->quota.events || view->topic->quota.bytes != info->quota.bytes)
        quota_topic(session, view->topic, info->quota);
}

static bool quota_same(const struct quota *a, const struct quota *b)
{
    return a->events == b->events && a->bytes == b->bytes;
}

static bool names_same(const struct core_config *a, const struct core_config *b)
{
    bool same = a->client_quota_count == b->client_quota_count;
    for (uint32_t i = 0; same && i < a->client_quota_count; i++)
        same = !strcmp(a->client_quotas[i].name, b->client_quotas[i].name) &&
               quota_same(&a->client_quotas[i].quota, &b->client_quotas[i].quota);
    return same;
}

void quota_reconfigure(struct session *session, const struct core_config *config)
{
    struct core_config *now = &session->config;
    bool same = quota_same(&now->client_quota, &config->client_quota) &&
                quota_same(&now->topic_quota, &config->topic_quota) && names_same(now, config);
    now->client_quota = config->client_quota;
    now->topic_quota = config->topic_quota;
    memcpy(now->client_quotas, config->client_quotas, sizeof(now->client_quotas));
    now->client_quota_count = config->client_quota_count;
    if (!same)
        meters_clear(session);
}

void quota_name(struct core_connection *connection)
{
    const struct core_config *config = &connection->session->config;
    connection->named = 0;
    for (uint32_t i = 0; i < config->client_quota_count; i++)
        if (!strcmp(config->client_quotas[i].name, connection->name))
            connection->named = i + 1;
}
