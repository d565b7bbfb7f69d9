/* core.h: the whole broker without its sockets, disks and clocks.
 *
 * Role:    frames, completions and time in; frames to send, entries to append and reads to start out. Two halves that
 *          meet only in the value messages of message.h: the session core (connections, listeners, credit; session.h)
 *          and the shard core (topics, offsets, producers, groups: all that is replayed and replicated; shard.h).
 * Pure:    no I/O, threads, clock, random source or global of its own. Everything comes in through the calls below, the
 *          ops table and the store's interface, so the simulator runs this very code with a fake network and disk.
 * Thread:  one owner thread (the reactor, or the simulator's scheduler) makes all calls.
 * Life:    core_create → core_recover → turns → core_drain → turns until core_drained → core_destroy.
 *
 * A turn:  core_turn_begin (time) → any number of connection and store events → core_turn_end, which seals the entry
 *          the turn gathered, hands it to the store and delivers what can be delivered. */
#ifndef CRIER_BROKER_CORE_H
#define CRIER_BROKER_CORE_H

#include "base/buffer.h"
#include "base/log.h"
#include "proto/frame.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core;
struct core_connection;

/* What the core asks of the world around it. `owner` is what core_connection_open() was given. */
struct core_ops {
    /* Queue these bytes on the connection: `head` is copied, the slices are referenced until they are sent. The callee
     * reports progress with core_connection_sent(), never from inside this call. */
    void (*send)(void *owner, const uint8_t *head, size_t head_size, const struct slice *slices,
                 size_t slice_count);
    /* Close after everything queued is sent (or after 5 s). The callee answers with core_connection_close(),
     * never from inside this call. */
    void (*close)(void *owner);
    /* Stop or resume reading from the connection. */
    void (*pause)(void *owner, bool paused);
    /* Fill `size` <= 64 bytes with randomness. */
    void (*random)(void *ctx, void *to, size_t size);
    /* One log line with a stable id. */
    void (*log)(void *ctx, enum log_level level, const char *id, const char *text);
};

/* What may come in a second; 0: any number. A burst of one second's worth is taken at once. */
struct quota {
    uint64_t events, bytes;
};
#define QUOTA_NONE UINT64_MAX /* where 0 means that another quota holds: any number */

/* What all connections together may emit whose client says this name in its HELLO. */
#define CLIENT_QUOTAS_MAX     32u
#define CLIENT_QUOTA_NAME_MAX 62u /* bytes; of longer names not all is remembered */
struct client_quota {
    char name[CLIENT_QUOTA_NAME_MAX + 1];
    struct quota
        quota; /* each of events and bytes takes the place of core_config.client_quota; 0: that holds */
};

struct core_config {
    bool auto_create;           /* describe and listen may create topics; default true */
    bool durability_memory;     /* new topics say "memory" to their emitters; default false: durable */
    uint32_t event_size_max;    /* bytes; default 1 MiB */
    size_t ingest_bytes_max;    /* sum of all producers' grants; default 16 MiB */
    size_t producer_window_max; /* grant of one active producer; default 8 MiB */
    size_t cache_bytes_max;     /* what the tail cache may pin; default 8 MiB */
    uint32_t ping_interval_ms;  /* told to clients; default 5000 */
    uint32_t idle_timeout_ms;   /* a silent connection is closed after this; default 15000 */
    int64_t flush_interval_us;  /* state flush; default 1 s */
    uint64_t flush_log_bytes;   /* or after so much log; default 64 MiB */
    uint64_t disk_free_min;     /* with less left on the disk emits are refused; default 0: never */
    uint32_t schedule_window;   /* so many of the next schedules are in memory, up to twice; default 32768 */
    uint32_t flush_rows_per_turn; /* how many are put into bytes at a time; default 2000, about 1 ms */
    struct quota client_quota;    /* emits of one connection; default none */
    struct client_quota client_quotas[CLIENT_QUOTAS_MAX]; /* of client_quota_count names, each once */
    uint32_t client_quota_count;                          /* default 0 */
    struct quota topic_quota; /* emits to one topic, of all connections; default none */
    size_t listeners_max;     /* of all connections; default 1,000,000 */
    size_t topics_max;        /* default 1,000,000 */
    size_t backlog_bytes_max; /* all queues of ephemeral topics' listeners; default 256 MiB */
    uint64_t seed;            /* for choices that need no secrecy */
    const char *software;     /* told in WELCOME; borrowed */
};

