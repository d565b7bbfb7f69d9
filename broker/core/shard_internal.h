/* shard_internal.h: the shard core's state, shared by its files and by nobody else.
 *
 *   shard.c      life, turns, requests, flush
 *   entry.c      the entry being gathered, completions, refusals
 *   emit.c       emits: judged, given offsets, answered
 *   apply.c      what a durable entry does to the state (live and replayed)
 *   topics.c     topics and partitions        producers*.c  sequences, duplicates, expiry
 *   topic_admin.c  altering, deleting         retention.c  log starts
 *   groups.c     members, commits              crew.c       who has which partition
 *   atomic.c     atomic emits                   sources.c    named producers' positions in their source
 *   positions.c  groups' durable positions     group_admin.c  list, describe, seek, delete
 *   schedules.h  events that wait for their time
 *   rows.c       state rows: flushing         rows_load.c  and loading
 *
 * `x_prepared` is what the state will be once everything submitted is durable; `x` is what it is. */
#ifndef CRIER_BROKER_CORE_SHARD_INTERNAL_H
#define CRIER_BROKER_CORE_SHARD_INTERNAL_H

#include "broker/core/memory.h"
#include "broker/core/producers_idle.h"
#include "broker/core/shard.h"
#include "broker/core/shard_time.h"
#include "broker/core/table.h"
#include "proto/error.h"
#include "proto/state.pb-c.h"

enum command {
    COMMAND_CREATE_TOPIC = 1,
    COMMAND_COMMIT_POSITIONS = 2,
    COMMAND_BROKER_EPOCH = 3,
    COMMAND_ALLOCATE_PRODUCER = 4,
    COMMAND_SEEK_POSITIONS = 5,
    COMMAND_DELETE_GROUP = 6,
    COMMAND_SOURCE_POSITION = 7,
    COMMAND_MOVE_LOG_STARTS = 8,
    COMMAND_ALTER_TOPIC = 9,
    COMMAND_DELETE_TOPIC = 10,
    COMMAND_SHARED_PROGRESS = 11,
    COMMAND_SHARED_GROUP = 12,
    COMMAND_SCHEDULE = 15,
    COMMAND_FIRE = 16,
    COMMAND_CANCEL_SCHEDULES = 17
};

/* Everything that has a state row starts with this. Its life between two flushes:
 *
 *   CLEAN ──will change──▶ DIRTY ──a flush begins──▶ FROZEN ──put into bytes──▶ CLEAN
 *                            ▲                          │
 *                            └──put into bytes at once──┘  will change
 *
 * so that what a flush writes is the state at the moment it began, however many turns it takes to put it into bytes. */
enum row_kind {
    ROW_SHARD = 1,
    ROW_TOPIC = 2,
    ROW_PARTITION = 3,
    ROW_PRODUCER = 4,
    ROW_GROUP = 5,
    ROW_POSITION = 6,
    ROW_SOURCE = 7,
    ROW_SHARED = 8,
    ROW_SCHEDULE = 9
};
struct row {
    enum row_kind kind;
    uint64_t
        flush; /* the number of the flush that is to write it: the next one (DIRTY), this one (FROZEN); 0: CLEAN */
    struct row *prev,
        *next; /* DIRTY or FROZEN: in that list of the shard's; CLEAN and deleted: in the graves */
};

struct partition {
    struct row row;
    struct topic *topic;
    uint64_t id;
    uint64_t log_start, log_start_prepared;
    uint64_t next; /* the log end, which on one node is the high watermark */
    uint64_t next_prepared;
    uint64_t entry; /* the last one that carries a batch of it */
    uint64_t bytes; /* of its batches from log_start on, about */
    bool deleted;
};

