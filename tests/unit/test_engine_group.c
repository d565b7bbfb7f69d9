/* test_engine_group.c: questions about groups and their one answer. */
#include "tests/unit/engine_rig.h"

#include "client/engine_internal.h"

#include <criterion/criterion.h>
#include <string.h>

struct answers {
    unsigned count;
    int code;
    size_t groups, partitions;
    char names[64];
    bool owned, more;
};

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    struct answers *answers = ctx;
    answers->count++;
    answers->code = answer->code;
    answers->more = answer->more;
    for (size_t i = 0; i < answer->group_count; i++) {
        strcat(answers->names, answer->groups[i].name);
        answers->partitions += answer->groups[i].partition_count;
        if (answer->groups[i].partition_count)
            answers->owned = answer->groups[i].partitions[0].member != NULL;
    }
    answers->groups += answer->group_count;
}

/* GROUPS with one group, "a" and so on, of `partitions` partitions; name NULL: none. */
static void groups_send(struct rig *rig, uint64_t request, int code, const char *name, size_t partitions,
                        bool more)
{
    Wire__Groups groups = WIRE__GROUPS__INIT;
    Wire__GroupInfo info = WIRE__GROUP_INFO__INIT, *infos = &info;
    Wire__GroupPartition partition = WIRE__GROUP_PARTITION__INIT, *list[4];
    for (size_t i = 0; i < partitions; i++)
        list[i] = &partition;
    partition.owned = true;
    info.name = (char *)(uintptr_t)name;
    info.partitions = list;
    info.n_partitions = partitions;
    groups.request = request;
    groups.code = code;
    groups.groups = &infos;
    groups.n_groups = name ? 1 : 0;
    groups.more = more;
    rig_receive(rig, FRAME_GROUPS, &groups, NULL, 0);
}

/* LISTENING: partitions 0 and 1, from 10 and 20. */
static uint32_t probe_answer(struct rig *rig, const struct sent *sent)
{
    Wire__Listening listening = WIRE__LISTENING__INIT;
    Wire__ListenPartition items[2], *pointers[2];
    for (uint32_t i = 0; i < 2; i++) {
        wire__listen_partition__init(&items[i]);
        items[i].partition = RIG_PARTITION + i;
        items[i].index = i;
        items[i].next = 10 + 10 * i;
        pointers[i] = &items[i];
    }
    listening.listener = ((const Wire__Listen *)sent->message)->listener;
    listening.partitions = pointers;
    listening.n_partitions = 2;
    rig_receive(rig, FRAME_LISTENING, &listening, NULL, 0);
    return listening.listener;
}

static void ready(struct rig *rig)
{
    rig_init(rig, NULL);
    rig_ready(rig, 1 << 20);
}

static void seek(struct rig *rig, struct answers *answers, int32_t partition)
{
    struct crier_group_seek_options options = crier_group_seek_options_default();
    options.to = CRIER_TIME;
    options.value = 1234567;
    options.partition = partition;
    *answers = (struct answers){0};
    cr_assert_eq(engine_group_seek(rig->engine, "g", "t", &options, on_answer, answers, rig->now), 0);
    rig_turn(rig);
}

