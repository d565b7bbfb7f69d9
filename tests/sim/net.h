/* net.h: a network of byte pipes, with everything TCP lets happen.
 *
 * A link has two directions. Bytes written take their time, arrive in order, and are read in pieces of any size; each
 * direction holds at most `capacity` bytes (a slow or sleeping reader stops the writer); a link may stall (half-open:
 * nothing passes, nobody is told), end in order (what is on its way still arrives) or be reset (it does not).
 * Virtual time; everything random is drawn from the caller's seed. Thread: one. */
#ifndef CRIER_SIM_NET_H
#define CRIER_SIM_NET_H

#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum direction { NET_UP, NET_DOWN }; /* client to broker, broker to client */

/* How a link behaves; drawn once for each. */
struct net_quality {
    size_t capacity;         /* bytes on their way and unread, per direction */
    int64_t delay_us_max;    /* of one write */
    int64_t us_per_kilobyte; /* bandwidth */
    size_t piece_max;        /* bytes of one read; 1: byte by byte */
};

struct pipe_segment {
    uint64_t end;  /* position in the stream */
    int64_t at_us; /* when it has arrived */
};

struct pipe {
    uint8_t *bytes; /* a ring of quality.capacity */
    uint64_t written, read;
    struct pipe_segment *segments; /* not yet arrived or unread, a ring */
    size_t segment_first, segment_count, segment_capacity;
    int64_t last_at_us;
    int64_t stalled_until_us; /* INT64_MIN: not stalled */
    bool ended;               /* the writer closed: after the last byte comes the end */
    int64_t ended_at_us;
    bool reset; /* the end came instead of the bytes */
};

struct link {
    struct link *next;
    uint64_t number;
    uint64_t client;
    struct net_quality quality;
    struct pipe pipe[2];
    bool client_gone, broker_gone; /* that side has let go of it */
    bool accepted;                 /* the broker has it */
};

struct link *link_create(uint64_t number, uint64_t client, const struct net_quality *quality);
void link_destroy(struct link *link);

/* Returns how many bytes were taken (0: full). */
size_t link_write(struct link *link, enum direction direction, const uint8_t *bytes, size_t size,
                  int64_t now_us, struct random *random);
size_t link_room(const struct link *link, enum direction direction);
/* What has arrived, at most `size` bytes and one piece. > 0; 0: nothing now; -1: the end. */
int64_t link_read(struct link *link, enum direction direction, uint8_t *to, size_t size, int64_t now_us,
                  struct random *random);
/* When link_read has something (bytes or the end); INT64_MAX: not foreseeable. */
int64_t link_readable_at(const struct link *link, enum direction direction);
/* Bytes on their way or unread. */
size_t link_pending(const struct link *link, enum direction direction);

/* The writer of this direction will write no more. */
void link_end(struct link *link, enum direction direction, int64_t now_us, struct random *random);
/* Both directions: what is on its way is lost, both sides read the end. */
void link_reset(struct link *link);
void link_stall(struct link *link, enum direction direction, int64_t until_us);
bool link_is_stalled(const struct link *link, int64_t now_us);
void link_resume(struct link *link, int64_t now_us);

#endif