struct topic {
    struct row row;
    char *name;
    uint8_t id[TOPIC_ID_SIZE];
    uint64_t *partitions;
    uint32_t partition_count;
    bool memory;
    bool
        reserved; /* `$...`: the broker's own, which nobody else writes or changes; not those of dead letters */
    bool applied;   /* false: its command is in an entry that is not durable yet */
    bool ephemeral; /* nothing of it comes here: the session hands it on */
    int64_t created_us;
    uint64_t entry;  /* the number of that entry */
    uint64_t change; /* of the last one that alters or deletes it */
    bool deleting;   /* that one deletes it */
    bool deleted;    /* it is no longer in the hash and waits for the flush that removes its row */
    struct quota quota;
    uint32_t max_listeners; /* 0: any number */
    struct retention retention;
    bool retained;            /* it has limits: in the shard's list */
    bool retaining;           /* a job is at it */
    int64_t retention_due_us; /* when the age of its events is looked at next */
    struct topic *retained_prev, *retained_next;
    struct retry_policy retry; /* its dead_letter is the topic's own, or NULL */
    struct crew *shared_crews; /* of shared groups that listen to it */
    struct partition own[];    /* behind them, in the same piece of memory: their numbers, the name */
};

/* What a batch that comes again is answered with, if it had a time. */
#define RECENT_SCHEDULES_MAX 32u /* as many batches as may be in flight */
struct recent_schedule {
    int32_t base_sequence;
    struct schedule_key key;
};
struct producer {
    struct row row;
    struct producer_key key;
    struct producer_state state, prepared;
    uint64_t entry; /* the last one that carries a batch of it */
    int64_t used_us;
    struct recent_schedule *recent; /* of this epoch, oldest first; NULL: none */
    uint32_t recent_count;
    uint32_t idle; /* its number among the idle ones, while it is AWAKE there; 0: it is not */
    struct producer *prev,
        *next; /* by last use, oldest first; linked while state.exists and it is not idle */
};

/* See sources.c. */
struct source {
    struct row row;
    UT_hash_handle hh;       /* by name, if it has one */
    UT_hash_handle hh_owner; /* by owner_prepared */
    char *name;              /* "": a client's own count of its atomic emits */
    uint64_t id; /* of its row: its own number, or, without a name, the owner; 0: nothing stored */
    uint64_t owner, owner_prepared;       /* the producer id that speaks for it */
    uint64_t position, position_prepared; /* 0: nothing was emitted */
    uint64_t entry;                       /* the last one that carries it */
    int64_t used_us;
    struct source *lru_prev, *lru_next; /* without a name, and stored: by last use, oldest first */
};

struct group {
    struct row row;
    UT_hash_handle hh; /* by name */
    char *name;
    uint64_t id;    /* 0: nothing stored */
    uint64_t entry; /* the one that seeks or deletes it; 0: none */
    bool deleted;   /* it is no longer in the hash and waits for the flush that removes its row */
    enum group_kind kind, kind_prepared;
    uint64_t kind_entry; /* the last one that changes it */
    struct crew *crews;
    struct group_position *positions; /* all of them */
};

/* The members of one group that listen to one topic, and who has which partition. Volatile. */
enum slot_state {
    SLOT_FREE,
    SLOT_STARTING, /* given, and waiting until what earlier owners committed is durable */
    SLOT_OWNED,
    SLOT_RELEASING /* its owner has been asked to give it back */
};
struct slot {
    uint64_t partition;
    enum slot_state state;
    struct member *owner;     /* unless FREE */
    struct slot *prev, *next; /* in its owner's list, or among the free */
};
struct crew {
    struct crew *next; /* of the group */
    struct group *group;
    struct topic *topic;
    struct slot *slots; /* one per partition, in the topic's order */
    struct slot *free;
    struct member *members; /* in the order they came */
    uint32_t member_count;
    bool positioned;            /* every partition has a stored position: who joins now need not look */
    struct shared_crew *shared; /* NULL: an ordered group's */
    struct crew *shared_next;   /* of the topic */
};
struct member {
    UT_hash_handle hh; /* by generation */
    struct member *prev, *next;
    struct crew *crew;
    struct token token;
    uint64_t generation; /* {broker epoch, counter}: nobody else ever has it */
    char *name;
    bool joined; /* SHARD_JOINED has been sent */
    struct slot *slots;
    uint32_t owned;        /* of them, STARTING or OWNED */
    bool gained;           /* in the rebalance that is going on */
    struct worker *worker; /* NULL: an ordered group's */
};
struct position_key {
    uint64_t partition;
    struct group *group;
};
struct group_position {
    struct row row;
    struct position_key key;
    struct group_position *prev, *next; /* of its group */
    bool deleted;
    bool exists, exists_prepared;
    uint64_t offset, offset_prepared;
    uint64_t entry;        /* the last one that carries it */
    struct shared *shared; /* NULL: it never was a shared group's */
};

