/* Handlers that change what they are called from, and thousands of them, on every kind of bus. Listed in
 * docs/emitter-conformance.md. */
#include "kinds_rig.h"

#define MANY 3000

/* ---- handlers that change what they are called from ---- */

static int offs_itself(crier *bus, const crier_event *event, void *ctx)
{
    cr_assert_eq(crier_off(bus, "x", offs_itself, ctx), 0);
    cr_assert_eq(crier_off(bus, "x", offs_itself, ctx), CRIER_EINVAL);
    return heard(bus, event, ctx);
}

static void off_inside(void)
{
    hear("x", offs_itself, named("a"), NULL, NULL);
    emit("x", "1");
    expect("a:1");
    hear("x", heard, named("b"), NULL, NULL);
    emit("x", "2");
    settle();
    expect("b:2");
}
Test(kinds_handlers, a_handler_may_take_itself_off)
{
    on_every_kind(off_inside);
}

static int offs_the_other(crier *bus, const crier_event *event, void *ctx)
{
    (void)ctx;
    if (event->value_size == 1 && *(const char *)event->value == '1')
        cr_assert_eq(crier_off(bus, "x", heard, named("b")), 0);
    return 0;
}

/* Whether `b` hears the event it was taken off in differs: Node's list is copied, a broker's listeners are each for themselves. */
static void off_another(void)
{
    hear("x", offs_the_other, NULL, NULL, NULL);
    hear("x", heard, named("b"), NULL, NULL);
    emit("x", "1");
    settle();
    pthread_mutex_lock(&world.lock);
    cr_assert(strcmp(world.trace, "b:1") == 0 || (world.trace[0] == '\0' && world.kind != LOCAL));
    world.trace[0] = '\0';
    pthread_mutex_unlock(&world.lock);
    emit("x", "2");
    settle();
    expect("");
}
Test(kinds_handlers, a_handler_may_take_another_off)
{
    on_every_kind(off_another);
}

static int removes_all(crier *bus, const crier_event *event, void *ctx)
{
    cr_assert_eq(crier_remove_all(bus, NULL), 0);
    return heard(bus, event, ctx);
}

static void remove_inside(void)
{
    hear("x", removes_all, named("a"), NULL, NULL);
    hear("y", heard, named("b"), NULL, NULL);
    emit("x", "1");
    expect("a:1");
    cr_assert_eq(crier_listener_count(world.bus, "x", NULL, NULL), 0);
    cr_assert_eq(crier_listener_count(world.bus, "y", NULL, NULL), 0);
    emit("x", "2");
    emit("y", "3");
    settle();
    expect("");
}
Test(kinds_handlers, a_handler_may_remove_all)
{
    on_every_kind(remove_inside);
}

static int emits_the_next(crier *bus, const crier_event *event, void *ctx)
{
    char next = (char)(*(const char *)event->value + 1);
    heard(bus, event, ctx);
    if (next <= '5')
        cr_assert_eq(crier_emit(bus, "x", &next, 1), 0);
    return 0;
}

static void emit_inside(void)
{
    hear("x", emits_the_next, named("a"), NULL, NULL);
    emit("x", "1");
    expect("a:1 a:2 a:3 a:4 a:5");
}
Test(kinds_handlers, a_handler_may_emit_on_its_own_topic)
{
    on_every_kind(emit_inside);
}

static int listens(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.listening = told;
    heard(bus, event, ctx);
    cr_assert_eq(crier_off(bus, "x", listens, ctx), 0);
    cr_assert_eq(crier_listen(bus, "x", &options, heard, named("b"), NULL), 0);
    return 0;
}

static void listen_inside(void)
{
    hear("x", listens, named("a"), NULL, NULL);
    emit("x", "1");
    expect("a:1 listening");
    emit("x", "2");
    expect("b:2");
}
Test(kinds_handlers, a_listener_that_is_added_inside_a_handler_hears_the_next_event)
{
    on_every_kind(listen_inside);
}

static crier_listener *itself;

static void on_released(void *ctx, int code, const char *text)
{
    char what[32];
    (void)ctx, (void)text;
    snprintf(what, sizeof(what), "released:%d", code);
    note(what);
}

static int unlistens(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_listener_stats stats;
    heard(bus, event, ctx);
    cr_assert_eq(crier_unlisten(itself), 0);
    cr_assert_eq(crier_listener_stats(itself, &stats), 0); /* it is there until `released` */
    return 0;
}

static void unlisten_inside(void)
{
    hear("x", unlistens, named("a"), on_released, &itself);
    emit("x", "1");
    expect("a:1 released:0");
    emit("x", "2");
    settle();
    expect("");
}
Test(kinds_handlers, a_listener_that_ends_inside_its_handler_is_released_once)
{
    on_every_kind(unlisten_inside);
}

/* ---- thousands ---- */

static unsigned calls;

static int counts(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    pthread_mutex_lock(&world.lock);
    if (++calls % MANY == 0)
        pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    return 0;
}

static void counted(unsigned wanted)
{
    struct timespec deadline;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 3 * WAIT_S;
    pthread_mutex_lock(&world.lock);
    while (calls < wanted && rc == 0)
        rc = pthread_cond_timedwait(&world.changed, &world.lock, &deadline);
    cr_assert_eq(calls, wanted, "%s: %u of %u", kind_names[world.kind], calls, wanted);
    pthread_mutex_unlock(&world.lock);
}

static void counts_listening(void *ctx)
{
    (void)counts(NULL, NULL, ctx);
}

/* One topic: each hears the event, none after they were removed. */
static void many_of_one(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.listening = counts_listening;
    calls = 0;
    cr_assert_eq(crier_set_max_listeners(world.bus, 0), 0);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(crier_listen(world.bus, "x", &options, counts, NULL, NULL), 0);
    counted(MANY);
    cr_assert_eq(crier_listener_count(world.bus, "x", NULL, NULL), MANY);
    emit("x", "1");
    counted(2 * MANY);
    cr_assert_eq(crier_remove_all(world.bus, "x"), 0);
    cr_assert_eq(crier_listener_count(world.bus, "x", NULL, NULL), 0);
    emit("x", "2");
    settle();
    counted(2 * MANY);
}
Test(kinds_handlers, thousands_listen_to_one_topic)
{
    on_every_kind(many_of_one);
}

static void many_topics(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    char name[32];
    options.listening = counts_listening;
    calls = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "topic.%d", i);
        cr_assert_eq(crier_listen(world.bus, name, &options, counts, NULL, NULL), 0);
    }
    counted(MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "topic.%d", i);
        emit(name, "1");
    }
    counted(2 * MANY);
}
Test(kinds_handlers, thousands_of_topics_are_listened_to)
{
    on_every_kind(many_topics);
}
