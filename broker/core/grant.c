/* grant.c: producers' credit: how many bytes of EMIT frames each connection may have on the way.
 *
 * A grant is cumulative. What is outstanding (granted, and not yet answered with the answer in the kernel's hands) is
 * steered to a window: small for a newcomer, doubled each time an active sender runs through half of it. The sum over
 * all connections stays within the ingest budget, which is what bounds the memory that emits can hold.
 *
 * Those that do not emit (newcomers, and who has been idle and gave all back: CREDIT_RETURN) are lent a small window each, so that
 * a lone emit need not ask; it is smaller the more connections there are, and all of these are half of the budget at the
 * most (idle_granted). Those that emit share the rest.
 *
 * Whoever holds a frame larger than its grant asks with CREDIT_WANT and is served in turn. When the budget is used up the
 * head of that line gets its one frame all the same, one head at a time, so the line always moves; a head that does not
 * send holds it up for LINE_PATIENCE_US. */
#include "broker/core/session_internal.h"

#include "base/check.h"

#define GRANT_FRAMES 4u /* a window holds at least so many frames of the size that is being sent */

#define LINE_PATIENCE_US (2 * INT64_C(1000000))

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void grant_tell(struct core_connection *connection)
{
    struct grant *grant = &connection->grant;
    Wire__Credit credit = WIRE__CREDIT__INIT;
    credit.total = grant->told = grant->granted;
    connection_send(connection, FRAME_CREDIT, &credit.base, NULL, 0);
}

/* What may be lent to all that do not emit. */
static size_t idle_max(const struct session *session)
{
    return session->config.ingest_bytes_max / 2;
}

/* The window of one that does not emit. */
static size_t window_idle(const struct session *session)
{
    unsigned count = HASH_COUNT(session->connections);
    CHECK(count > 0);
    return least(idle_max(session) / count, GRANT_INITIAL);
}

static size_t window_max(const struct session *session)
{
    size_t rest = session->config.ingest_bytes_max - session->idle_granted;
    size_t share = rest / (session->producing ? session->producing : 1);
    return least(share, session->config.producer_window_max);
}

/* What the budget has left for it. */
static size_t budget_left(const struct core_connection *connection)
{
    const struct session *session = connection->session;
    size_t granted = session->ingest_granted, max = session->config.ingest_bytes_max;
    size_t left = granted < max ? max - granted : 0;
    return connection->grant.producing ? left : least(left, idle_max(session) - session->idle_granted);
}

/* Gives as much of the window as the budget has left. */
static void grant_fill(struct core_connection *connection)
{
    struct session *session = connection->session;
    struct grant *grant = &connection->grant;
    size_t outstanding = grant->granted - grant->returned, left = budget_left(connection);
    if (connection->slowed || outstanding >= grant->window || left == 0 || session->grant_waiting)
        return;
    size_t more = least(grant->window - outstanding, left);
    grant->granted += more;
    session->ingest_granted += more;
    if (!grant->producing) {
        grant->idle += more;
        session->idle_granted += more;
    }
    if (connection->state == CONNECTION_READY && grant->granted - grant->told >= grant->window / 4)
        grant_tell(connection);
}

/* It has been given its frame beyond the budget, and has not sent it yet. */
static bool line_is_held_by(const struct core_connection *connection)
{
    return connection->session->line_holder == connection && !connection->grant.line_returned;
}

static void line_hold(struct core_connection *connection)
{
    if (line_is_held_by(connection))
        return; /* asking for more does not give it more time */
    connection->session->line_holder = connection;
    connection->session->line_since_us = connection->session->mono_us;
    connection->grant.line_returned = 0;
}

/* Serves the line of those who hold a frame larger than their grant. */
static void grant_serve(struct session *session)
{
    while (session->grant_waiting) {
        struct core_connection *connection = session->grant_waiting;
        struct grant *grant = &connection->grant;
        uint64_t needed = grant->used + grant->wanted;
        size_t more = needed > grant->granted ? needed - grant->granted : 0;
        bool beyond = session->ingest_granted + more > session->config.ingest_bytes_max;
        if (beyond && session->line_holder && session->line_holder != connection)
            return;
        if (beyond)
            line_hold(connection);
        DL_DELETE2(session->grant_waiting, connection, grant.prev, grant.next);
        grant->in_line = false;
        grant->wanted = 0;
        grant->granted += more;
        session->ingest_granted += more;
        grant_tell(connection);
    }
}

static void line_let_go(struct session *session)
{
    session->line_holder = NULL;
    grant_serve(session);
}

void grant_tick(struct session *session)
{
    if (session->line_holder && session->mono_us - session->line_since_us > LINE_PATIENCE_US)
        line_let_go(session);
}

void grant_open(struct core_connection *connection)
{
    connection->grant.window = window_idle(connection->session);
    grant_fill(connection);
    connection->grant.told = connection->grant.granted;
}