struct core_config core_config_default(void);

/* NULL: out of memory. store is borrowed and stays open until after core_destroy. */
struct core *core_create(const struct core_config *config, const struct core_ops *ops, void *ops_ctx,
                         struct store *store);
/* From now on: auto_create, durability_memory, event_size_max, disk_free_min, all quotas, listeners_max, topics_max and
 * backlog_bytes_max. The rest is built in. */
void core_reconfigure(struct core *core, const struct core_config *config);
/* The store has been stopped or is about to be closed: nothing of the core's is in it any more. Accepts NULL. */
void core_destroy(struct core *core);

/* Loads the state, replays the log, starts the store and submits this life's first entry (its broker epoch).
 * mono_us and wall_us as for core_turn_begin. 0, or a store code with one sentence in error. */
int core_recover(struct core *core, int64_t mono_us, int64_t wall_us, char *error, size_t error_size);
/* The first entry is durable: connections may be accepted. */
bool core_ready(const struct core *core);
/* The shard cannot write (an I/O error): the first entry will never be durable. */
bool core_read_only(const struct core *core);

/* mono_us never goes back; wall_us is the time since 1970 UTC and may jump. */
void core_turn_begin(struct core *core, int64_t mono_us, int64_t wall_us);
/* Ends the turn; returns the mono_us at which the next one is due at the latest. */
int64_t core_turn_end(struct core *core);

/* peer: text for logs, copied. Returns NULL: out of memory. */
struct core_connection *core_connection_open(struct core *core, void *owner, const char *peer);
/* One too many: ERROR with CRIER_EQUOTA and this text, then the connection is closed. */
void core_connection_turn_away(struct core_connection *connection, const char *why);
/* Bytes arrived (whatever they are): the peer lives. */
void core_connection_received(struct core_connection *connection);
/* The largest frame of this kind that the connection may send now, prefix included: checked before memory is taken. */
size_t core_connection_frame_max(const struct core_connection *connection, uint8_t kind);
/* One whole frame; `bytes` is the slice that holds it, writable (base offsets are patched in place). */
void core_connection_frame(struct core_connection *connection, const struct frame *frame, struct slice bytes);
/* The bytes are no frame: answers ERROR with the code and closes. first: the first bytes, for the log. */
void core_connection_bad(struct core_connection *connection, int code, const uint8_t *first, size_t size);
/* So many more bytes of output have reached the kernel. */
void core_connection_sent(struct core_connection *connection, size_t bytes);
/* The connection is gone; the handle is invalid from here on. reason: for the log. */
void core_connection_close(struct core_connection *connection, const char *reason);

/* Refuse new emits, send GOAWAY, finish what is in flight. */
void core_drain(struct core *core, uint32_t deadline_ms);
/* Nothing is in flight, unanswered or unsent any more. */
bool core_drained(const struct core *core);
/* Stops the store, which ends what it has; what waits for room in it is never begun. Afterwards turns only look on. */
void core_stop(struct core *core);

struct core_stats {
    size_t connections, listeners, topics, partitions, producers, groups;
    uint64_t emits, events_in, bytes_in, refused, duplicates;
    uint64_t delivered_batches, delivered_bytes, cache_hits, reads;
    uint64_t schedules, fired; /* waiting now; in this life */
    uint64_t run_out;          /* leases of shared groups, in this life */
    uint64_t handed, dropped;  /* events of ephemeral topics: emitted; that a listener had no room for */
    size_t backlog_bytes;      /* of ephemeral topics, for slow listeners */
    size_t entries_in_flight, ingest_bytes_granted, cache_bytes;
};
void core_stats(const struct core *core, struct core_stats *ret_stats);

#endif
