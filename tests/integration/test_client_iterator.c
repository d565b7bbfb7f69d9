/* test_client_iterator.c: events by asking: crier_once_future and iterators, against the real crierd. For ThreadSanitizer too, so
 * without Criterion. */
#include "base/check.h"
#include "crier/iterator.h"
#include "tests/support/broker_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 20000
#define EVENTS  5000

static struct broker *broker;
static crier *bus, *other;
static uint64_t position;

/* No ping wakes a loop that has forgotten to send something: it would hang. */
static void world_open(void)
{
    static const char *const arguments[] = {"--ping-interval", "10m", "--idle-timeout", "30m", NULL};
    static const struct broker_options options = {.arguments = arguments};

    CHECK((broker = broker_start(&options)));
    CHECK(crier_open(broker_url(broker), NULL, &bus) == 0);
    CHECK(crier_open(broker_url(broker), NULL, &other) == 0);
}

static void world_close(void)
{
    CHECK(crier_close(bus) == 0);
    CHECK(crier_close(other) == 0);
    CHECK(broker_destroy(broker) == 0);
}

static void emit(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        CHECK(crier_emit(other, "t", &i, sizeof(i)) == 0);
    CHECK(crier_flush(other, -1) == 0);
}

static struct crier_listen_options from_start(const char *group)
{
    struct crier_listen_options options = crier_listen_options_default();

    options.from = CRIER_EARLIEST;
    options.group = group;
    return options;
}

static void position_tell(void *ctx, const struct crier_group_info *info)
{
    (void)ctx;
    position =
        info->partition_count > 0 && info->partitions[0].has_position ? info->partitions[0].position : 0;
}

static void wait_for_position(uint64_t wanted)
{
    do
        CHECK(crier_group_describe(other, "g", "t", position_tell, NULL) == 0);
    while (position < wanted);
    CHECK(position == wanted);
}

/* Asks for one and waits. Returns its number; the event is borrowed from *ret_future. */
static unsigned next(crier_iterator *iterator, crier_future **ret_future)
{
    crier_result result;
    unsigned number;

    CHECK(crier_iterator_next(iterator, ret_future) == 0);
    CHECK(crier_future_wait(*ret_future, WAIT_MS, &result) == 0);
    CHECK(result.pointer);
    memcpy(&number, ((const crier_event *)result.pointer)->value, sizeof(number));
    CHECK(result.number == number);
    return number;
}

/* The number that emit() made the value of; it may lie anywhere. */
static unsigned number_of(const crier_event *event)
{
    unsigned number;
    CHECK(event->value_size == sizeof(number));
    memcpy(&number, event->value, sizeof(number));
    return number;
}

static void once_is_the_next_event(void)
{
    struct crier_listen_options options = from_start(NULL);
    crier_future *once, *canceled;
    crier_result result;

    world_open();
    emit(7, 2);
    CHECK(crier_once_future(bus, "t", &options, &once) == 0);
    CHECK(crier_future_wait(once, WAIT_MS, &result) == 0);
    CHECK(number_of(result.pointer) == 7);
    crier_future_release(once);
    CHECK(crier_once_future(bus, "t", NULL, &canceled) == 0);
    CHECK(crier_future_cancel(canceled) == 0);
    CHECK(crier_future_wait(canceled, -1, NULL) == CRIER_ECANCELED);
    crier_future_release(canceled);
    CHECK(crier_once_future(bus, "t", NULL, &once) == 0); /* nothing comes: closing rejects it */
    CHECK(crier_once_future(bus, "", NULL, &canceled) == CRIER_EINVAL);
    CHECK(crier_close(bus) == 0);
    CHECK(crier_future_wait(once, -1, NULL) == CRIER_ECLOSED);
    crier_future_release(once);
    CHECK(crier_open(broker_url(broker), NULL, &bus) == 0);
    world_close();
}

/* All of them, in order, through a queue of four: paused and resumed a thousand times. */
static void an_iterator_gives_all_in_order(void)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_listen_options listen = from_start(NULL);
    crier_iterator *iterator;
    crier_future *future;

    world_open();
    listen.credit = 4096;
    options.listen = &listen;
    options.high = 4;
    options.low = 1;
    CHECK(crier_iterate(bus, "t", &options, &iterator) == 0);
    emit(0, EVENTS);
    for (unsigned i = 0; i < EVENTS; i++) {
        CHECK(next(iterator, &future) == i);
        crier_future_release(future);
    }
    crier_iterator_close(iterator);
    world_close();
}