Test(engine_group, a_list_is_told_page_by_page)
{
    struct rig rig;
    struct answers answers = {0};
    ready(&rig);
    cr_assert_eq(engine_group_list(rig.engine, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_GROUP_LIST);
    groups_send(&rig, ((const Wire__GroupList *)sent.message)->request, 0, "a", 0, true);
    cr_assert(answers.more);
    sent = rig_expect(&rig, FRAME_GROUP_LIST);
    cr_assert_str_eq(((const Wire__GroupList *)sent.message)->after, "a");
    groups_send(&rig, ((const Wire__GroupList *)sent.message)->request, 0, "b", 0, false);
    cr_assert_eq(answers.count, 2);
    cr_assert_str_eq(answers.names, "ab");
    cr_assert(!answers.more);
    rig_finish(&rig);
}

Test(engine_group, a_description_is_told_in_pieces)
{
    struct rig rig;
    struct answers answers = {0};
    ready(&rig);
    cr_assert_eq(engine_group_describe(rig.engine, "g", "t", on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_GROUP_DESCRIBE);
    const Wire__GroupDescribe *asked = (const Wire__GroupDescribe *)sent.message;
    cr_assert_str_eq(asked->name, "g");
    cr_assert_str_eq(asked->topic, "t");
    groups_send(&rig, asked->request, 0, "g", 3, true);
    sent = rig_expect(&rig, FRAME_GROUP_DESCRIBE);
    asked = (const Wire__GroupDescribe *)sent.message;
    cr_assert_eq(asked->first, 3);
    cr_assert_str_eq(asked->name, "g");
    groups_send(&rig, asked->request, 0, "g", 2, false);
    cr_assert_eq(answers.count, 2);
    cr_assert_eq(answers.partitions, 5);
    cr_assert(answers.owned, "an owner without a name is one too");
    rig_finish(&rig);
}

Test(engine_group, a_seek_finds_out_where_it_leads_then_goes_there)
{
    struct rig rig;
    struct answers answers;
    ready(&rig);
    seek(&rig, &answers, -1);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    const Wire__Listen *listen = (const Wire__Listen *)sent.message;
    cr_assert_str_eq(listen->topic, "t");
    cr_assert_str_eq(listen->group, "");
    cr_assert_eq(listen->from, WIRE__FROM__TIME);
    cr_assert_eq(listen->from_value, 1234567);
    cr_assert_eq(listen->credit, 0); /* no events */
    cr_assert(!listen->create);
    uint32_t probe = probe_answer(&rig, &sent);
    sent = rig_expect(&rig, FRAME_UNLISTEN);
    cr_assert_eq(((const Wire__Unlisten *)sent.message)->listener, probe);
    sent = rig_expect(&rig, FRAME_GROUP_SEEK);
    const Wire__GroupSeek *asked = (const Wire__GroupSeek *)sent.message;
    cr_assert_str_eq(asked->name, "g");
    cr_assert_str_eq(asked->topic, "t");
    cr_assert_eq(asked->n_positions, 2);
    cr_assert_eq(asked->positions[1]->partition, RIG_PARTITION + 1);
    cr_assert_eq(asked->positions[1]->offset, 20);
    cr_assert_eq(answers.count, 0);
    groups_send(&rig, asked->request, CRIER_EBUSY, NULL, 0, false);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_EBUSY);
    rig_finish(&rig);
}

Test(engine_group, a_seek_may_be_for_one_partition_and_that_has_to_be_there)
{
    struct rig rig;
    struct answers answers;
    ready(&rig);
    seek(&rig, &answers, 1);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    probe_answer(&rig, &sent);
    rig_expect(&rig, FRAME_UNLISTEN);
    sent = rig_expect(&rig, FRAME_GROUP_SEEK);
    const Wire__GroupSeek *asked = (const Wire__GroupSeek *)sent.message;
    cr_assert_eq(asked->n_positions, 1);
    cr_assert_eq(asked->positions[0]->partition, RIG_PARTITION + 1);
    seek(&rig, &answers, 2);
    sent = rig_expect(&rig, FRAME_LISTEN);
    probe_answer(&rig, &sent);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_EINVAL);
    rig_expect(&rig, FRAME_UNLISTEN);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_group, a_seek_on_a_topic_that_is_not_there_says_so)
{
    struct rig rig;
    struct answers answers;
    Wire__Ended ended = WIRE__ENDED__INIT;
    ready(&rig);
    seek(&rig, &answers, -1);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    ended.listener = ((const Wire__Listen *)sent.message)->listener;
    ended.code = CRIER_ENOTOPIC;
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_ENOTOPIC);
    cr_assert_eq(engine_error_take(rig.engine), 0);
    rig_finish(&rig);
}

Test(engine_group, a_seek_nobody_answers_times_out_and_leaves_nothing_behind)
{
    struct rig rig;
    struct answers answers;
    rig_init(&rig, NULL); /* no connection */
    seek(&rig, &answers, -1);
    rig_wait(&rig, 10000000);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_ETIMEDOUT);
    cr_assert_eq(rig.released, 1);
    cr_assert(engine_is_settled(rig.engine));
    rig_finish(&rig);
}