/* A request that waits for an entry. */
struct parked {
    struct parked *next;
    struct shard_request request; /* its pointers are owned */
};

/* What an entry schedules, and the schedules that it ends. */
struct scheduled {
    struct schedule_key key;
    uint64_t partition;
    uint32_t size;
    struct batch_header header;
};
struct ended {
    struct schedule_key key;
    bool fired; /* else canceled */
};

struct shard_entry {
    struct shard_entry *next;
    struct store_append append;
    struct shard *shard;
    uint64_t number; /* the shard's own count, in submission order */
    struct entry_part *parts;
    size_t part_count, part_capacity;
    size_t size;
    struct emit *emits, *emits_last; /* answered when it is done */
    struct parked *parked;
    struct group_position **positions; /* committed by it: one command, written when it is sealed */
    size_t position_count, position_capacity;
    struct source **sources; /* moved on or claimed by it: the same */
    size_t source_count, source_capacity;
    struct topic **topics; /* created by it */
    size_t topic_count, topic_capacity;
    struct topic **changes; /* altered or deleted by it */
    size_t change_count, change_capacity;
    uint64_t *moves; /* the partitions whose log starts it moves */
    size_t move_count, move_capacity;
    struct scheduled *scheduled; /* one command, written when it is sealed */
    size_t scheduled_count, scheduled_capacity;
    struct ended *ended; /* the same */
    size_t ended_count, ended_capacity;
    struct shared_mark *marks; /* of shared groups: commands, written when it is sealed */
    size_t mark_count, mark_capacity;
    struct group **kinds; /* groups whose kind it changes */
    size_t kind_count, kind_capacity;
};

struct shard_row {
    struct row row;
    uint64_t next_partition_id, next_partition_id_prepared;
    uint64_t next_producer_id;
    uint64_t next_group_id;
    uint64_t next_source_id;
    uint64_t broker_epoch;
    int64_t time_us;
    uint64_t schedules; /* how many wait */
};

enum shard_flushing {
    FLUSH_NONE,
    FLUSH_FREEZING, /* rows are put into bytes, some a turn */
    FLUSH_WRITING   /* the store has them */
};

struct shard {
    struct core_config config;
    const struct core_ops *ops;
    void *ops_ctx;
    struct store *store;
    const struct shard_output *output;
    void *output_ctx;
    struct shard_time time;
    int64_t mono_us;

    struct shard_row self;
    struct table topics; /* by name */
    struct topic **topics_sorted;
    size_t topics_sorted_count, topics_sorted_capacity;
    bool topics_sorted_stale;
    struct partition **partitions; /* by id; NULL: none */
    size_t partition_capacity;
    struct table producers; /* by key */
    struct producer *producers_lru;
    struct idle_producers idle;   /* of the rows that were loaded */
    struct source *sources;       /* hash by name */
    struct source *source_owners; /* hash by prepared owner: all of them */
    struct source *sources_lru;
    struct group *groups;       /* hash by name */
    struct member *members;     /* of all groups: hash by generation */
    struct table positions;     /* by key */
    struct group *group_loaded; /* while rows are loaded: the last one looked up */
    uint64_t generation_counter;
    uint64_t producer_next, producer_reserved; /* ids at hand: [next, reserved) */
    uint64_t producer_entry;                   /* the entry that reserves more; 0: none */

    uint64_t entry_number; /* of the last entry begun */
    uint64_t entry_done;   /* of the last entry completed */
    uint64_t epoch;        /* append epoch */
    struct shard_entry *gathering;
    struct shard_entry *in_flight, *in_flight_last;
    struct shard_entry *answering; /* done, and in neither of these; NULL: none */
    size_t in_flight_count;
    struct shard_entry *entries_free;
    struct emit *waiting, *waiting_last; /* no room in the store's queue */
    uint64_t ready_entry;                /* the core is ready once this one is done */
    int64_t ready_tried_at_us;
    bool serving; /* recovery is over: what is applied from now on is this life's */
    bool ready, read_only;
    bool draining; /* nothing fires any more */
    bool stopping; /* the store takes nothing any more */
    bool full;     /* the last entry was refused for want of space, and the log says so */

