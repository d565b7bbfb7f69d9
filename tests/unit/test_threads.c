/* test_threads.c: the meeting places of threads under load, for ThreadSanitizer too (so without Criterion).
 *
 * Three requesters push into one queue, one worker takes lists and posts completions, one owner takes those back:
 * the broker's shape. Every request carries a buffer of a shared pool. What must hold: nothing lost, nothing twice,
 * every requester's order kept, every byte as it was written. */
#include "base/buffer.h"
#include "base/check.h"
#include "base/log.h"
#include "base/queue.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUESTERS 3
#define REQUESTS   20000 /* of each */
#define QUEUE_MAX  64    /* small, so that it is full now and then */
#define WEIGHT_MAX 10

struct request {
    struct queue_node node; /* first: a node is a request */
    unsigned requester, number;
    struct buffer *buffer;
};

struct meeting {
    struct queue *queue;
    struct completions *completions;
    struct buffer_pool *pool;
    struct request *requests; /* REQUESTERS * REQUESTS */
    unsigned refused;         /* guarded by lock */
    pthread_mutex_t lock;
};

struct requester {
    struct meeting *meeting;
    unsigned id;
    pthread_t thread;
};

static void *requester_run(void *argument)
{
    struct requester *self = argument;
    struct meeting *meeting = self->meeting;
    unsigned refused = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *request = &meeting->requests[self->id * REQUESTS + i];
        *request = (struct request){.requester = self->id, .number = i};
        request->node.weight = 1 + i % 4;
        request->buffer = buffer_pool_get(meeting->pool);
        CHECK(request->buffer);
        memset(request->buffer->data, (int)(i & 0xff), request->buffer->capacity);
        buffer_ref(request->buffer); /* one for the worker, one for the owner */
        int rc;
        while ((rc = queue_push(meeting->queue, &request->node)) == -EAGAIN) {
            refused++;
            sched_yield();
        }
        CHECK(rc == 0);
    }
    pthread_mutex_lock(&meeting->lock);
    meeting->refused += refused;
    pthread_mutex_unlock(&meeting->lock);
    return NULL;
}

static void *worker_run(void *argument)
{
    struct meeting *meeting = argument;
    bool closed = false;
    while (!closed) {
        struct queue_node *list = queue_take(meeting->queue, WEIGHT_MAX, -1, &closed);
        size_t weight = 0;
        for (struct queue_node *next; list; list = next) {
            next = list->next;
            weight += list->weight;
            struct request *request = (struct request *)(void *)list;
            CHECK(request->buffer->data[7] == (request->number & 0xff));
            buffer_unref(request->buffer);
            completions_post(meeting->completions, list);
        }
        CHECK(weight <= WEIGHT_MAX);
    }
    return NULL;
}

/* The owner: waits on the descriptor only, so a lost wake-up would hang here. */
static void collect_all(struct meeting *meeting)
{
    unsigned next_number[REQUESTERS] = {0}, left = REQUESTERS * REQUESTS;
    while (left > 0) {
        struct pollfd poll_fd = {.fd = completions_fd(meeting->completions), .events = POLLIN};
        CHECK(poll(&poll_fd, 1, 30000) == 1);
        struct queue_node *list = completions_take(meeting->completions);
        for (struct queue_node *next; list; list = next, left--) {
            next = list->next;
            struct request *request = (struct request *)(void *)list;
            CHECK(request->number == next_number[request->requester]++);
            CHECK(request->buffer->data[0] == (request->number & 0xff));
            buffer_unref(request->buffer);
        }
    }
}

