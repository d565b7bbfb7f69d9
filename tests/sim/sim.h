/* sim.h: one run of the simulator: a broker, its disk, clients, and the network between them, in virtual time.
 *
 * The core and the client engines are the real ones; everything around them is drawn from one seed. A run has four parts:
 *
 *   storm    clients emit, listen and leave; the network, the disk, the clocks and the broker's power fail
 *   healing  faults end, whoever is alive gets what it waits for, within bounded time (I13)
 *   truth    fresh readers read everything, twice, with a restart between (I11)
 *   verdict  the checker judges the history; the state on the disk is compared with a replay of the log
 *
 *   world.c      a run and its parts         plan.c    what is drawn for it     storm.c   actions and faults
 *   scheduler.c  who has the next turn       node.c    the broker's process around the core
 *   client.c     a client's process around the engine          disk.c    the twin, watched
 *   net.c        links                       tap.c     credit, frame by frame
 *   passing.c    events that nobody keeps
 *   fleeting.c   topics that come and go
 *   watching.c   clients that are told who listens
 *   later.c      events that come later
 *   sharing.c    members of shared groups            ledger.c  what they are promised
 *   ask.c        what people ask             main.c    many runs
 *
 * Everything runs on one thread; the scheduler lets one actor at a time have a turn, in an order drawn from the seed. */
#ifndef CRIER_SIM_SIM_H
#define CRIER_SIM_SIM_H

#include "base/random.h"
#include "client/engine.h"
#include "tests/sim/disk.h"
#include "tests/sim/failures.h"
#include "tests/sim/history.h"
#include "tests/sim/ledger.h"
#include "tests/sim/net.h"
#include "tests/sim/tap.h"
#include "tests/sim/trace.h"

#define SIM_RESTART_US_MAX 200000 /* without power */
#define SIM_TOPICS_MAX     4
#define SIM_GROUPS_MAX     3
#define SIM_PARTITIONS_MAX 3               /* of a topic */
#define SIM_QUIET_US       INT64_C(600000) /* longer than any retry: nothing more comes by itself */
/* I12: what may wait for one connection: the limit, and what eight reads under way bring */
#define SIM_UNSENT_MAX           (5u << 20)
#define SIM_EMITS_HEAL_US        INT64_C(5000000)  /* I13: after healing, every emit has its outcome */
#define SIM_CLIENT_NAME          "c"               /* of half of the clients, if it has a quota */
#define SIM_EMITS_SLOWED_HEAL_US INT64_C(60000000) /* the same, with a quota */
#define SIM_ENDS_HEAL_US         INT64_C(10000000) /* I13: and every listener stands at the end */

/* ---- the broker's process (node.c) ---- */

/* The broker's end of a link. */
struct server {
    struct server *next;
    struct sim *sim;
    struct link *link;
    struct core_connection *core;
    struct tap tap;
    struct buffer *frame; /* a frame that was cut: its own buffer */
    size_t frame_size, frame_filled;
    struct buffer *held; /* what was received and not taken: it is paused */
    size_t held_first, held_end;
    uint8_t prefix[FRAME_PREFIX_SIZE];
    size_t prefix_size;
    uint8_t *output; /* what the core has sent and the link has not taken */
    size_t output_first, output_size, output_capacity;
    size_t swallowed; /* bytes that were for nobody, and not yet reported as sent */
    bool paused;
    bool closing;     /* the core wants the end: output first */
    bool half_closed; /* ... which is all sent; what still comes is thrown away */
    int64_t close_by_us;
};

struct node {
    struct core_config config;
    struct store_memory_options store_options;
    struct core *core; /* NULL: no power */
    struct store *store;
    struct server *servers;
    uint64_t life;
    bool ready, draining, read_only;
    bool again;         /* there is more to do right now */
    int64_t stop_by_us; /* while draining */
    int64_t due_us;     /* the core's */
    int64_t busy_until_us;
};

/* ---- a client's process (client.c) ---- */

struct subscriber {
    struct subscriber *next;
    struct client *client;
    crier_listener *listener; /* NULL: released */
    uint32_t index; /* in the history; a pattern's is a listener there for each topic, from this one on */
    uint32_t topic, topics; /* the first one, and how many: more than one is a pattern */
    bool counted;           /* stops by itself after some events */
    uint64_t life;
    unsigned fails_permille, emits_permille;
    bool unlisten_wanted;
    struct transform *transform; /* owned; NULL: it makes nothing */
};

enum wire { WIRE_IDLE, WIRE_CONNECTING, WIRE_HANGING, WIRE_CONNECTED };

struct client {
    struct client *next;
    struct sim *sim;
    uint32_t id, number; /* of its next emit */
    struct engine *engine;
    enum wire wire;
    struct link *link;
    int64_t connect_at_us;
    bool connect_wanted, disconnect_wanted;
    bool ready; /* has a connection with a WELCOME */
    bool closing;
    bool hears_errors; /* has a listener on "error" */
    bool wake, blocked;
    bool reader;
    size_t dispatch_max;
    int64_t busy_until_us, busy_us_max;
    uint32_t source;    /* a named producer's; HISTORY_NONE: it has no name */
    bool stepping;      /* it knows where its source is */
    uint64_t position;  /* of its last step */
    uint64_t pending;   /* emits without an outcome */
    uint64_t questions; /* without an answer (ask.c) */
    struct subscriber *subscribers;
};