    uint64_t applied_index;
    struct row *dirty;   /* changed since the last flush began */
    struct row *frozen;  /* of the flush that has begun: not in bytes yet */
    uint64_t next_flush; /* the number of the flush that begins next; from 1 */
    uint64_t bytes_since_flush;
    int64_t flushed_at_us;
    struct store_flush flush;
    enum shard_flushing flushing;
    bool flush_failed; /* the last one */
    bool packed;       /* rows were put into bytes in this turn */
    struct rows
        *flush_rows; /* in bytes, in order; those of a flush that failed are written with the next one */

    struct schedules *schedules;

    struct topic *retained;       /* those with limits */
    struct topic *retention_next; /* of the round that is under way; NULL: none is */
    struct retention_job *retention_jobs;
    size_t retention_job_count; /* started */
    int64_t retention_round_us;
    uint64_t retention_round_bytes; /* count_bytes when it began */

    struct shared_world *shared; /* shared groups: shared_internal.h */

    bool guarded;     /* little is left on the disk: emits are refused, the rest goes on */
    int64_t guard_us; /* when that was looked at last */

    uint64_t count_fired, count_run_out; /* schedules; leases */
    uint64_t count_emits, count_events, count_bytes, count_refused, count_duplicates;
};

/* ---- shard.c ---- */
void shard_request_run(struct shard *shard, const struct shard_request *request);
void shard_reply_code(struct shard *shard, const struct shard_request *request, int code);
void shard_log(struct shard *shard, enum log_level level, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* To be called BEFORE the row changes, or its object is marked as deleted: a flush that has begun still wants it as it is.
 * The object may be freed only when its row is CLEAN and the flush that removes it is stored (rows.c calls for that). */
void shard_guard(struct shard *shard); /* looks at the disk */
void shard_row_will_change(struct shard *shard, struct row *row);

/* ---- entry.c ---- */
struct shard_entry *shard_gather(struct shard *shard); /* the open entry */
/* Adds a part to the open entry. The payload is referenced. */
void shard_add_part(struct shard *shard, const struct entry_part *part);
/* Adds a command; the bytes are copied. */
void shard_add_command(struct shard *shard, enum command command, const uint8_t *bytes, size_t size);
/* Gives a batch its offsets and its place in the open entry. Returns its base offset. */
uint64_t shard_add_batch(struct shard *shard, struct partition *partition, struct slice batch, uint32_t span,
                         uint8_t flags);
/* Is there a place for so many bytes in so many parts now? Seals the open entry if it is in the way. */
bool entry_make_room(struct shard *shard, size_t size, uint32_t parts);
bool shard_has_room(const struct shard *shard); /* the store takes another entry */
void entry_seal(struct shard *shard);           /* hands the open entry to the store, which has room */
struct shard_entry *entry_by_number(struct shard *shard, uint64_t number); /* NULL: done */
void entry_add_emit(struct shard_entry *entry, struct emit *emit); /* answered when the entry is done */
/* Answers the request again when entry `number` is durable, or with a code if it is refused. */
void shard_park(struct shard *shard, uint64_t number, const struct shard_request *request);
struct parked *parked_create(const struct shard_request *request); /* a copy */
void parked_destroy(struct parked *parked);
void entry_free(struct shard_entry *entry);

/* ---- emit.c ---- */
void emit_answer(struct shard *shard, struct emit *emit); /* taken */
/* Its entry is durable, or has failed: fills in the outcomes. */
void emit_succeed(struct shard *shard, struct emit *emit);
void emit_fail(struct shard *shard, struct emit *emit, enum emit_outcome outcome, int code);
void emit_run_waiting(struct shard *shard);
/* Gives a batch its offsets and its place in the open entry. */
void emit_part_prepare(struct shard *shard, struct partition *partition, struct emit_part *part,
                       struct producer *producer);

/* ---- atomic.c ---- */
/* Returns the number of the entry that decides about the emit; 0: it is decided already. */
uint64_t atomic_prepare(struct shard *shard, struct emit *emit);
void atomic_succeed(struct emit *emit);
void atomic_fail(struct shard *shard, struct emit *emit, enum emit_outcome outcome, int code);

/* ---- apply.c ---- */
/* Applies one durable entry. 0, or STORE_ECORRUPT: the entry contradicts the state (replay only). */
int shard_apply(struct shard *shard, const struct store_entry *entry);

/* ---- topics.c ---- */
#define GROUP_TOPICS_MAX 64 /* shown of one group */
#define GROUP_PARTITIONS_MAX                                                                                 \
    256 /* in one answer: with names of 255 and members of 63 bytes it fits a header */
#define TOPIC_LIST_PARTITIONS_MAX 256 /* where an answer ends, so that it fits a frame's header */
struct topic *topic_find(const struct shard *shard, const char *name);
bool topic_name_valid(const char *name);
bool topic_name_reserved(const char *name); /* for the broker, or for what is local to a bus */
/* It is valid, and not there. Returns the number of the entry that makes it. */
uint64_t topic_create(struct shard *shard, const struct shard_request *request);
struct topic *topic_add(struct shard *shard, const char *name, const uint8_t *id, const uint64_t *partitions,
                        size_t partition_count, bool memory, int64_t created_us);
void topic_applied(struct shard *shard, struct topic *topic);
void topics_announce_all(struct shard *shard);               /* to the session, when recovery is over */
void topic_remove(struct shard *shard, struct topic *topic); /* one that was never applied */
void topic_announce_end(struct shard *shard, const struct topic *topic); /* to the session: it goes */
void topic_announce_limits(struct shard *shard, const struct topic *topic);
void topic_delete(struct shard *shard, struct topic *topic); /* applied: its rows go with the next flush */
void topic_bury(struct row *row); /* its row and its partitions' are gone: frees it */
void topics_reply(struct shard *shard, const struct shard_request *request, struct topic *const *topics,
                  size_t count, bool more);
void topic_free_all(struct shard *shard);
struct partition *partition_find(const struct shard *shard, uint64_t id); /* NULL: none */
/* Could a new topic have these? They ascend, and nobody has them. */
bool partition_ids_free(const struct shard *shard, const uint64_t *ids, size_t count);
void topics_request(struct shard *shard, const struct shard_request *request);

/* ---- topic_admin.c ---- */
bool retention_any(const struct retention *retention);
int retention_check(const struct retention *retention); /* 0 or a code: it contradicts itself */
void retention_pack(const struct retention *retention, State__TopicSettings *settings);
struct retention retention_unpack(const State__TopicSettings *settings);
void quota_pack(const struct quota *quota, State__TopicSettings *settings);
struct quota quota_unpack(const State__TopicSettings *settings);
void topic_admin_request(struct shard *shard, const struct shard_request *request);
/* The entry that makes, alters or deletes it; 0: that is over. */
uint64_t topic_depends(const struct shard *shard, const struct topic *topic);
void topic_changes_set_back(struct shard_entry *entry);
int apply_alter_topic(struct shard *shard, const uint8_t *bytes, size_t size);
int apply_delete_topic(struct shard *shard, const uint8_t *bytes, size_t size);

/* ---- retention.c ---- */
void retention_request(struct shard *shard, const struct shard_request *request);
void retention_settings_changed(struct shard *shard, struct topic *topic);
int64_t retention_turn(struct shard *shard); /* returns when the next turn is due at the latest */
void retention_set_back(struct shard *shard, struct shard_entry *entry);
int apply_move_log_starts(struct shard *shard, const uint8_t *bytes, size_t size);
void retention_tell_store(struct shard *shard); /* after loading and replaying */
void retention_jobs_free(struct shard *shard);

/* ---- producers.c ---- */
struct producer *producer_find(struct shard *shard, int64_t producer_id, uint64_t partition);
#define PRODUCER_EXPIRY_US (24 * INT64_C(3600) * 1000000)
enum sequence_verdict { SEQUENCE_NEW, SEQUENCE_DUPLICATE, SEQUENCE_REFUSED };
/* Judges a batch against the prepared state. *ret_code is set when refused. */
enum sequence_verdict producer_judge(struct shard *shard, const struct emit_part *part,
                                     struct producer **ret_producer, int *ret_code);
void producer_prepare(struct producer *producer, const struct emit_part *part, uint64_t base_offset,
                      uint64_t entry);
void producer_apply(struct shard *shard, const struct batch_header *header, uint64_t partition,
                    uint64_t base_offset, int64_t time_us);
void producer_set_back(struct shard *shard, int64_t producer_id, uint64_t partition);
/* Is this batch wholly part of what is stored? base offset, or -1 if no longer known. */
bool producer_stored(const struct producer_state *state, const struct batch_header *header,
                     int64_t *ret_base_offset);
/* That batch is a schedule. Deterministic. */
void producer_apply_schedule(struct shard *shard, const struct batch_header *header, uint64_t partition,
                             const struct schedule_key *key, int64_t time_us);
/* Its key, if it is one and still known. */
void producer_recall_schedule(const struct producer *producer, const struct batch_header *header,
                              struct schedule_key *ret_key);
void producer_schedule_add(struct producer *producer, const struct recent_schedule *recent);
uint32_t producers_count(const struct shard *shard);
void producers_expire(struct shard *shard, int64_t time_us);
void producer_flushed_away(struct shard *shard,
                           struct producer *producer); /* its row is gone: so may it be */
void producer_ids_applied(struct shard *shard, uint64_t last);
void producer_ids_reserve(struct shard *shard);
void producers_request(struct shard *shard, const struct shard_request *request);
void producer_free_all(struct shard *shard);

/* ---- schedules.c, schedule_window.c, schedule_fire.c, schedule_admin.c ---- */
#define SCHEDULE_KEY_SIZE 17              /* of its row */
struct schedules *schedules_create(void); /* NULL: out of memory */
void schedules_free(struct shard *shard);
bool schedules_ready(struct shard *shard, const struct emit *emit);    /* false: it has to wait */
int schedule_judge(struct shard *shard, const struct emit_part *part); /* 0, or why it cannot be */
void schedule_prepare(struct shard *shard, struct emit_part *part, struct producer *producer);
void schedules_encode(struct shard *shard, struct shard_entry *entry);
void schedules_set_back(struct shard *shard, struct shard_entry *entry);
int apply_schedules(struct shard *shard, const uint8_t *bytes, size_t size, int64_t time_us);
int apply_end_schedules(struct shard *shard, const uint8_t *bytes, size_t size);
int schedule_load(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory);
bool schedule_gone(const struct row *row);
/* The row's key and value (in *value); NULL: it is deleted. */
const ProtobufCMessage *schedule_row_pack(const struct row *row, uint8_t key[SCHEDULE_KEY_SIZE],
                                          State__ScheduleRow *value);
void schedule_bury(struct shard *shard, struct row *row);
void schedules_flush_begins(struct shard *shard);
bool schedules_want_flush(const struct shard *shard);
void schedules_flushed(struct shard *shard); /* what is stored need not be in memory */
int64_t schedules_turn(struct shard *shard); /* returns when the next turn is due at the latest */
void schedules_request(struct shard *shard, const struct shard_request *request);
/* In this partition of their topic, what was stored before this has fired or is canceled; 0: not known. */
int64_t schedules_dead_before(struct shard *shard, uint32_t place);

/* ---- sources.c ---- */
enum source_verdict { SOURCE_NEW, SOURCE_DUPLICATE, SOURCE_GAP, SOURCE_FENCED };
/* A row of it, borrowed. */
struct source_row {
    const char *name;
    uint64_t id, owner, position;
    int64_t used_us;
};
/* Judges an atomic emit against the prepared state. *ret_source: NULL if it has none yet. */
enum source_verdict source_judge(struct shard *shard, const struct emit *emit, struct source **ret_source);
void source_prepare(struct shard *shard, const struct emit *emit); /* goes into the open entry */
bool source_stored(struct shard *shard, const struct emit *emit);  /* is this emit part of what is stored? */
/* The entry that what is prepared of it waits for; 0: what is stored is all there is. */
uint64_t source_depends(const struct shard *shard, const struct source *source);
/* A producer id has been found for a client with a name: answers when the name is durably its own, or it cannot be. */
void source_claim(struct shard *shard, const struct shard_request *request, uint64_t producer_id);
void sources_encode(struct shard *shard, struct shard_entry *entry); /* adds the command parts */
void sources_set_back(struct shard *shard, struct shard_entry *entry);
int source_apply(struct shard *shard, const uint8_t *bytes, size_t size, int64_t time_us);
void sources_expire(struct shard *shard, int64_t time_us);
void source_load(struct shard *shard, const struct source_row *row);
void source_lru_sort(struct shard *shard);
void source_flushed_away(struct shard *shard, struct source *source); /* its row is gone: so may it be */
void source_free_all(struct shard *shard);

/* ---- positions.c ---- */
struct group *group_find(struct shard *shard, const char *name);
struct group *group_get(struct shard *shard, const char *name);
struct group *group_stored(struct shard *shard, const char *name); /* applied: it has a number */
struct group_position *position_find(struct shard *shard, struct group *group, uint64_t partition);
struct group_position *position_get(struct shard *shard, struct group *group, uint64_t partition);
/* A position to be committed with the open entry. */
void position_prepare(struct shard *shard, struct group *group, uint64_t partition, uint64_t offset);
/* The entry that a position waits for; 0: what is stored is all there is. */
uint64_t position_depends(const struct shard *shard, const struct group_position *position);
void positions_encode(struct shard *shard,
                      struct shard_entry *entry); /* adds the command part, if there are any */
void positions_set_back(struct shard *shard, struct shard_entry *entry);
void group_delete(struct shard *shard, struct group *group); /* applied: its rows go with the next flush */
void position_delete(struct shard *shard, struct group *group,
                     uint64_t partition); /* the same, if it is there */
void group_bury(struct row *row);         /* its row is gone: frees it */
void group_free_all(struct shard *shard);

/* ---- crew.c ---- */
struct crew *crew_get(struct shard *shard, struct group *group, struct topic *topic);
struct crew *crew_find(struct group *group, const struct topic *topic);
struct slot *crew_slot(const struct crew *crew, uint64_t partition); /* NULL: not of this topic */
struct member *crew_join(struct shard *shard, struct crew *crew, const struct shard_request *request);
void crew_leave(struct shard *shard, struct member *member); /* frees it; its partitions go to others */
/* Shares the partitions out: tells members what they lose, settles those that gain. */
void crew_rebalance(struct shard *shard, struct crew *crew);
void slot_free(struct slot *slot);
void crew_free(struct shard *shard, struct crew *crew);

/* ---- groups.c ---- */
void groups_request(struct shard *shard, const struct shard_request *request);
/* Tells a member which partitions are its own now; what is not ready yet is told later. */
void member_settle(struct shard *shard, struct member *member);
struct member *member_find(struct shard *shard, uint64_t generation); /* NULL: gone */
void member_tell(struct shard *shard, struct member *member, const struct position *ready, size_t count);
/* It is settled when entry `number` is durable. */
void member_settle_later(struct shard *shard, const struct member *member, uint64_t number);

/* ---- group_admin.c ---- */
void group_admin_request(struct shard *shard, const struct shard_request *request);

/* ---- shared groups ---- */
#include "broker/core/shared.h"

/* ---- rows_load.c, rows.c ---- */
int rows_load(struct shard *shard, const struct store_row *row);
/* A flush begins: everything dirty is frozen. */
void rows_freeze(struct shard *shard);
/* Puts up to so many frozen rows into bytes. True: none is left. */
bool rows_pack(struct shard *shard, uint32_t count);
/* Everything in bytes, as the store takes it. */
const struct store_rows *rows_packed(const struct shard *shard, size_t *ret_count);
void rows_stored(struct shard *shard); /* the flush is over: frees the bytes, and what was deleted */
void rows_free_all(
    struct shard *shard); /* the core ends: also frees what is deleted and waited for a flush */

#endif
