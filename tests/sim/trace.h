/* trace.h: what happened in a run, event by event: hashed always, counted always, printed when asked.
 *
 * Two runs of one seed are the same run if and only if their hashes are equal. The counts say which faults really
 * struck: a simulator whose faults never strike finds nothing. Thread: one. */
#ifndef CRIER_SIM_TRACE_H
#define CRIER_SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* X(name, minimum, text): the text takes up to three numbers. minimum: how often it must have happened in 10,000 seeds
 * for the simulator to be believed. */
#define TRACE_MAP(X)                                                                                         \
    X(BROKER_START, 10000, "broker: starts on its disk, life %llu, recovers with code %lld")                 \
    X(BROKER_READY, 10000, "broker: ready")                                                                  \
    X(BROKER_CRASH, 10000, "broker: power gone, with %llu entries in flight")                                \
    X(BROKER_DRAIN, 5000, "broker: is told to stop within %llu ms")                                          \
    X(BROKER_STOP, 5000, "broker: stopped; all was drained: %llu")                                           \
    X(BROKER_READ_ONLY, 500, "broker: read-only after an I/O error")                                         \
    X(CONNECT, 10000, "client %llu: connects (link %llu)")                                                   \
    X(CONNECT_REFUSED, 1000, "client %llu: nobody listens there")                                            \
    X(CONNECT_HANGS, 1000, "client %llu: connecting, and no answer comes")                                   \
    X(ACCEPT, 10000, "broker: takes the connection of client %llu (link %llu)")                              \
    X(READY, 10000, "client %llu: WELCOME")                                                                  \
    X(LOST, 10000, "client %llu: without a connection, code -%llu")                                          \
    X(DISCONNECT, 1000, "client %llu: drops its connection")                                                 \
    X(BROKER_CLOSES, 50, "broker: asks for the end of client %llu's connection")                             \
    X(LINK_RESET, 5000, "link %llu: reset, %llu bytes up and %llu down are lost")                            \
    X(LINK_FIN, 1000, "link %llu: the client's end is closed, %llu bytes still on their way")                \
    X(LINK_STALL, 2000, "link %llu: nothing passes for %llu us (direction %llu)")                            \
    X(LINK_RESUME, 500, "link %llu: passes again")                                                           \
    X(TORN_FRAME, 1000, "link %llu: ended inside a frame, %llu bytes of it had come")                        \
    X(CLIENT_OPEN, 10000, "client %llu: opens")                                                              \
    X(CLIENT_VANISH, 1000, "client %llu: its process is gone")                                               \
    X(CLIENT_CLOSE, 2000, "client %llu: closes in order")                                                    \
    X(EMIT, 100000, "client %llu: emits number %llu to topic %llu")                                          \
    X(EMIT_MEMORY, 5000, "client %llu: ... as a memory emit")                                                \
    X(EMIT_AGAIN, 500, "client %llu: EAGAIN, no room for number %llu")                                       \
    X(EMIT_REFUSED, 100, "client %llu: number %llu cannot be emitted, code -%llu")                           \
    X(OUTCOME, 100000, "client %llu: number %llu is stored at %lld")                                         \
    X(OUTCOME_FAILED, 100, "client %llu: number %llu failed, code -%llu")                                    \
    X(OUTCOME_UNKNOWN, 10, "client %llu: the outcome of number %llu is unknown")                             \
    X(STEP, 10000, "client %llu: an atomic emit of %llu events, position %llu")                              \
    X(STEP_OUTCOME, 10000, "client %llu: its atomic emit at position %llu ends with code -%llu")             \
    X(STEP_OFFSET, 100, "client %llu: ... the offset was not as expected")                                   \
    X(MADE, 10000, "client %llu: %llu events made from others, up to offset %llu")                           \
    X(MADE_OUTCOME, 10000, "client %llu: %llu events made from others end with code -%llu")                  \
    X(MADE_REVOKED, 1000, "client %llu: ... what they were made from is not its own any more")               \
    X(STEP_FENCED, 1000, "client %llu: has lost the name of source %llu")                                    \
    X(DRAINED_OUT, 200, "client %llu: drain, there is room again")                                           \
    X(LISTEN, 10000, "client %llu: listener %llu listens to topic %llu")                                     \
    X(LISTENING, 10000, "client %llu: listener %llu is in place, life %llu")                                 \
    X(UNLISTEN, 1000, "client %llu: listener %llu is given up")                                              \
    X(GIVEN, 5000, "listener %llu: partition %llu is given")                                                 \
    X(TAKEN, 5000, "listener %llu: partition %llu is taken")                                                 \
    X(RELEASED, 5000, "client %llu: listener %llu is released, code -%llu")                                  \
    X(DELIVERED, 100000, "listener %llu: partition %llu offset %llu")                                        \
    X(HANDLER_FAILS, 1000, "listener %llu: its handler fails at offset %llu")                                \
    X(HANDLER_EMITS, 1000, "listener %llu: its handler emits")                                               \
    X(ASK, 5000, "client %llu: asks question %llu about topic %llu")                                         \
    X(ANSWERED, 5000, "client %llu: question %llu is answered with code -%llu")                              \
    X(SOUGHT, 100, "disk: a group's %llu positions are moved by hand")                                       \
    X(FORGOTTEN, 50, "disk: group %llu is deleted")                                                          \
    X(TOPIC_CREATE, 5000, "client %llu: creates topic %llu with %llu partitions")                            \
    X(DISK_FULL, 1000, "disk: full")                                                                         \
    X(DISK_ROOM, 1000, "disk: has room")                                                                     \
    X(DISK_SLOW, 1000, "disk: the next %llu commits take %llu us longer")                                    \
    X(DISK_BREAKS, 1000, "disk: commit %llu from now on will fail")                                          \
    X(DISK_BREAKS_FLUSH, 500, "disk: state flush %llu from now on will fail")                                \
    X(DISK_BREAKS_READ, 200, "disk: read %llu from now on finds damage")                                     \
    X(STORED, 100000, "disk: entry %llu is durable, %llu parts")                                             \
    X(REFUSED_FULL, 1000, "disk: an entry is refused, no space")                                             \
    X(REFUSED_EPOCH, 200, "disk: an entry is refused with its epoch")                                        \
    X(REFUSED_READ_ONLY, 10, "disk: an entry is refused, read-only")                                         \
    X(STORED_UNKNOWN, 300, "disk: an I/O error, whether an entry was stored is unknown")                     \
    X(FLUSHED, 10000, "disk: the state at %llu is flushed, %llu rows")                                       \
    X(FLUSH_FAILED, 200, "disk: a state flush failed, code -%llu")                                           \
    X(READ, 10000, "disk: a read of partition %llu from %llu on")                                            \
    X(READ_FAILED, 50, "disk: a read of partition %llu found damage")                                        \
    X(LOOKUP, 500, "disk: a look-up by time in partition %llu")                                              \
    X(REPLAYED, 10000, "disk: entry %llu is replayed")                                                       \
    X(TRIM, 100, "client %llu: trims topic %llu below %llu")                                                 \
    X(TRIMMED, 100, "disk: partition %llu begins at %llu")                                                   \
    X(FLEETING_EMIT, 5000, "client %llu: emits to topic d%llu, event %llu")                                  \
    X(FLEETING_LISTEN, 1000, "client %llu: a listener to d%llu, from the start: %llu")                       \
    X(FLEETING_CHANGE, 1000, "client %llu: asks for change %llu of topic d%llu")                             \
    X(FLEETING_ANSWER, 1000, "client %llu: change %llu of a topic is answered with code -%llu")              \
    X(FLEETING_ENDED, 100, "client %llu: its listener to d%llu is told that the topic is gone")              \
    X(FLEETING_KEPT, 100, "log: topic d%llu lost what is below %llu to its settings")                        \
    X(LATER_EMIT, 5000, "client %llu: emits to l%llu, event %llu, to come later")                            \
    X(LATER_NOW, 5000, "client %llu: emits to l%llu, event %llu")                                            \
    X(LATER_CANCEL, 1000, "client %llu: cancels event %llu")                                                 \
    X(LATER_ANSWER, 1000, "client %llu: the cancel of event %llu is answered with code -%llu")               \
    X(LATER_CANCELED, 200, "client %llu: event %llu is canceled")                                            \
    X(LATER_LIST, 500, "client %llu: lists %llu schedules at most")                                          \
    X(LATER_LISTED, 500, "client %llu: %llu schedules are listed, code -%llu")                               \
    X(LATER_FIRED, 2000, "log: event %llu comes, in entry %llu")                                             \
    X(SHARED_EMIT, 5000, "client %llu: emits to topic q%llu, event %llu")                                    \
    X(SHARED_MEMBER, 2000, "member %llu: begins, of group h%llu, topic q%llu")                               \
    X(SHARED_LISTENING, 2000, "member %llu: is in place, of group h%llu, topic q%llu")                       \
    X(SHARED_VANISH, 200, "member %llu: its process is gone")                                                \
    X(SHARED_HELD, 100, "member %llu: comes back with %llu events")                                          \
    X(SHARED_LEASED, 20000, "broker: partition %llu offset %llu is leased, attempt %llu")                    \
    X(SHARED_STALE, 1, "broker: partition %llu offset %llu, attempt %llu ran out on its way")                \
    X(SHARED_ASK, 10000, "member %llu: sends kind %llu, about offset %llu")                                  \
    X(SHARED_ANSWER, 10000, "broker: kind %llu of link %llu is settled with code -%llu")                     \
    X(SHARED_DELIVER, 10000, "broker: to link %llu, of group h%llu, in %llu ranges")                         \
    X(SHARED_SETTLED, 10000, "broker: ... kind %llu counts for partition %llu offset %llu")                  \
    X(SHARED_REFUSED, 200, "broker: ... kind %llu does not count for partition %llu offset %llu")            \
    X(SHARED_FAILED, 2000, "disk: partition %llu offset %llu has failed %llu times")                         \
    X(SHARED_DEAD, 1000, "disk: group h%llu: partition %llu offset %llu is a dead letter")                   \
    X(SHARED_REDRIVEN, 200, "disk: the dead letter at %llu is back in partition %llu, event %llu")           \
    X(CLOCK_JUMP, 1000, "clock: the wall clock jumps by %lld ms")                                            \
    X(PAUSED, 0, "broker: does not want to read link %llu")                                                  \
    X(HEAL, 10000, "world: all faults heal")                                                                 \
    X(QUIET, 10000, "world: everything has settled")                                                         \
    X(READER, 10000, "world: reader %llu begins at the beginning of everything")

enum trace_event {
#define TRACE_ENUM(name, minimum, text) TRACE_##name,
    TRACE_MAP(TRACE_ENUM)
#undef TRACE_ENUM
        TRACE_EVENTS
};

struct trace {
    bool print;
    int64_t now_us;
    uint64_t hash;
    uint64_t events;
    uint64_t count[TRACE_EVENTS];
};

void trace_add(struct trace *trace, enum trace_event event, uint64_t a, uint64_t b, uint64_t c);
const char *trace_name(enum trace_event event);
uint64_t trace_minimum(enum trace_event event); /* in 10,000 seeds */

#endif