/* Several asked for before there is anything: they come in order, as they were asked for. */
static void several_may_be_asked_for(void)
{
    crier_iterator *iterator;
    crier_future *futures[3], *all, *more;
    crier_result result;

    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_listen_options listen = from_start(NULL);

    world_open();
    options.listen = &listen;
    CHECK(crier_iterate(bus, "t", &options, &iterator) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(crier_iterator_next(iterator, &futures[i]) == 0);
    CHECK(crier_future_all(bus, futures, 3, &all) == 0);
    emit(0, 3);
    CHECK(crier_future_wait(all, WAIT_MS, &result) == 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK(((const crier_result *)result.pointer)[i].number == i);
    CHECK(crier_iterator_next(iterator, &more) == 0);
    crier_iterator_close(iterator); /* what is still asked for is the end */
    CHECK(crier_future_wait(more, WAIT_MS, &result) == 0 && result.pointer == NULL);
    for (int i = 0; i < 3; i++)
        crier_future_release(futures[i]);
    crier_future_release(all);
    crier_future_release(more);
    world_close();
}

/* With a group: handled is what was followed by another question. */
static void the_position_follows_the_questions(void)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_listen_options listen = from_start("g");
    crier_iterator *iterator;
    crier_future *first, *second, *third;

    world_open();
    options.listen = &listen;
    emit(0, 10);
    CHECK(crier_iterate(bus, "t", &options, &iterator) == 0);
    CHECK(next(iterator, &first) == 0);
    CHECK(next(iterator, &second) == 1);
    CHECK(next(iterator, &third) == 2);
    wait_for_position(2);
    crier_iterator_close(iterator); /* with one in hand, which still can be looked at */
    CHECK(crier_iterate(bus, "t", &options, &iterator) == 0);
    crier_future_release(first);
    CHECK(next(iterator, &first) == 2); /* again */
    crier_iterator_close(iterator);
    crier_future_release(first);
    crier_future_release(second);
    crier_future_release(third);
    world_close();
}

/* One signal ends an iterator and what waits for it. */
static void a_signal_ends_it(void)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;
    crier_future *signal, *waiting, *later;

    world_open();
    CHECK(crier_future_create(bus, &signal) == 0);
    options.signal = signal;
    CHECK(crier_iterate(bus, "t", &options, &iterator) == 0);
    CHECK(crier_iterator_next(iterator, &waiting) == 0);
    CHECK(crier_future_settle(signal, &(crier_result){.code = 0}, NULL) == 0);
    CHECK(crier_future_wait(waiting, WAIT_MS, NULL) == CRIER_ECANCELED);
    CHECK(crier_iterator_next(iterator, &later) == 0);
    CHECK(crier_future_wait(later, WAIT_MS, NULL) == CRIER_ECANCELED);
    crier_iterator_close(iterator);
    crier_future_release(signal);
    crier_future_release(waiting);
    crier_future_release(later);
    world_close();
}

/* Closing the bus with events in the queue and in hand does not wait for anybody to ask. */
static void closing_the_bus_ends_it(void)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_listen_options listen = from_start("g");
    crier_iterator *iterator;
    crier_future *first, *late;
    crier_result result;

    world_open();
    options.listen = &listen;
    emit(0, 10);
    CHECK(crier_iterate(bus, "t", &options, &iterator) == 0);
    CHECK(next(iterator, &first) == 0);
    CHECK(crier_close(bus) == 0);
    CHECK(crier_iterator_next(iterator, &late) == CRIER_ECLOSED);
    CHECK(crier_future_result(first, &result) == 0 && number_of(result.pointer) == 0);
    crier_iterator_close(iterator);
    crier_future_release(first);
    CHECK(crier_open(broker_url(broker), NULL, &bus) == 0);
    world_close();
}

static void bad_arguments_are_refused(void)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;

    world_open();
    options.low = options.high;
    CHECK(crier_iterate(bus, "t", &options, &iterator) == CRIER_EINVAL);
    CHECK(crier_iterate(bus, "error", NULL, &iterator) ==
          CRIER_EINVAL); /* what is local to a bus does not wait */
    CHECK(crier_iterate(bus, CRIER_ERROR_MONITOR, NULL, &iterator) == CRIER_EINVAL);
    CHECK(crier_iterate(bus, "newListener", NULL, &iterator) == CRIER_EINVAL);
    CHECK(crier_iterate(bus, "removeListener", NULL, &iterator) == CRIER_EINVAL);
    CHECK(crier_iterate(bus, CRIER_WARNING, NULL, &iterator) == CRIER_EINVAL);
    CHECK(crier_iterate(bus, "a..b", NULL, &iterator) == CRIER_EINVAL);
    CHECK(crier_iterate(bus, NULL, NULL, &iterator) == CRIER_EINVAL);
    crier_iterator_close(NULL);
    world_close();
}

int main(void)
{
    once_is_the_next_event();
    an_iterator_gives_all_in_order();
    several_may_be_asked_for();
    the_position_follows_the_questions();
    a_signal_ends_it();
    closing_the_bus_ends_it();
    bad_arguments_are_refused();
    return 0;
}
