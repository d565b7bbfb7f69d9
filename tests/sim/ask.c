/* ask.c: what people ask a broker in the middle of everything else: topics, groups and their positions, seek and delete.
 *
 * Every question has one end: an answer, or a code (an answer that came page by page ends once). What a seek or a delete
 * did is in the log, where the checker finds it. */
#include "tests/sim/sim.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

#define INSPECT_POSITION 12345

enum question {
    ASK_TOPIC_LIST,
    ASK_TOPIC_DESCRIBE,
    ASK_GROUP_LIST,
    ASK_GROUP_DESCRIBE,
    ASK_GROUP_SEEK,
    ASK_GROUP_DELETE,
    ASK_PING,
    ASK_INSPECT,
    ASK_CONFIRM_TIME,
    QUESTIONS
};

static void answered(void *ctx, const struct engine_answer *answer)
{
    struct client *client = ctx;
    sim_trace(client->sim, TRACE_ANSWERED, client->id, client->questions, (uint64_t)-answer->code);
    if (answer->more)
        return;
    CHECK(client->questions > 0);
    client->questions--;
}

static int seek(struct client *client, const char *group, const char *topic)
{
    struct sim *sim = client->sim;
    struct crier_group_seek_options options = crier_group_seek_options_default();
    options.to = (enum crier_from)sim_below(sim, 4);
    if (options.to == CRIER_OFFSET)
        options.value = (int64_t)sim_below(sim, 10);
    else if (options.to == CRIER_TIME)
        options.value = sim_wall_us(sim) - (int64_t)sim_below(sim, 200000);
    if (sim_chance(sim, 300))
        options.partition = (int32_t)sim_below(sim, SIM_PARTITIONS_MAX);
    return engine_group_seek(client->engine, group, topic, &options, answered, client, sim->now_us);
}

/* Of each part of a question nothing may get lost on the way. */
static void inspected(void *ctx, const struct engine_answer *answer)
{
    struct client *client = ctx;
    const struct crier_inspected *is = answer->inspected;
    struct report *report = &client->sim->report;
    for (size_t i = 0; answer->code == 0 && is && i < is->byte_count; i++)
        if (is->bytes[i] != disk_file_byte(INSPECT_POSITION + i)) {
            report_add(report, 6, "byte %zu of what was read of a file is another", i);
            break;
        }
    if (answer->code == 0 && (!is || is->entries > client->sim->disk.entry_count))
        report_add(report, 6, "a scan found more than there is");
    if (answer->code == 0 && is && is->faults &&
        (is->fault_count != 1 || strcmp(is->fault[0].what, "made up") != 0))
        report_add(report, 6, "a fault that a scan found was not told");
    answered(ctx, answer);
}

static int inspect(struct client *client)
{
    struct sim *sim = client->sim;
    struct crier_inspection inspection = {.struct_size = sizeof(inspection), .position = INSPECT_POSITION};
    inspection.what = (enum crier_inspect_what)sim_below(sim, 4);
    inspection.after = sim_below(sim, 2);
    inspection.file = (enum crier_inspect_file)sim_below(sim, 3);
    inspection.number = sim_below(sim, 3);
    inspection.size = (uint32_t)PICK(sim, 1, 1000, 40000);
    return engine_inspect(client->engine, &inspection, inspected, client, sim->now_us);
}

void client_ask(struct client *client)
{
    struct sim *sim = client->sim;
    enum question question = (enum question)sim_below(sim, QUESTIONS);
    uint32_t topic_number = (uint32_t)sim_below(sim, sim->plan.topics);
    char topic[16], group[16];
    struct crier_topic_trim_options trim = crier_topic_trim_options_default();
    int rc = 0;
    snprintf(topic, sizeof(topic), "t%u", topic_number);
    snprintf(group, sizeof(group), "g%u", (unsigned)sim_below(sim, SIM_GROUPS_MAX));
    sim_trace(sim, TRACE_ASK, client->id, question, topic_number);
    client->questions++;
    switch (question) {
    case ASK_TOPIC_LIST:
        rc = engine_topic_list(client->engine, answered, client, sim->now_us);
        break;
    case ASK_TOPIC_DESCRIBE:
        rc = engine_topic_describe(client->engine, topic, answered, client, sim->now_us);
        break;
    case ASK_GROUP_LIST:
        rc = engine_group_list(client->engine, answered, client, sim->now_us);
        break;
    case ASK_GROUP_DESCRIBE:
        rc = engine_group_describe(client->engine, group, topic, answered, client, sim->now_us);
        break;
    case ASK_GROUP_SEEK:
        rc = seek(client, group, topic);
        break;
    case ASK_GROUP_DELETE:
        rc = engine_group_delete(client->engine, group, answered, client, sim->now_us);
        break;
    case ASK_PING:
        rc = engine_ping(client->engine, answered, client, sim->now_us);
        break;
    case ASK_INSPECT:
        rc = inspect(client);
        break;
    case ASK_CONFIRM_TIME:
        rc = engine_topic_trim(client->engine, "", &trim, answered, client, sim->now_us);
        break;
    case QUESTIONS:
        break;
    }
    CHECK(rc == 0 || rc == CRIER_ENOMEM);
    client->questions -= rc < 0;
    client->wake = true;
}
