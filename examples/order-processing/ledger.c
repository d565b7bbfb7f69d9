/* ledger.c: see ledger.h. One LMDB file, three tables: positions, numbers, notes. All names are NUL-terminated text.
 *
 * Happy path:  begin (read the position) -> add, note -> commit (write the position; default sync: two flushes).
 * Failures:    whatever LMDB says is handed up; the transaction is aborted then, so nothing is half done. */
#include "ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_SIZE (1u << 30) /* address space, not memory; no demo comes near */

struct sent { /* a note the broker has acknowledged; removed in the next transaction */
    struct sent *next;
    char name[];
};

struct ledger {
    MDB_env *env;
    MDB_dbi positions, numbers, notes;
    MDB_txn *txn; /* of the event in hand, or NULL */
    char position_name[LEDGER_NAME_MAX + 16];
    uint64_t position; /* after it */
    struct sent *sent;
};

const char *ledger_error(int code)
{
    return mdb_strerror(code < 0 && code > MDB_LAST_ERRCODE ? -code : code); /* LMDB knows errno too */
}

static MDB_val text_value(const char *text)
{
    return (MDB_val){strlen(text) + 1, (void *)text};
}

/* LMDB's positive codes are errno values. */
static int negative(int rc)
{
    return rc > 0 ? -rc : rc;
}

int ledger_open(const char *path, struct ledger **ret_ledger)
{
    MDB_txn *txn;
    int rc;
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    if (ledger == NULL)
        return -ENOMEM;
    if ((rc = mdb_env_create(&ledger->env)) != 0)
        goto out;
    if ((rc = mdb_env_set_mapsize(ledger->env, MAP_SIZE)) != 0 ||
        (rc = mdb_env_set_maxdbs(ledger->env, 3)) != 0 ||
        (rc = mdb_env_open(ledger->env, path, MDB_NOSUBDIR, 0600)) != 0 ||
        (rc = mdb_txn_begin(ledger->env, NULL, 0, &txn)) != 0)
        goto close_env;
    if ((rc = mdb_dbi_open(txn, "positions", MDB_CREATE, &ledger->positions)) != 0 ||
        (rc = mdb_dbi_open(txn, "numbers", MDB_CREATE, &ledger->numbers)) != 0 ||
        (rc = mdb_dbi_open(txn, "notes", MDB_CREATE, &ledger->notes)) != 0) {
        mdb_txn_abort(txn);
        goto close_env;
    }
    if ((rc = mdb_txn_commit(txn)) != 0)
        goto close_env;
    *ret_ledger = ledger;
    return 0;

close_env:
    mdb_env_close(ledger->env);
out:
    free(ledger);
    return negative(rc);
}

static int get_number(MDB_txn *txn, MDB_dbi table, const char *name, uint64_t *ret_number)
{
    MDB_val key = text_value(name), value;
    int rc = mdb_get(txn, table, &key, &value);
    *ret_number = 0;
    if (rc == 0 && value.mv_size == sizeof(*ret_number))
        memcpy(ret_number, value.mv_data, sizeof(*ret_number));
    return rc == MDB_NOTFOUND ? 0 : negative(rc);
}

static int put_number(MDB_txn *txn, MDB_dbi table, const char *name, uint64_t number)
{
    MDB_val key = text_value(name), value = {sizeof(number), &number};
    return negative(mdb_put(txn, table, &key, &value, 0));
}

int ledger_begin(struct ledger *ledger, const crier_event *event)
{
    uint64_t position;
    int rc = negative(mdb_txn_begin(ledger->env, NULL, 0, &ledger->txn));
    if (rc < 0)
        return rc;
    snprintf(ledger->position_name, sizeof(ledger->position_name), "%s/%" PRIu32, event->topic,
             event->partition);
    rc = get_number(ledger->txn, ledger->positions, ledger->position_name, &position);
    if (rc == 0 && event->offset >= position) {
        ledger->position = event->offset + 1;
        return 1;
    }
    ledger_abort(ledger);
    return rc;
}

int ledger_add(struct ledger *ledger, const char *name, int64_t amount, int64_t *ret_sum)
{
    uint64_t sum;
    int rc = get_number(ledger->txn, ledger->numbers, name, &sum);
    if (rc < 0)
        return rc;
    sum += (uint64_t)amount;
    if (ret_sum)
        *ret_sum = (int64_t)sum;
    return put_number(ledger->txn, ledger->numbers, name, sum);
}

