/* test_engine_request.c: questions and their one answer. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct answers {
    unsigned count;
    int code;
    size_t topics;
    uint32_t partitions;
    uint64_t high_watermark;
    char last[64];
    bool more;
};

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    struct answers *answers = ctx;
    answers->count++;
    answers->code = answer->code;
    answers->topics += answer->topic_count;
    answers->more = answer->more;
    if (answer->topic_count == 0)
        return;
    const struct crier_topic_info *topic = &answer->topics[answer->topic_count - 1];
    answers->partitions = topic->partition_count;
    answers->high_watermark = topic->partitions[0].high_watermark;
    snprintf(answers->last, sizeof(answers->last), "%s", topic->name);
}

/* Answers a request with `count` topics called "<prefix><n>". */
static void topics_send(struct rig *rig, uint64_t request, int code, size_t count, const char *prefix,
                        bool more)
{
    Wire__Topics topics = WIRE__TOPICS__INIT;
    Wire__TopicInfo infos[8], *pointers[8];
    Wire__PartitionInfo partition = WIRE__PARTITION_INFO__INIT, *partitions[] = {&partition, &partition};
    char names[8][32];
    partition.high_watermark = 42;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "%s%zu", prefix, i);
        wire__topic_info__init(&infos[i]);
        infos[i].name = names[i];
        infos[i].partitions = partitions;
        infos[i].n_partitions = 2;
        pointers[i] = &infos[i];
    }
    topics.request = request;
    topics.code = code;
    topics.topics = pointers;
    topics.n_topics = count;
    topics.more = more;
    rig_receive(rig, FRAME_TOPICS, &topics, NULL, 0);
}

static void on_dead_letter(void *ctx, const struct engine_answer *answer)
{
    const char *name = answer->topics[0].dead_letter;
    snprintf(ctx, 64, "%s", name ? name : "as usual");
}

