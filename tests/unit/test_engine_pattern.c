/* test_engine_pattern.c: a listener to a pattern: each event says its own topic, new topics join in, nothing is missed. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char heard[512]; /* "topic/partition#offset " of each event; a test is a process of its own */

static int hear(crier *bus, const crier_event *event, void *ctx)
{
    size_t used = strlen(heard);
    (void)bus, (void)ctx;
    snprintf(heard + used, sizeof(heard) - used, "%s/%u#%llu ", event->topic, event->partition,
             (unsigned long long)event->offset);
    return 0;
}

static void listen_to(struct rig *rig, const char *pattern)
{
    crier_listener *listener;
    cr_assert_eq(engine_listener_create(rig->engine, pattern, NULL, hear, NULL, &listener), 0);
    engine_listen(rig->engine, listener);
    rig_turn(rig);
}

/* Partition RIG_PARTITION + i is partition 0 of the i-th topic. */
static void fill(Wire__ListenPartition *to, size_t i, const char *topic, uint64_t next)
{
    wire__listen_partition__init(to);
    to->partition = RIG_PARTITION + i;
    to->topic = (char *)(uintptr_t)topic;
    to->next = next;
    to->high_watermark = next;
}

/* Takes LISTEN, answers with "t.a" and "t.b" from 5 on. */
static struct sent listening(struct rig *rig, bool more)
{
    struct sent sent = rig_expect(rig, FRAME_LISTEN);
    Wire__ListenPartition block[2], *partitions[] = {&block[0], &block[1]};
    Wire__Listening message = WIRE__LISTENING__INIT;

    fill(&block[0], 0, "t.a", 5);
    fill(&block[1], 1, "t.b", 5);
    message.listener = ((const Wire__Listen *)sent.message)->listener;
    message.partitions = partitions;
    message.n_partitions = 2;
    message.more = more;
    rig_receive(rig, FRAME_LISTENING, &message, NULL, 0);
    return sent;
}

static void assign(struct rig *rig, uint32_t listener, size_t i, const char *topic)
{
    Wire__ListenPartition block, *added = &block;
    Wire__Assign message = WIRE__ASSIGN__INIT;

    fill(&block, i, topic, 0);
    message.listener = listener;
    message.added = &added;
    message.n_added = 1;
    rig_receive(rig, FRAME_ASSIGN, &message, NULL, 0);
}

static void deliver(struct rig *rig, uint32_t listener, size_t i, uint64_t offset)
{
    size_t size;
    uint8_t *batch = rig_batch(offset, 1, &size);
    Wire__Deliver message = WIRE__DELIVER__INIT;

    message.listener = listener;
    message.partition = RIG_PARTITION + i;
    message.high_watermark = offset + 1;
    rig_receive(rig, FRAME_DELIVER, &message, batch, size);
    free(batch);
}

static uint32_t begin(struct rig *rig)
{
    rig_init(rig, NULL);
    rig_ready(rig, 1 << 20);
    listen_to(rig, "t.*");
    struct sent sent = listening(rig, false);
    return ((const Wire__Listen *)sent.message)->listener;
}

Test(engine_pattern, each_event_says_the_topic_it_is_of)
{
    struct rig rig;
    uint32_t id = begin(&rig);

    deliver(&rig, id, 1, 5);
    deliver(&rig, id, 0, 5);
    cr_assert_str_eq(heard, "t.b/0#5 t.a/0#5 ");
    rig_finish(&rig);
}

Test(engine_pattern, a_topic_that_comes_later_joins_in)
{
    struct rig rig;
    uint32_t id = begin(&rig);

    assign(&rig, id, 2, "t.late");
    deliver(&rig, id, 2, 0);
    cr_assert_str_eq(heard, "t.late/0#0 ");
    cr_assert(rig_sent_nothing(&rig), "nothing is answered");
    rig_finish(&rig);
}

Test(engine_pattern, a_reconnect_names_what_is_known_and_says_so)
{
    struct rig rig;
    uint32_t id = begin(&rig);

    assign(&rig, id, 2, "t.late");
    deliver(&rig, id, 0, 5);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    const Wire__Listen *listen = (const Wire__Listen *)sent.message;
    cr_assert(listen->again);
    cr_assert_eq(listen->n_resume, 3);
    cr_assert_eq(listen->resume[0]->offset, 6);
    cr_assert_eq(listen->resume[1]->offset, 5);
    cr_assert_eq(listen->resume[2]->partition, RIG_PARTITION + 2);
    rig_finish(&rig);
}

/* The rest of LISTENING never came: what it would have named is not new. */
Test(engine_pattern, a_listening_that_was_cut_is_not_gone_on_from)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    listen_to(&rig, "t.*");
    struct sent sent = listening(&rig, true);
    cr_assert_not(((const Wire__Listen *)sent.message)->again);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    sent = listening(&rig, true);
    const Wire__Listen *listen = (const Wire__Listen *)sent.message;
    cr_assert_not(listen->again);
    assign(&rig, listen->listener, 2, "t.c"); /* the last of it */
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    sent = rig_expect(&rig, FRAME_LISTEN);
    cr_assert(((const Wire__Listen *)sent.message)->again);
    rig_finish(&rig);
}

Test(engine_pattern, a_topic_that_went_away_is_dropped_without_an_answer)
{
    struct rig rig;
    uint32_t id = begin(&rig);
    uint64_t gone = RIG_PARTITION + 1;
    Wire__Assign message = WIRE__ASSIGN__INIT;

    message.listener = id;
    message.revoked = &gone;
    message.n_revoked = 1;
    rig_receive(&rig, FRAME_ASSIGN, &message, NULL, 0);
    cr_assert(rig_sent_nothing(&rig));
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    cr_assert_eq(((const Wire__Listen *)sent.message)->n_resume, 1);
    rig_finish(&rig);
}

Test(engine_pattern, what_makes_no_sense_is_refused_at_once)
{
    static const char *const wrong[] = {"a*", "a.**.b", "a..*", ".*", "*.", "$a.*", "a b.*", "***"};
    static const char *const right[] = {"*", "**", "a.*", "a.**", "*.b", "a.*.c", "*.*.**"};
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    struct rig rig;

    rig_init(&rig, NULL);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(engine_listener_create(rig.engine, wrong[i], NULL, hear, NULL, &listener), CRIER_EINVAL,
                     "%s", wrong[i]);
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        cr_assert_eq(engine_listener_create(rig.engine, right[i], NULL, hear, NULL, &listener), 0, "%s",
                     right[i]);
        engine_listener_destroy(listener);
    }
    options.group = "g";
    cr_assert_eq(engine_listener_create(rig.engine, "a.*", &options, hear, NULL, &listener), CRIER_EINVAL);
    options.group = NULL;
    options.from = CRIER_OFFSET;
    cr_assert_eq(engine_listener_create(rig.engine, "a.*", &options, hear, NULL, &listener), CRIER_EINVAL);
    rig_finish(&rig);
}
