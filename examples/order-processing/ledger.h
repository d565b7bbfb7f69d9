/* ledger.h: numbers that count every event once, however often it comes.
 *
 * crier delivers to a group at least once: a service that died after its handler, before its position was committed,
 * sees those events again. So a ledger keeps its own position, per topic and partition, in the same LMDB transaction as
 * the numbers the event changed: both are on disk, or neither. An event below the position is a repeat and is skipped.
 *
 * What a service wants to tell others because of an event goes into the same transaction, as a note, and is removed
 * when the broker has acknowledged it (the "transactional outbox"): a crash can send a note twice, never lose it.
 *
 * Thread:  one at a time: the bus's, while it is open; the main thread before and after.
 * Errors:  0 or negative errno values and LMDB codes; ledger_error() tells. */
#ifndef ORDER_PROCESSING_LEDGER_H
#define ORDER_PROCESSING_LEDGER_H

#include <crier/crier.h>
#include <jansson.h>

#include <stdint.h>

#define LEDGER_NAME_MAX 256 /* bytes */

struct ledger;

/* Opens or creates the file. *ret_ledger is written on success only. */
int ledger_open(const char *path, struct ledger **ret_ledger);
void ledger_close(struct ledger *ledger); /* outside a transaction; accepts NULL */
const char *ledger_error(int code);       /* static text */

/* Starts the transaction of one event. 1: go on; 0: the event is a repeat, there is no transaction. */
int ledger_begin(struct ledger *ledger, const crier_event *event);
/* Adds to a number (0 if it is new) and tells the sum. */
int ledger_add(struct ledger *ledger, const char *name, int64_t amount, int64_t *ret_sum);
/* Leaves a note to be sent; name says what it is about, so that the same event makes the same note. */
int ledger_note(struct ledger *ledger, const char *name, const char *text);
/* Ends the transaction: with 0, everything since ledger_begin is on disk; else, or after abort, nothing of it. */
int ledger_commit(struct ledger *ledger);
void ledger_abort(struct ledger *ledger);

/* Removes a note that was sent: with the next commit, or at close. Never fails. */
void ledger_note_sent(struct ledger *ledger, const char *name);
/* Calls each() with every note, in the order of names. Outside a transaction. */
int ledger_notes(struct ledger *ledger, void (*each)(void *ctx, const char *name, const char *text),
                 void *ctx);
/* An object of the numbers whose name starts with prefix, under the rest of their names; NULL if it cannot be read.
 * Outside a transaction. Returned. */
json_t *ledger_totals(struct ledger *ledger, const char *prefix);

#endif