/* ---- the world (world.c) ---- */

/* What may go wrong in this run; each with a chance per storm action, in permille. */
struct faults {
    unsigned crash, drain, reset, stall, hang, vanish, close;
    unsigned disk_full, disk_slow, disk_commit, disk_flush, disk_read, clock_jump;
};

#define SIM_FAULTS (sizeof(struct faults) / sizeof(unsigned))

struct plan {
    struct faults faults;
    struct net_quality quality;
    unsigned actions;         /* of the storm */
    unsigned ambush_permille; /* an action is one: see world.c */
    unsigned squall_permille; /* a trouble that brings more of its kind, close together */
    int64_t action_us_max;
    unsigned topics, producers, listeners;
    unsigned memory_permille, key_permille, partition_permille;
    unsigned transform_permille;            /* of those who listen */
    unsigned step_permille, named_permille; /* of emits: atomic ones; of clients: named producers */
    unsigned burst_max;
    uint32_t value_max;
    unsigned handler_fails_permille;
    unsigned trim_permille;     /* an action is one */
    unsigned passing_permille;  /* an action is about events that nobody keeps, too */
    unsigned sharing_permille;  /* or about shared groups */
    unsigned fleeting_permille; /* or about topics that come and go */
    bool fleeting_quotas;       /* with quotas of their own, some of them */
    unsigned later_permille;    /* or about events that come later */
    unsigned watching_permille; /* or about who listens */
    bool mortal;                /* events that come later go to topics that are deleted, too */
};

struct sim {
    struct trace trace;
    struct history history;
    struct report report;
    struct tap_world taps;
    struct random random;
    struct plan plan;
    int64_t now_us, wall_offset_us;
    int64_t wall_leapt_us; /* all its leaps forward: what a confirmed clock may make up for at once */
    int64_t progress_us;   /* when something happened last that somebody waits for */
    struct link *links;
    uint64_t link_count;
    struct disk disk;
    struct node node;
    struct client *clients;
    uint32_t client_count;
    uint32_t client_last;
    struct failure failure;
    uint64_t link_calls;     /* reads and writes of links so far */
    unsigned squall;         /* actions left of it */
    struct passing *passing; /* NULL: nothing has been emitted to an inbox */
    struct ledger ledger;
    struct sharing *sharing;   /* NULL: there is no member of a shared group */
    struct fleeting *fleeting; /* NULL: no topic has come and gone */
    struct later *later;       /* NULL: no event had a time */
    struct watching *watching; /* NULL: nobody has asked who listens */
    bool healing;
    bool reading;            /* the truth is read: nobody emits any more */
    int64_t restart_at_us;   /* the broker gets power again; INT64_MAX: it has it */
    int64_t operator_at_us;  /* somebody will notice that it is read-only; INT64_MAX: it is not */
    int64_t disk_room_at_us; /* the disk gets room again */
};

static inline uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return random_below(&sim->random, bound);
}

static inline bool sim_chance(struct sim *sim, unsigned permille)
{
    return random_below(&sim->random, 1000) < permille;
}

static inline int64_t sim_wall_us(const struct sim *sim)
{
    return INT64_C(1700000000000000) + sim->now_us + sim->wall_offset_us;
}

/* The disk and the links go on for ever (flushes, pings); these are what somebody waits for. */
static inline bool sim_is_progress(enum trace_event event)
{
    return event == TRACE_DELIVERED || event == TRACE_LISTENING || event == TRACE_READY ||
           event == TRACE_LOST || event == TRACE_CONNECT || event == TRACE_RELEASED || event == TRACE_OUTCOME;
}

static inline void sim_trace(struct sim *sim, enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
    sim->trace.now_us = sim->now_us;
    if (sim_is_progress(event))
        sim->progress_us = sim->now_us;
    trace_add(&sim->trace, event, a, b, c);
}

/* What a run may have, less than its seed says, so that what fails can be made small. All zero: as the seed says. */
struct sim_limits {
    uint32_t faults_off;  /* bit i: fault i of struct faults never strikes */
    unsigned actions_max; /* of the storm; 0: any number */
    unsigned clients_max; /* that begin */
    unsigned burst_max;
    bool calm; /* no ambush, no squall */
};

/* A run. */
struct sim_options {
    uint64_t seed;
    bool print;                   /* the trace, to standard output */
    bool plant_ack_before_commit; /* a known bug, to be found */
    struct sim_limits limits;     /* less of everything than the seed says: see shrink.c */
    struct failure failure;       /* one call that fails; allocations are the caller's to arm */
};
struct sim_result {
    struct trace trace;   /* hash and counts */
    struct report report; /* what was found */
    struct tap_world taps;
    uint64_t link_calls;
};
void sim_run(const struct sim_options *options, struct sim_result *ret_result);

