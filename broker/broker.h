/* broker.h: a whole broker: the store, the core and the reactor that runs them, without a process around it.
 *
 * Role:    what crierd (main.c) and libcrier-embed (embed/) start, each with its own process manners: here nothing is
 *          printed, no signal is looked at and nothing exits. What went wrong is told in words.
 * Thread:  one at a time: the thread that opens it, then the one that serves (the reactor's), then the one that closes.
 *          The functions marked so are for `control`, which runs on the reactor's thread.
 * Life:    broker_open (recovered, ready, its sockets listen) → broker_serve → broker_stop, from control → broker_close */
#ifndef CRIER_BROKER_BROKER_H
#define CRIER_BROKER_BROKER_H

#include "base/log.h"
#include "broker/config.h"

#include <stddef.h>

struct broker;

struct broker_options {
    const struct config *config; /* borrowed for the call: data, listen, limits */
    const char *software;        /* tells clients who they talk to; borrowed for its life */
    struct log *log;             /* borrowed for its life; NULL: silent */
    int control_fd; /* when it is readable, control() is called on the reactor's thread, also in broker_open(); borrowed */
    void (*control)(struct broker *broker, void *ctx);
    void *ctx;
    /* NULL, or told on the opening thread how much memory the state will need about, and 0 when it is loaded. */
    void (*expect_memory)(uint64_t bytes);
};

/* 0, or a code of storage/store.h with one sentence in error ("": asked to stop before it was ready). */
int broker_open(const struct broker_options *options, struct broker **ret_broker, char *error,
                size_t error_size);
/* Each address it listens on, as bound. */
void broker_addresses(const struct broker *broker, void (*each)(void *ctx, const char *address), void *ctx);
/* Until told to stop; then finishes what is in flight, closes what is open and stops the store. */
void broker_serve(struct broker *broker);
void broker_close(struct broker *broker); /* accepts NULL */

/* ---- on the reactor's thread, from control ---- */

/* Finishes what is in flight, for as long as config's drain says at most, and lets broker_serve() return. */
void broker_stop(struct broker *broker, const char *why);
/* A connection that nobody had to accept: a nonblocking stream socket, taken. */
void broker_adopt(struct broker *broker, int fd, const char *peer);
/* What can change while it runs is taken over from config. */
void broker_reconfigure(struct broker *broker, const struct config *config);

#endif
