/* net.c: see net.h. */
#include "tests/sim/net.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define NOT_STALLED INT64_MIN

static void pipe_init(struct pipe *pipe, size_t capacity)
{
    *pipe = (struct pipe){.bytes = malloc(capacity), .stalled_until_us = NOT_STALLED};
    CHECK(pipe->bytes);
}

static void pipe_finish(struct pipe *pipe)
{
    free(pipe->bytes);
    free(pipe->segments);
}

struct link *link_create(uint64_t number, uint64_t client, const struct net_quality *quality)
{
    struct link *link = calloc(1, sizeof(*link));
    CHECK(link && quality->capacity > 0 && quality->piece_max > 0);
    link->number = number;
    link->client = client;
    link->quality = *quality;
    pipe_init(&link->pipe[NET_UP], quality->capacity);
    pipe_init(&link->pipe[NET_DOWN], quality->capacity);
    return link;
}

void link_destroy(struct link *link)
{
    pipe_finish(&link->pipe[NET_UP]);
    pipe_finish(&link->pipe[NET_DOWN]);
    free(link);
}

/* ---- segments: which bytes arrive when ---- */

static struct pipe_segment *segment_at(const struct pipe *pipe, size_t place)
{
    return &pipe->segments[(pipe->segment_first + place) % pipe->segment_capacity];
}

static void segments_grow(struct pipe *pipe)
{
    size_t capacity = pipe->segment_capacity ? 2 * pipe->segment_capacity : 16;
    struct pipe_segment *segments = malloc(capacity * sizeof(*segments));
    CHECK(segments);
    for (size_t i = 0; i < pipe->segment_count; i++)
        segments[i] = *segment_at(pipe, i);
    free(pipe->segments);
    pipe->segments = segments;
    pipe->segment_capacity = capacity;
    pipe->segment_first = 0;
}

static void segment_add(struct pipe *pipe, uint64_t end, int64_t at_us)
{
    if (pipe->segment_count == pipe->segment_capacity)
        segments_grow(pipe);
    pipe->segment_count++;
    *segment_at(pipe, pipe->segment_count - 1) = (struct pipe_segment){end, at_us};
}

/* The position up to which bytes have arrived. */
static uint64_t arrived(const struct pipe *pipe, int64_t now_us)
{
    uint64_t position = pipe->read;
    for (size_t i = 0; i < pipe->segment_count && segment_at(pipe, i)->at_us <= now_us; i++)
        position = segment_at(pipe, i)->end;
    return position;
}

static bool pipe_stalled(const struct pipe *pipe, int64_t now_us)
{
    return now_us < pipe->stalled_until_us;
}

/* ---- writing and reading ---- */

size_t link_pending(const struct link *link, enum direction direction)
{
    const struct pipe *pipe = &link->pipe[direction];
    return (size_t)(pipe->written - pipe->read);
}

size_t link_room(const struct link *link, enum direction direction)
{
    return link->quality.capacity - link_pending(link, direction);
}

static int64_t travel_us(const struct link *link, size_t size, struct random *random)
{
    int64_t transfer_us = (int64_t)size * link->quality.us_per_kilobyte / 1024;
    return transfer_us + (int64_t)random_below(random, (uint64_t)link->quality.delay_us_max + 1);
}

size_t link_write(struct link *link, enum direction direction, const uint8_t *bytes, size_t size,
                  int64_t now_us, struct random *random)
{
    struct pipe *pipe = &link->pipe[direction];
    CHECK(!pipe->ended);
    size_t room = link_room(link, direction), capacity = link->quality.capacity;
    if (size > room)
        size = room;
    if (pipe->reset) /* into the void: the writer has not noticed yet */
        return size;
    if (size == 0)
        return 0;
    size_t start = (size_t)(pipe->written % capacity);
    size_t first = size < capacity - start ? size : capacity - start;
    memcpy(pipe->bytes + start, bytes, first);
    memcpy(pipe->bytes, bytes + first, size - first);
    pipe->written += size;
    int64_t from_us = pipe->last_at_us > now_us ? pipe->last_at_us : now_us;
    pipe->last_at_us = from_us + travel_us(link, size, random);
    segment_add(pipe, pipe->written, pipe->last_at_us);
    return size;
}

int64_t link_read(struct link *link, enum direction direction, uint8_t *to, size_t size, int64_t now_us,
                  struct random *random)
{
    struct pipe *pipe = &link->pipe[direction];
    if (pipe_stalled(pipe, now_us))
        return 0;
    if (pipe->reset)
        return -1;
    size_t there = (size_t)(arrived(pipe, now_us) - pipe->read), capacity = link->quality.capacity;
    if (there == 0)
        return pipe->ended && pipe->read == pipe->written && now_us >= pipe->ended_at_us ? -1 : 0;
    if (size > there)
        size = there;
    size_t piece = 1 + (size_t)random_below(random, link->quality.piece_max);
    if (size > piece)
        size = piece;
    size_t start = (size_t)(pipe->read % capacity);
    size_t first = size < capacity - start ? size : capacity - start;
    memcpy(to, pipe->bytes + start, first);
    memcpy(to + first, pipe->bytes, size - first);
    pipe->read += size;
    while (pipe->segment_count && segment_at(pipe, 0)->end <= pipe->read) {
        pipe->segment_first = (pipe->segment_first + 1) % pipe->segment_capacity;
        pipe->segment_count--;
    }
    return (int64_t)size;
}

int64_t link_readable_at(const struct link *link, enum direction direction)
{
    const struct pipe *pipe = &link->pipe[direction];
    int64_t at_us = INT64_MAX;
    if (pipe->reset)
        at_us = 0;
    else if (pipe->segment_count)
        at_us = segment_at(pipe, 0)->at_us;
    else if (pipe->ended)
        at_us = pipe->ended_at_us;
    return at_us < pipe->stalled_until_us ? pipe->stalled_until_us : at_us;
}

/* ---- ends and stalls ---- */

void link_end(struct link *link, enum direction direction, int64_t now_us, struct random *random)
{
    struct pipe *pipe = &link->pipe[direction];
    int64_t from_us = pipe->last_at_us > now_us ? pipe->last_at_us : now_us;
    if (pipe->ended)
        return;
    pipe->ended = true;
    pipe->ended_at_us = from_us + travel_us(link, 0, random);
}

static void pipe_reset(struct pipe *pipe)
{
    pipe->reset =
        true; /* seen when a stall is over: a side that hears nothing does not hear of the end either */
    pipe->read = pipe->written;
    pipe->segment_count = 0;
}

void link_reset(struct link *link)
{
    pipe_reset(&link->pipe[NET_UP]);
    pipe_reset(&link->pipe[NET_DOWN]);
}

void link_stall(struct link *link, enum direction direction, int64_t until_us)
{
    link->pipe[direction].stalled_until_us = until_us;
}

bool link_is_stalled(const struct link *link, int64_t now_us)
{
    return pipe_stalled(&link->pipe[NET_UP], now_us) || pipe_stalled(&link->pipe[NET_DOWN], now_us);
}

void link_resume(struct link *link, int64_t now_us)
{
    for (enum direction direction = NET_UP; direction <= NET_DOWN; direction++)
        if (pipe_stalled(&link->pipe[direction], now_us))
            link->pipe[direction].stalled_until_us = NOT_STALLED;
}
