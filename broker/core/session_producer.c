/* session_producer.c: which connection speaks for a client, a producer and a producer's name: the newest.
 *
 * What an older connection of a client still has on its way must not be stored after the newer one was answered: the client has said
 * by then what became of it, and may have emitted others. That holds for a client that has another producer id now, too, because its
 * name belongs to somebody else.
 *
 * Happy path:  WELCOME → producer_list → ... → producer_unlist
 * Failures:    an older connection is told CRIER_EFENCED, and closed.
 * Thread: the core's. Pure. */
#include "broker/core/session_internal.h"

static const uint8_t nobody[CLIENT_INSTANCE_SIZE];

void producer_unlist(struct core_connection *connection)
{
    struct session *session = connection->session;
    if (!connection->producer_listed)
        return;
    connection->producer_listed = false;
    HASH_DELETE(hh_producer, session->producers, connection);
    if (memcmp(connection->instance, nobody, sizeof(nobody)) != 0)
        HASH_DELETE(hh_client, session->clients, connection);
}

static void older_end(struct core_connection *older)
{
    if (!older)
        return;
    producer_unlist(older);
    connection_refuse(older, WIRE_CRIER_EFENCED, "the same client has connected again");
}

/* The name is this connection's now: what others would still emit under it is refused, so they had better know. */
static void name_take(struct core_connection *connection)
{
    struct core_connection *other, *next;
    HASH_ITER (hh_producer, connection->session->producers, other, next) {
        if (!other->producer_name || strcmp(other->producer_name, connection->producer_name) != 0)
            continue;
        producer_unlist(other);
        connection_refuse(other, WIRE_CRIER_EFENCED, "another client has connected as producer \"%s\"",
                          connection->producer_name);
    }
}

void producer_list(struct core_connection *connection)
{
    struct session *session = connection->session;
    struct core_connection *older = NULL;
    HASH_FIND(hh_producer, session->producers, &connection->producer_id, sizeof(connection->producer_id),
              older);
    older_end(older);
    older = NULL;
    HASH_FIND(hh_client, session->clients, connection->instance, sizeof(connection->instance), older);
    older_end(older);
    if (connection->producer_name)
        name_take(connection);
    connection->producer_listed = true;
    HASH_ADD(hh_producer, session->producers, producer_id, sizeof(connection->producer_id), connection);
    if (memcmp(connection->instance, nobody, sizeof(nobody)) != 0)
        HASH_ADD(hh_client, session->clients, instance, sizeof(connection->instance), connection);
}
