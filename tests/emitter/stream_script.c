/* stream_script.c: see stream_script.h. */
#include "stream_script.h"

#include "base/random.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned weight, sides; /* 1: of a readable, 2: of a writable, 0: of any */
} op_rows[OPS] = {{"write", 30, 2},   {"end", 6, 2},      {"push", 10, 1},      {"eof", 4, 1},
                  {"unshift", 4, 1},  {"read", 12, 1},    {"resume", 6, 1},     {"pause", 6, 1},
                  {"onData", 10, 1},  {"offData", 3, 1},  {"onReadable", 5, 1}, {"offReadable", 3, 1},
                  {"pipe", 14, 1},    {"unpipe", 3, 1},   {"unpipeAll", 2, 1},  {"destroy", 3, 0},
                  {"finished", 4, 0}, {"pipeline", 4, 1}, {"state", 6, 0}};

const char *const stream_kind_names[CRIER_STREAM_KINDS] = {
    "data", "readable", "end", "drain", "finish", "error", "close", "pause", "resume", "pipe", "unpipe"};

/* ---- making scripts ---- */

static unsigned below(struct random *random, unsigned limit)
{
    return (unsigned)random_below(random, limit);
}

static bool fits(const struct script *script, const struct operation *op)
{
    unsigned sides = op_rows[op->op].sides;

    if (sides && !(script->streams[op->stream].type & sides))
        return false;
    if (op->op != PIPE && op->op != UNPIPE && op->op != PIPELINE)
        return true;
    if (op->a <= (int)op->stream || !(script->streams[op->a].type & 2)) /* forwards only: no circles */
        return false;
    for (int i = (int)op->stream + 1; op->op == PIPELINE && i < op->a; i++)
        if ((script->streams[i].type & 3) != 3)
            return false;
    return true;
}

static struct operation operation_make(struct random *random, const struct script *script)
{
    struct operation made;

    do {
        unsigned sum = 0, at;
        for (int i = 0; i < OPS; i++)
            sum += op_rows[i].weight;
        at = below(random, sum);
        made = (struct operation){.op = WRITE, .stream = below(random, STREAMS)};
        while (at >= op_rows[made.op].weight)
            at -= op_rows[made.op++].weight;
        made.a = (int)below(random, 5);
        made.b = below(random, 4) > 0;
        if (made.op == READ)
            made.a = below(random, 2) ? 9 : made.a;
        else if (made.op == WRITE || made.op == PUSH || made.op == UNSHIFT)
            made.a += 1;
        else if (made.op == PIPE || made.op == UNPIPE || made.op == PIPELINE)
            made.a = (int)below(random, STREAMS);
    } while (!fits(script, &made));
    return made;
}

static void plan_make(struct random *random, struct plan *plan, bool late, bool end)
{
    plan->when = late ? 1 + below(random, 2) : below(random, 3);
    plan->error = below(random, 30) == 0 ? 1 + below(random, 5) : 0;
    plan->count = below(random, 4);
    for (unsigned i = 0; i < plan->count; i++)
        plan->sizes[i] = 1 + below(random, 4);
    if (end && plan->count > 0 && below(random, 5) == 0)
        plan->sizes[plan->count - 1] = 0;
}

bool script_is_late_only(uint64_t seed)
{
    return seed % 2 == 0;
}

void script_make(struct script *script, uint64_t seed)
{
    static const unsigned types[] = {1, 2, 3, 7, 7};
    struct random random = random_seeded(seed);

    memset(script, 0, sizeof(*script));
    script->items = below(&random, 3) == 0;
    for (int i = 0; i < STREAMS; i++) {
        struct config *config = &script->streams[i];
        config->type = i == 0 ? 1 : i == STREAMS - 1 ? 2 : types[below(&random, 5)];
        config->read_high = 1 + below(&random, 6);
        config->write_high = 1 + below(&random, 6);
        config->ends_both = below(&random, 3) == 0;
        config->destroy_when = below(&random, 4) ? 0 : below(&random, 3);
        config->reads = 1 + below(&random, 4);
        config->final_when = (int)below(&random, 5) - 2;
        if (config->final_when < -1)
            config->final_when = -1;
        for (int j = 0; j < PLANS; j++) {
            plan_make(&random, &config->reading[j], false, true);
            plan_make(&random, &config->writing[j], script_is_late_only(seed), false);
        }
    }
    for (int i = 0; i < STREAMS; i++)
        for (int j = 0; j < HOOKS; j++) {
            script->streams[i].hooks[j].kind = (enum crier_stream_kind)below(&random, CRIER_STREAM_KINDS);
            script->streams[i].hooks[j].nth = 1 + below(&random, 3);
            script->streams[i].hooks[j].op = operation_make(&random, script);
        }
    script->turns = 1 + below(&random, TURNS);
    for (unsigned i = 0; i < script->turns; i++) {
        script->counts[i] = 1 + below(&random, TURN_OPS);
        for (unsigned j = 0; j < script->counts[i]; j++)
            script->ops[i][j] = operation_make(&random, script);
    }
}

static void operation_print(FILE *to, const struct operation *op)
{
    fprintf(to, "[\"%s\",%u,%d,%d]", op_rows[op->op].name, op->stream, op->a, op->b);
}

static void plans_print(FILE *to, const char *name, const struct plan *plans)
{
    fprintf(to, ",\"%s\":[", name);
    for (int i = 0; i < PLANS; i++) {
        fprintf(to, "%s{\"w\":%u,\"e\":%u,\"p\":[", i ? "," : "", plans[i].when, plans[i].error);
        for (unsigned j = 0; j < plans[i].count; j++)
            fprintf(to, "%s%u", j ? "," : "", plans[i].sizes[j]);
        fputs("]}", to);
    }
    fputc(']', to);
}

void script_print(FILE *to, const struct script *script)
{
    fprintf(to, "{\"i\":%d,\"s\":[", script->items);
    for (int i = 0; i < STREAMS; i++) {
        const struct config *config = &script->streams[i];
        fprintf(to, "%s{\"t\":%u,\"r\":%u,\"w\":%u,\"b\":%u,\"d\":%u,\"f\":%d,\"n\":%u", i ? "," : "",
                config->type, config->read_high, config->write_high, config->ends_both, config->destroy_when,
                config->final_when, config->reads);
        plans_print(to, "R", config->reading);
        plans_print(to, "W", config->writing);
        fputs(",\"h\":[", to);
        for (int j = 0; j < HOOKS; j++) {
            fprintf(to, "%s[\"%s\",%u,", j ? "," : "", stream_kind_names[config->hooks[j].kind],
                    config->hooks[j].nth);
            operation_print(to, &config->hooks[j].op);
            fputc(']', to);
        }
        fputs("]}", to);
    }
    fputs("],\"o\":[", to);
    for (unsigned i = 0; i < script->turns; i++) {
        fputs(i ? ",[" : "[", to);
        for (unsigned j = 0; j < script->counts[i]; j++) {
            fputs(j ? "," : "", to);
            operation_print(to, &script->ops[i][j]);
        }
        fputc(']', to);
    }
    fputs("]}\n", to);
}