int ledger_note(struct ledger *ledger, const char *name, const char *text)
{
    MDB_val key = text_value(name), value = text_value(text);
    return negative(mdb_put(ledger->txn, ledger->notes, &key, &value, 0));
}

static int remove_sent(struct ledger *ledger, MDB_txn *txn)
{
    int rc = 0;
    for (struct sent *sent = ledger->sent; sent && rc == 0; sent = sent->next) {
        MDB_val key = text_value(sent->name);
        rc = mdb_del(txn, ledger->notes, &key, NULL);
        rc = rc == MDB_NOTFOUND ? 0 : negative(rc);
    }
    return rc;
}

static void forget_sent(struct ledger *ledger)
{
    for (struct sent *next, *sent = ledger->sent; sent; sent = next) {
        next = sent->next;
        free(sent);
    }
    ledger->sent = NULL;
}

int ledger_commit(struct ledger *ledger)
{
    int rc = put_number(ledger->txn, ledger->positions, ledger->position_name, ledger->position);
    if (rc == 0)
        rc = remove_sent(ledger, ledger->txn);
    if (rc < 0) {
        ledger_abort(ledger);
        return rc;
    }
    rc = negative(mdb_txn_commit(ledger->txn));
    ledger->txn = NULL;
    if (rc == 0)
        forget_sent(ledger);
    return rc;
}

void ledger_abort(struct ledger *ledger)
{
    mdb_txn_abort(ledger->txn);
    ledger->txn = NULL;
}

void ledger_close(struct ledger *ledger)
{
    MDB_txn *txn;
    if (ledger == NULL)
        return;
    if (ledger->sent && mdb_txn_begin(ledger->env, NULL, 0, &txn) == 0) {
        if (remove_sent(ledger, txn) == 0)
            mdb_txn_commit(txn); /* if it fails, they are sent once more */
        else
            mdb_txn_abort(txn);
    }
    forget_sent(ledger);
    mdb_env_close(ledger->env);
    free(ledger);
}

void ledger_note_sent(struct ledger *ledger, const char *name)
{
    size_t size = strlen(name) + 1;
    struct sent *sent = malloc(sizeof(*sent) + size);
    if (sent == NULL)
        return; /* it is sent once more at the next start */
    memcpy(sent->name, name, size);
    sent->next = ledger->sent;
    ledger->sent = sent;
}

/* Calls each(key, value) for the rows of a table whose key starts with prefix. */
static int walk(struct ledger *ledger, MDB_dbi table, const char *prefix,
                void (*each)(void *ctx, const char *name, const MDB_val *value), void *ctx)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key = text_value(prefix), value;
    int rc = mdb_txn_begin(ledger->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return negative(rc);
    if ((rc = mdb_cursor_open(txn, table, &cursor)) == 0) {
        key.mv_size--; /* without the NUL: the prefix itself sorts before all that start with it */
        rc = mdb_cursor_get(cursor, &key, &value, key.mv_size ? MDB_SET_RANGE : MDB_FIRST);
        while (rc == 0 && strncmp(key.mv_data, prefix, strlen(prefix)) == 0) {
            each(ctx, key.mv_data, &value);
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0 : negative(rc);
}

struct total_walk {
    json_t *object;
    size_t prefix_size;
};

static void add_total(void *ctx, const char *name, const MDB_val *value)
{
    struct total_walk *totals = ctx;
    int64_t sum = 0;
    if (value->mv_size == sizeof(sum))
        memcpy(&sum, value->mv_data, sizeof(sum));
    json_object_set_new(totals->object, name + totals->prefix_size, json_integer(sum));
}

json_t *ledger_totals(struct ledger *ledger, const char *prefix)
{
    struct total_walk totals = {json_object(), strlen(prefix)};
    if (walk(ledger, ledger->numbers, prefix, add_total, &totals) == 0)
        return totals.object;
    json_decref(totals.object);
    return NULL;
}

struct note_walk {
    void (*each)(void *ctx, const char *name, const char *text);
    void *ctx;
};

static void each_note(void *ctx, const char *name, const MDB_val *value)
{
    struct note_walk *call = ctx;
    call->each(call->ctx, name, value->mv_data);
}

int ledger_notes(struct ledger *ledger, void (*each)(void *ctx, const char *name, const char *text),
                 void *ctx)
{
    struct note_walk call = {each, ctx};
    return walk(ledger, ledger->notes, "", each_note, &call);
}