static void requests_meet_their_completions(void)
{
    struct meeting meeting = {.queue = queue_create(QUEUE_MAX),
                              .completions = completions_create(),
                              .pool = buffer_pool_create(128, 16),
                              .requests = calloc(REQUESTERS * REQUESTS, sizeof(struct request))};
    CHECK(meeting.queue && meeting.completions && meeting.pool && meeting.requests);
    pthread_mutex_init(&meeting.lock, NULL);
    pthread_t worker;
    struct requester requesters[REQUESTERS];
    CHECK(pthread_create(&worker, NULL, worker_run, &meeting) == 0);
    for (unsigned i = 0; i < REQUESTERS; i++) {
        requesters[i] = (struct requester){.meeting = &meeting, .id = i};
        CHECK(pthread_create(&requesters[i].thread, NULL, requester_run, &requesters[i]) == 0);
    }
    collect_all(&meeting);
    for (unsigned i = 0; i < REQUESTERS; i++)
        pthread_join(requesters[i].thread, NULL);
    queue_close(meeting.queue);
    pthread_join(worker, NULL);
    CHECK(completions_take(meeting.completions) == NULL);
    printf("%u requests, %u pushes refused by the full queue\n", REQUESTERS * REQUESTS, meeting.refused);

    pthread_mutex_destroy(&meeting.lock);
    free(meeting.requests);
    buffer_pool_destroy(meeting.pool);
    completions_destroy(meeting.completions);
    queue_destroy(meeting.queue);
}

/* ---- one request at a time: every push and every post must wake somebody ---- */

#define ROUNDS 3000

static void one_request_at_a_time_wakes_both_sides(void)
{
    struct meeting meeting = {
        .queue = queue_create(1), .completions = completions_create(), .pool = buffer_pool_create(128, 1)};
    CHECK(meeting.queue && meeting.completions && meeting.pool);
    pthread_t worker;
    CHECK(pthread_create(&worker, NULL, worker_run, &meeting) == 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct request request = {
            .node = {.weight = 1}, .number = i, .buffer = buffer_pool_get(meeting.pool)};
        CHECK(request.buffer);
        memset(request.buffer->data, (int)(i & 0xff), request.buffer->capacity);
        CHECK(queue_push(meeting.queue, &request.node) == 0);
        struct pollfd poll_fd = {.fd = completions_fd(meeting.completions), .events = POLLIN};
        struct queue_node *done = NULL;
        while (!done) { /* a wake-up for nothing is allowed, none at all is not */
            CHECK(poll(&poll_fd, 1, 30000) == 1);
            done = completions_take(meeting.completions);
        }
        CHECK(done == &request.node && !done->next);
    }
    queue_close(meeting.queue);
    pthread_join(worker, NULL);
    buffer_pool_destroy(meeting.pool);
    completions_destroy(meeting.completions);
    queue_destroy(meeting.queue);
}

/* ---- a close wakes a waiting consumer ---- */

static void *wait_for_close(void *argument)
{
    bool closed = false;
    CHECK(queue_take(argument, SIZE_MAX, -1, &closed) == NULL);
    CHECK(closed);
    return NULL;
}

static void a_close_wakes_the_consumer(void)
{
    struct queue *queue = queue_create(1);
    pthread_t consumer;
    CHECK(pthread_create(&consumer, NULL, wait_for_close, queue) == 0);
    queue_close(queue);
    pthread_join(consumer, NULL);
    queue_destroy(queue);
}

/* ---- log lines of threads stay whole, also over a reopen ---- */

#define LOG_LINES 500

static void *log_lines(void *argument)
{
    for (int i = 0; i < LOG_LINES; i++)
        LOG_INFO(argument, "LINE", "%s", "0123456789012345678901234567890123456789<end>");
    return NULL;
}

static void log_lines_never_mix(void)
{
    char path[] = "/tmp/crier-test-threads-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    struct log *log;
    CHECK(log_open(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, &log) == 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, log_lines, log) == 0);
    for (int i = 0; i < 50; i++)
        CHECK(log_reopen(log) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    log_close(log);

    FILE *file = fdopen(fd, "r");
    char line[LOG_LINE_MAX];
    unsigned lines = 0;
    for (; fgets(line, sizeof(line), file); lines++)
        CHECK(strlen(line) ==
                  strlen(
                      "2026-01-31T12:00:00.123Z INFO LINE 0123456789012345678901234567890123456789<end>\n") &&
              strstr(line, "9<end>\n"));
    CHECK(lines == 3 * LOG_LINES);
    fclose(file);
    unlink(path);
}

int main(void)
{
    requests_meet_their_completions();
    one_request_at_a_time_wakes_both_sides();
    a_close_wakes_the_consumer();
    log_lines_never_mix();
    return 0;
}
