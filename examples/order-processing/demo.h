/* demo.h: the processes of a run, and what every file of the demo knows of it.
 *
 *   demo.c    the command line, the folders, the order of things, the report
 *   run.c     starts processes, hears what they say, notices those that fail
 *   chaos.c   kills them, and starts them again
 *   screen.c  how it looks
 *
 * Thread: one. */
#ifndef ORDER_PROCESSING_DEMO_H
#define ORDER_PROCESSING_DEMO_H

#include "chaos.h"
#include "child.h"
#include "screen.h"

#include <limits.h>

#define PATH_SIZE     4096
#define INSTANCES_MAX 3

enum role { BROKER, ORDER, INVENTORY, EMAIL, ANALYTICS, ROLES };

struct process {
    struct demo *demo;
    enum role role;
    int number; /* among the instances of its role, from 1 */
    struct child child;
    json_t *report;        /* a service's last line */
    bool up;               /* since it was started last: it serves, or listens */
    bool killed;           /* by us: not started again yet */
    int64_t back_ms;       /* killed: when it is to be started */
    int kills;             /* so far */
    struct counts earlier; /* what its earlier lives said they did */
};

struct demo {
    const char *bin, *data; /* where the programs are; the order file */
    char directory[PATH_SIZE - 256];
    bool keep, stay;
    char url[256], run[64];
    struct process processes[ROLES][INSTANCES_MAX];
    int instances[ROLES];
    struct child checker;
    json_t *recomputed;
    struct chaos chaos;
    struct screen screen;
    int signal_fd;
    bool interrupted;
    int64_t moved_ms; /* when a child last said something new */
    int64_t finished_ms;
};

/* ---- run.c ---- */
extern const char *const role_names[ROLES];
void log_path(const struct demo *demo, const char *name, char to[PATH_SIZE]);
/* Starts argv[0] from the folder of examples. False, and tells, if it cannot. */
bool start_checker(struct demo *demo);
bool start_process(struct demo *demo, enum role role, int instance);
/* Waits a little for news and takes it in. False: interrupted. */
bool turn(struct demo *demo);
/* A child that is gone before its time, or silence: tells, and returns true. */
bool has_failed(struct demo *demo);
bool all_up(const struct demo *demo, enum role first, enum role last);
bool is_done(const struct process *process); /* ended, and with everything handled */
bool all_done(const struct demo *demo);
/* SIGKILL, and what it had said last is taken in. */
void kill_process(struct process *process);
struct screen_row role_row(struct demo *demo, enum role role);
void stop_all(struct demo *demo);

/* ---- chaos.c ---- */
/* Kills whose time has come, and starts again who was away long enough. False: a start failed. */
bool chaos_turn(struct demo *demo);

#endif