/* It emits, or goes: what was lent to it is not counted as such any more. */
static void idle_end(struct core_connection *connection)
{
    connection->session->idle_granted -= connection->grant.idle;
    connection->grant.idle = 0;
}

bool grant_use(struct core_connection *connection, size_t bytes)
{
    struct grant *grant = &connection->grant;
    if (bytes > grant->granted - grant->used)
        return false;
    if (!grant->producing) {
        idle_end(connection);
        connection->session->producing++;
    }
    grant->producing = true;
    grant->used += bytes;
    if (connection->session->line_holder == connection && !grant->line_returned)
        grant->line_returned = grant->used;
    return true;
}

void grant_grow(struct core_connection *connection, size_t bytes)
{
    struct grant *grant = &connection->grant;
    /* as much in flight as half before: a quota takes what was granted already, too */
    if (connection->slowed) {
        grant->window = grant->window / 2 < GRANT_INITIAL ? GRANT_INITIAL : grant->window / 2;
        return;
    }
    size_t limit = window_max(connection->session);
    size_t wanted = grant->granted - grant->used < grant->window / 2 ? grant->window * 2 : grant->window;
    if (wanted < GRANT_FRAMES * bytes)
        wanted = GRANT_FRAMES * bytes;
    grant->window = wanted < limit ? wanted : limit;
    grant_fill(connection);
}

void grant_unuse(struct core_connection *connection, size_t bytes)
{
    connection->grant.used -= bytes;
}

static void grant_returned(struct core_connection *connection, uint64_t bytes)
{
    connection->grant.returned += bytes;
    struct session *session = connection->session;
    CHECK(session->ingest_granted >= bytes);
    session->ingest_granted -= bytes;
    if (session->line_holder == connection && connection->grant.line_returned &&
        connection->grant.returned >= connection->grant.line_returned)
        session->line_holder = NULL;
}

void grant_give_back(struct core_connection *connection, uint64_t bytes)
{
    struct grant *grant = &connection->grant;
    grant->used += bytes;
    grant->answered += bytes;
    grant_returned(connection, bytes);
    idle_end(connection); /* what it keeps is its own affair */
    if (grant->producing)
        connection->session->producing--;
    grant->producing = false;
    grant->window = window_idle(connection->session);
    grant_serve(connection->session);
    grant_fill(connection);
}

void grant_answered(struct core_connection *connection, size_t bytes)
{
    struct grant *grant = &connection->grant;
    grant->answered += bytes;
    int slot = grant->mark[0].bytes ? 1 : 0;
    grant->mark[slot].bytes += bytes;
    grant->mark[slot].output = connection->output_queued;
}

void grant_sent(struct core_connection *connection)
{
    struct grant *grant = &connection->grant;
    bool returned = false;
    while (grant->mark[0].bytes && connection->output_sent >= grant->mark[0].output) {
        grant_returned(connection, grant->mark[0].bytes);
        grant->mark[0] = grant->mark[1];
        grant->mark[1].bytes = 0;
        returned = true;
    }
    if (!returned)
        return;
    grant_serve(connection->session);
    if (connection->state == CONNECTION_READY)
        grant_fill(connection);
}

static void line_join(struct core_connection *connection)
{
    struct session *session = connection->session;
    if (line_is_held_by(connection)) /* those behind it wait for its frame: it must not wait for them */
        DL_PREPEND2(session->grant_waiting, connection, grant.prev, grant.next);
    else
        DL_APPEND2(session->grant_waiting, connection, grant.prev, grant.next);
    connection->grant.in_line = true;
}

void grant_want(struct core_connection *connection, uint64_t bytes)
{
    connection->grant.wanted = bytes;
    if (!connection->grant.in_line && !connection->slowed) /* nobody stands behind one that a quota slows */
        line_join(connection);
    grant_serve(connection->session);
}

void grant_resume(struct core_connection *connection)
{
    if (connection->grant.wanted && !connection->grant.in_line)
        line_join(connection);
    grant_serve(connection->session);
    grant_fill(connection);
}

void grant_orphan(struct session *session, size_t bytes)
{
    CHECK(session->ingest_granted >= bytes);
    session->ingest_granted -= bytes;
    grant_serve(session);
}

void grant_close(struct core_connection *connection)
{
    struct session *session = connection->session;
    struct grant *grant = &connection->grant;
    if (grant->in_line)
        DL_DELETE2(session->grant_waiting, connection, grant.prev, grant.next);
    if (grant->producing)
        session->producing--;
    idle_end(connection);
    if (session->line_holder == connection)
        session->line_holder = NULL;
    /* what is in flight stays counted until its answer: grant_orphan */
    grant_orphan(session, (grant->granted - grant->used) + (grant->answered - grant->returned));
}