Test(engine_group, what_changes_something_is_not_asked_twice)
{
    struct rig rig;
    struct answers answers, deleted = {0}, redriven = {0}, listed = {0};
    ready(&rig);
    seek(&rig, &answers, -1);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    rig_cut(&rig); /* nothing was changed yet: it goes on */
    rig_reconnect(&rig, 1 << 20);
    sent = rig_expect(&rig, FRAME_LISTEN);
    probe_answer(&rig, &sent);
    cr_assert_eq(engine_group_delete(rig.engine, "g", on_answer, &deleted, rig.now), 0);
    cr_assert_eq(engine_redrive(rig.engine, "t", 3, on_answer, &redriven, rig.now), 0);
    cr_assert_eq(engine_group_list(rig.engine, on_answer, &listed, rig.now), 0);
    rig_turn(&rig);
    rig_expect(&rig, FRAME_UNLISTEN);
    rig_expect(&rig, FRAME_GROUP_SEEK);
    rig_expect(&rig, FRAME_GROUP_DELETE);
    rig_expect(&rig, FRAME_REDRIVE);
    rig_expect(&rig, FRAME_GROUP_LIST);
    rig_cut(&rig);
    cr_assert_eq(answers.code, CRIER_EUNKNOWN);
    cr_assert_eq(deleted.code, CRIER_EUNKNOWN);
    cr_assert_eq(redriven.code, CRIER_EUNKNOWN);
    cr_assert_eq(listed.count, 0);
    rig_reconnect(&rig, 1 << 20);
    rig_expect(&rig, FRAME_GROUP_LIST);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_group, a_drop_answers_what_is_left)
{
    struct rig rig;
    struct answers answers;
    ready(&rig);
    seek(&rig, &answers, -1);
    rig_expect(&rig, FRAME_LISTEN);
    engine_drop(rig.engine, CRIER_ECLOSED);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_ECLOSED);
    rig_finish(&rig);
}

Test(engine_group, a_list_that_does_not_move_on_ends_the_connection)
{
    struct rig rig;
    struct answers answers = {0};
    ready(&rig);
    cr_assert_eq(engine_group_list(rig.engine, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_GROUP_LIST);
    groups_send(&rig, ((const Wire__GroupList *)sent.message)->request, 0, NULL, 0, true);
    cr_assert_eq(rig.disconnects, 1);
    rig_finish(&rig);
}

Test(engine_group, names_that_cannot_be_are_refused)
{
    struct rig rig;
    struct answers answers = {0};
    struct crier_group_seek_options options = crier_group_seek_options_default();
    ready(&rig);
    cr_assert_eq(engine_group_delete(rig.engine, "", on_answer, &answers, rig.now), CRIER_EINVAL);
    cr_assert_eq(engine_group_describe(rig.engine, "g", "a..b", on_answer, &answers, rig.now), CRIER_EINVAL);
    cr_assert_eq(engine_group_seek(rig.engine, "g", "", &options, on_answer, &answers, rig.now),
                 CRIER_EINVAL);
    options.value = -1;
    cr_assert_eq(engine_group_seek(rig.engine, "g", "t", &options, on_answer, &answers, rig.now),
                 CRIER_EINVAL);
    cr_assert(engine_is_settled(rig.engine));
    cr_assert_eq(answers.count, 0);
    rig_finish(&rig);
}

Test(engine_group, a_broker_that_knows_no_shared_groups_is_not_asked_for_its_dead_letters)
{
    struct rig rig;
    struct answers answers = {0};
    ready(&rig);
    rig.engine->feature_level = 1;
    cr_assert_eq(engine_redrive(rig.engine, "t", 0, on_answer, &answers, rig.now), 0);
    rig_turn(&rig);
    cr_assert_eq(answers.count, 1);
    cr_assert_eq(answers.code, CRIER_ENOTSUP);
    cr_assert(rig_sent_nothing(&rig));
    cr_assert(engine_is_settled(rig.engine));
    rig_finish(&rig);
}