/* What the broker says, which is nothing unless the topic has a policy of its own. */
static void expect_dead_letter(Wire__RetryPolicy *retry, const char *expected)
{
    struct rig rig;
    char dead_letter[64] = "";
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_describe(rig.engine, "t", on_dead_letter, dead_letter, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    Wire__TopicInfo info = WIRE__TOPIC_INFO__INIT, *infos[] = {&info};
    Wire__PartitionInfo partition = WIRE__PARTITION_INFO__INIT, *partitions[] = {&partition};
    Wire__Topics topics = WIRE__TOPICS__INIT;
    info.name = (char *)"t";
    info.partitions = partitions;
    info.n_partitions = 1;
    info.retry = retry;
    topics.request = ((const Wire__TopicDescribe *)sent.message)->request;
    topics.topics = infos;
    topics.n_topics = 1;
    rig_receive(&rig, FRAME_TOPICS, &topics, NULL, 0);
    cr_assert_str_eq(dead_letter, expected);
    rig_finish(&rig);
}

Test(engine_request, a_topic_says_where_its_dead_letters_go_if_it_was_chosen)
{
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    expect_dead_letter(NULL, "as usual");
    retry.deliveries = 3;
    expect_dead_letter(&retry, "as usual");
    retry.dead_letter = (char *)"graveyard";
    expect_dead_letter(&retry, "graveyard");
}

Test(engine_request, describe_does_not_create_and_brings_the_topic)
{
    struct rig rig;
    struct answers answers = {0};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_describe(rig.engine, "t0", on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    const Wire__TopicDescribe *asked = (const Wire__TopicDescribe *)sent.message;
    cr_assert_str_eq(asked->name, "t0");
    cr_assert(!asked->create);
    topics_send(&rig, asked->request, 0, 1, "t", false);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.partitions, 2);
    cr_assert_eq(answers.high_watermark, 42);
    rig_finish(&rig);
}

Test(engine_request, create_says_what_was_asked_for)
{
    struct rig rig;
    struct answers answers = {0};
    struct crier_topic_options options = {
        .struct_size = sizeof(options), .partitions = 12, .durability = CRIER_MEMORY};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_create(rig.engine, "t", &options, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_CREATE);
    const Wire__TopicCreate *asked = (const Wire__TopicCreate *)sent.message;
    cr_assert_eq(asked->partitions, 12);
    cr_assert_eq(asked->durability, WIRE__DURABILITY__MEMORY);
    topics_send(&rig, asked->request, CRIER_EEXIST, 0, "", false);
    cr_assert_eq(answers.code, CRIER_EEXIST);
    rig_finish(&rig);
}

/* The name is copied: it is the caller's no longer when the request is sent. */
Test(engine_request, create_and_alter_say_where_dead_letters_go)
{
    struct rig rig;
    struct answers answers = {0};
    char name[16] = "graves";
    struct crier_topic_options options = crier_topic_options_default();
    struct crier_topic_changes changes = {.struct_size = sizeof(changes)};
    options.dead_letter = changes.dead_letter = name;
    changes.set = CRIER_SET_DEAD_LETTER;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_create(rig.engine, "t", &options, on_answer, &answers, rig.now), 0);
    cr_assert_eq(engine_topic_alter(rig.engine, "t", &changes, on_answer, &answers, rig.now), 0);
    snprintf(name, sizeof(name), "tombs");
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_CREATE);
    cr_assert_str_eq(((const Wire__TopicCreate *)sent.message)->retry->dead_letter, "graves");
    sent = rig_expect(&rig, FRAME_TOPIC_ALTER);
    const Wire__TopicAlter *asked = (const Wire__TopicAlter *)sent.message;
    cr_assert_str_eq(asked->retry->dead_letter, "graves");
    cr_assert_eq(asked->set, CRIER_SET_DEAD_LETTER);
    static const char *const bad[] = {"t", "a..b", "*", "$scheduled", "$dead.", "error", "a b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        options.dead_letter = changes.dead_letter = bad[i];
        cr_expect_eq(engine_topic_create(rig.engine, "t", &options, on_answer, &answers, rig.now),
                     CRIER_EINVAL, "%s", bad[i]);
        cr_expect_eq(engine_topic_alter(rig.engine, "t", &changes, on_answer, &answers, rig.now),
                     CRIER_EINVAL, "%s", bad[i]);
    }
    options.dead_letter = changes.dead_letter = "";
    cr_assert_eq(engine_topic_create(rig.engine, "u", &options, on_answer, &answers, rig.now), 0);
    cr_assert_eq(engine_topic_alter(rig.engine, "u", &changes, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    sent = rig_expect(&rig, FRAME_TOPIC_CREATE);
    cr_assert_null(((const Wire__TopicCreate *)sent.message)->retry);
    sent = rig_expect(&rig, FRAME_TOPIC_ALTER);
    cr_assert_str_eq(((const Wire__TopicAlter *)sent.message)->retry->dead_letter, "");
    rig_finish(&rig);
}

Test(engine_request, a_list_is_read_page_by_page)
{
    struct rig rig;
    struct answers answers = {0};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_list(rig.engine, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_LIST);
    cr_assert_str_eq(((const Wire__TopicList *)sent.message)->after, "");
    topics_send(&rig, ((const Wire__TopicList *)sent.message)->request, 0, 5, "a", true);
    cr_assert(answers.more);
    sent = rig_expect(&rig, FRAME_TOPIC_LIST);
    cr_assert_str_eq(((const Wire__TopicList *)sent.message)->after, "a4");
    topics_send(&rig, ((const Wire__TopicList *)sent.message)->request, 0, 2, "b", false);
    cr_assert_eq(answers.count, 2);
    cr_assert_eq(answers.topics, 7);
    cr_assert(!answers.more);
    cr_assert_str_eq(answers.last, "b1");
    rig_finish(&rig);
}

Test(engine_request, ping_is_answered_by_the_pong_with_its_number)
{
    struct rig rig;
    struct answers answers = {0};
    Wire__Ping other = WIRE__PING__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_ping(rig.engine, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_PING);
    other.nonce = 999;
    rig_receive(&rig, FRAME_PONG, &other, NULL, 0);
    cr_assert_eq(answers.count, 0);
    rig_receive(&rig, FRAME_PONG, sent.message, NULL, 0);
    cr_assert_eq(answers.count, 1);
    rig_finish(&rig);
}

Test(engine_request, without_an_answer_it_times_out_and_a_late_one_is_ignored)
{
    struct rig rig;
    struct answers answers = {0};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_describe(rig.engine, "t", on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_wait(&rig, 9900000);
    cr_assert_eq(answers.count, 0);
    rig_wait(&rig, 100000);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_ETIMEDOUT);
    topics_send(&rig, ((const Wire__TopicDescribe *)sent.message)->request, 0, 1, "t", false);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(rig.disconnects, 0);
    rig_finish(&rig);
}

Test(engine_request, without_a_connection_it_waits_for_one)
{
    struct rig rig;
    struct answers answers = {0};
    rig_init(&rig, NULL);
    cr_assert_eq(engine_topic_describe(rig.engine, "t", on_answer, &answers, rig.now), 0);
    cr_assert(rig_sent_nothing(&rig));
    rig_ready(&rig, 1 << 20);
    rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_finish(&rig);
}

Test(engine_request, a_lost_connection_asks_again_but_never_creates_twice)
{
    struct rig rig;
    struct answers describe = {0}, create = {0};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    cr_assert_eq(engine_topic_describe(rig.engine, "t", on_answer, &describe, rig.now), 0);
    cr_assert_eq(engine_topic_create(rig.engine, "u", NULL, on_answer, &create, rig.now), 0);
    rig_turn(&rig);
    rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_expect(&rig, FRAME_TOPIC_CREATE);
    rig_cut(&rig);
    cr_assert_eq(create.count, 1);
    cr_assert_eq(create.code, CRIER_EUNKNOWN);
    cr_assert_eq(describe.count, 0);
    rig_reconnect(&rig, 1 << 20);
    rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_request, at_most_64_wait_for_an_answer_and_the_rest_for_them)
{
    struct rig rig;
    struct answers answers = {0};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(engine_ping(rig.engine, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    for (int i = 0; i < 64; i++) {
        struct sent sent = rig_expect(&rig, FRAME_PING);
        if (i == 63) {
            cr_assert(rig_sent_nothing(&rig));
            rig_receive(&rig, FRAME_PONG, sent.message, NULL, 0);
        }
    }
    rig_expect(&rig, FRAME_PING);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_request, giving_up_answers_everybody)
{
    struct rig rig;
    struct answers answers = {0};
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    for (int i = 0; i < 70; i++)
        cr_assert_eq(engine_ping(rig.engine, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    engine_emit_close(rig.engine);
    engine_drop(rig.engine, CRIER_ECLOSED);
    cr_assert_eq(answers.count, 70);
    cr_assert_eq(answers.code, CRIER_ECLOSED);
    cr_assert_eq(engine_ping(rig.engine, on_answer, &answers, rig.now), CRIER_ECLOSED);
    rig_finish(&rig);
}