/* ---- plan.c ---- */
/* One of these numbers. */
uint64_t plan_pick(struct sim *sim, const uint64_t *from, size_t count);
#define PICK(sim, ...)                                                                                       \
    plan_pick(sim, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)
void plan_draw(struct sim *sim, uint64_t seed);
void plan_limit(struct plan *plan, const struct sim_limits *limits);
void plan_broker_change(struct sim *sim); /* for the next life */
struct crier_options plan_client_options(struct sim *sim);

/* ---- step.c ---- */
void client_step(
    struct client *client); /* an atomic emit, unless it has lost its source, or does not know it yet */
uint32_t step_source_draw(struct sim *sim, char *name, size_t size); /* HISTORY_NONE: no name */

/* ---- transform.c ---- */
bool transform_listen(struct sim *sim, struct client *client);                /* false: it cannot be one */
int transform_event(struct subscriber *subscriber, const crier_event *event); /* its handler */

/* ---- passing.c ---- */
void passing_act(struct sim *sim, struct client *client);
void passing_probe(struct sim *sim);   /* all is well again: is it heard? */
void passing_verdict(struct sim *sim); /* when nothing can be heard any more */
void passing_finish(struct sim *sim);  /* the clients are gone */

/* ---- sharing.c ---- */
void sharing_act(struct sim *sim, struct client *client);
void sharing_settle(struct sim *sim); /* all is well again: is everything done in time? */
int64_t sharing_due_us(const struct sim *sim);
void sharing_turn(struct sim *sim);
void sharing_finish(struct sim *sim); /* they are gone */

/* ---- fleeting.c ---- */
void fleeting_act(struct sim *sim, struct client *client);
void fleeting_lost(struct client *client); /* its connection */
void fleeting_mark(struct sim *sim);       /* everything has settled: who is there has to have heard all */
void fleeting_verdict(struct sim *sim);
void fleeting_finish(struct sim *sim); /* the clients are gone */

/* ---- watching.c ---- */
void watching_act(struct sim *sim, struct client *client);
void watching_probe(struct sim *sim);  /* all is well again: does it know how many listen? */
void watching_finish(struct sim *sim); /* the clients are gone */

/* ---- later.c ---- */
void later_act(struct sim *sim, struct client *client);
void later_probe(struct sim *sim);   /* all is well again: does what is due come? */
void later_verdict(struct sim *sim); /* later_check.c */
void later_finish(struct sim *sim);  /* the clients are gone */

/* ---- world.c ---- */
/* Before a link is read or written: is this the call that fails? Then the link is reset. */
void world_link_call(struct sim *sim, struct link *link);
struct client *world_client_add(struct sim *sim);
void world_client_drop(struct sim *sim, struct client *client);
/* One of those that are alive and not closing; NULL: none. */
struct client *world_client_any(struct sim *sim);

/* ---- storm.c ---- */
void storm(struct sim *sim);
void storm_power_off(struct sim *sim, int64_t wait_us_max); /* comes back by itself, after so long at most */

/* ---- scheduler.c ---- */
void scheduler_run_until(struct sim *sim, int64_t until_us);
/* Runs until it is true no more, at most so long. Returns whether it came to that. */
bool scheduler_run_while(struct sim *sim, bool (*not_yet)(struct sim *sim), int64_t us_max);

/* ---- node.c ---- */
void node_start(struct sim *sim);
void node_crash(struct sim *sim);
void node_drain(struct sim *sim, uint32_t ms);
bool node_accepts(const struct sim *sim);
void node_accept(struct sim *sim, struct link *link);
int64_t node_due_us(const struct sim *sim);
void node_turn(struct sim *sim);

/* ---- client.c ---- */
struct client *client_open(struct sim *sim, const struct crier_options *options, bool hears_errors);
int64_t client_due_us(const struct client *client);
void client_turn(struct client *client);
void client_emit(struct client *client, uint32_t topic);
void client_trim(struct client *client, uint32_t topic, uint64_t offset);
void client_create_topic(struct client *client, uint32_t topic, uint32_t partitions);
void client_listen(struct client *client, const struct history_listener *how, size_t credit,
                   unsigned fails_permille, unsigned emits_permille);
/* The same for one who makes events from those it hears. transform: taken. */
void client_transform(struct client *client, const struct history_listener *how, size_t credit,
                      unsigned fails_permille, struct transform *transform);
/* To a pattern that every topic matches, also those that are not there yet. */
void client_listen_all(struct client *client, const struct history_listener *how, size_t credit,
                       unsigned fails_permille);
void client_unlisten(struct subscriber *subscriber);
void client_ask(struct client *client);    /* ask.c: one question, drawn */
void client_close(struct client *client);  /* begins; the turns finish it, and the client is gone */
void client_vanish(struct client *client); /* its process is killed */
bool client_settled(const struct client *client);
void client_free(struct client *client); /* out of the world's list already */

#endif
