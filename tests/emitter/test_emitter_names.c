/* local:NAME: the buses of a process that open one name share one emitter. Listed in docs/emitter-conformance.md. */
#include "trace.h"

#include "crier/pool.h"

#include <pthread.h>

static crier *other;

static void open_both(void)
{
    cr_assert_eq(crier_open("local:square", NULL, &bus), 0);
    cr_assert_eq(crier_open("local:square", NULL, &other), 0);
}

static void close_both(void)
{
    cr_assert_eq(crier_close(other), 0);
    cr_assert_eq(crier_close(bus), 0);
}

TestSuite(names, .init = open_both, .fini = close_both, .timeout = 60);

static struct tag a = {.name = "a"}, b = {.name = "b"}, f = {.name = "f", .rc = -1};

static void on_released(void *ctx, int code, const char *text)
{
    (void)code, (void)text;
    trace_add(((struct tag *)ctx)->name);
    trace_add("released");
}

Test(names, are_one_emitter_for_all_who_open_them)
{
    on("x", &a);
    cr_assert_eq(crier_on(other, "x", on_tag, &b), 0);
    emit("x");
    cr_trace("a b");
    cr_assert_eq(crier_emit(other, "x", NULL, 0), 0);
    cr_trace("a b");
    cr_assert_eq(crier_listener_count(other, "x", NULL, NULL), 2);
    cr_assert_eq(crier_off(other, "x", on_tag, &a), 0);
    emit("x");
    cr_trace("b");
}

Test(names, are_heard_by_nobody_with_another_one)
{
    crier *elsewhere, *nowhere;
    cr_assert_eq(crier_open("local:Square", NULL, &elsewhere), 0);
    cr_assert_eq(crier_open("local:", NULL, &nowhere), 0);
    cr_assert_eq(crier_on(elsewhere, "x", on_tag, &a), 0);
    cr_assert_eq(crier_on(nowhere, "x", on_tag, &a), 0);
    emit("x");
    cr_trace("");
    cr_assert_eq(crier_close(elsewhere), 0);
    cr_assert_eq(crier_close(nowhere), 0);
}

static int on_whose(crier *mine, const crier_event *event, void *ctx)
{
    (void)event;
    trace_add(mine == *(crier **)ctx ? "mine" : "not mine");
    return 0;
}

Test(names, give_each_handler_the_bus_it_listens_on)
{
    cr_assert_eq(crier_on(bus, "x", on_whose, (void *)&bus), 0);
    cr_assert_eq(crier_once(other, "x", on_whose, (void *)&other), 0);
    emit("x");
    cr_trace("mine mine");
    cr_assert_eq(crier_emit(other, "x", NULL, 0), 0);
    cr_trace("mine");
}

Test(names, lose_the_listeners_of_a_bus_that_is_closed)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier *third;
    options.released = on_released;
    cr_assert_eq(crier_open("local:square", NULL, &third), 0);
    cr_assert_eq(crier_on(bus, "removeListener", on_value, &b), 0);
    on("x", &a);
    cr_assert_eq(crier_listen(third, "x", &options, on_tag, &f, NULL), 0);
    cr_assert_eq(crier_on(third, "removeListener", on_value, &f), 0);
    cr_assert_eq(crier_on(third, "y", on_tag, &f), 0);
    cr_assert_eq(crier_close(third), 0);
    cr_trace("b:removeListener b:x f released b:y");
    emit("x");
    cr_trace("a");
    cr_assert_eq(crier_listener_count(bus, "y", NULL, NULL), 0);
    cr_assert_eq(crier_remove_all(bus, NULL), 0);
    trace_take();
}

static void close_it(crier *mine, struct tag *tag)
{
    (void)tag;
    cr_assert_eq(crier_close(mine), CRIER_EDEADLK);
    cr_assert_eq(crier_close(other), CRIER_EDEADLK);
}

Test(names, are_not_closed_from_inside_a_handler)
{
    struct tag closer = {.name = "c", .act = close_it};
    on("x", &closer);
    emit("x");
    cr_trace("c");
}

Test(names, begin_anew_when_the_last_bus_was_closed)
{
    crier *first, *second;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(crier_open("local:inn", NULL, &first), 0);
        cr_assert_eq(crier_open("local:inn", NULL, &second), 0);
        cr_assert_eq(crier_set_max_listeners(first, 3), 0);
        cr_assert_eq(crier_get_max_listeners(second), 3);
        cr_assert_eq(crier_close(first), 0);
        cr_assert_eq(crier_on(second, "x", on_tag, &a), 0);
        cr_assert_eq(crier_close(second), 0);
        cr_assert_eq(crier_open("local:inn", NULL, &first), 0);
        cr_assert_eq(crier_get_max_listeners(first), 10);
        cr_assert_eq(crier_listener_count(first, "x", NULL, NULL), 0);
        cr_assert_eq(crier_close(first), 0);
    }
}

Test(names, know_interned_topics_bus_by_bus)
{
    crier_topic *mine, *again, *theirs;
    cr_assert_eq(crier_intern(bus, "x", &mine), 0);
    cr_assert_eq(crier_intern(bus, "x", &again), 0);
    cr_assert_eq(crier_intern(other, "x", &theirs), 0);
    cr_assert_eq(mine, again);
    cr_assert_neq(mine, theirs);
    on("x", &a);
    cr_assert_eq(crier_emit_topic(mine, NULL, 0), 0);
    cr_assert_eq(crier_emit_topic(theirs, NULL, 0), 0);
    cr_trace("a a");
    cr_assert_str_eq(crier_topic_name(theirs), "x");
}

Test(names, tell_errors_to_whoever_listens)
{
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), CRIER_EIO);
    cr_assert_eq(crier_on(other, "error", on_error, &b), 0);
    on("x", &f);
    emit("x");
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), 0);
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "f b:%d b:%d", CRIER_EHANDLER, CRIER_EIO);
    cr_trace(wanted);
}

/* ---- room ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int drained;
    bool open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int on_gate(crier *mine, const crier_event *event, void *ctx)
{
    (void)mine, (void)event, (void)ctx;
    pthread_mutex_lock(&gate.lock);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return 0;
}

static void gate_open(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void on_drain(crier *mine, void *ctx)
{
    (void)mine, (void)ctx;
    pthread_mutex_lock(&gate.lock);
    gate.drained++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

Test(names, tell_every_bus_that_there_is_room_again)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_options options = crier_options_default();
    crier *emitting, *waiting;
    crier_pool *pool;
    cr_assert_eq(crier_pool_create(NULL, &pool), 0);
    listen.pool = pool;
    listen.pool_events_max = 1;
    options.drain = on_drain;
    cr_assert_eq(crier_open("local:square", &options, &emitting), 0);
    options.emit_blocks = true;
    cr_assert_eq(crier_open("local:square", &options, &waiting), 0);
    cr_assert_eq(crier_listen(bus, "x", &listen, on_gate, NULL, NULL), 0);
    cr_assert_eq(crier_emit(emitting, "x", NULL, 0), 0);
    cr_assert_eq(crier_emit(emitting, "x", NULL, 0), CRIER_EAGAIN);
    gate_open();
    cr_assert_eq(crier_emit(waiting, "x", NULL, 0), 0); /* when there is room */
    pthread_mutex_lock(&gate.lock);
    while (gate.drained < 2)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    cr_assert_eq(crier_close(waiting), 0);
    cr_assert_eq(crier_close(emitting), 0);
    cr_assert_eq(crier_remove_all(bus, "x"), 0);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(crier_pool_destroy(pool), 0);
    cr_assert_eq(crier_open("local:square", NULL, &bus), 0);
}
