/* differential.c [--scripts N] [--seed S]: the same random scripts of operations on local: and on Node's own emitter.
 *
 * A script is some handlers, each with what it does when it is called (operations again) and whether it fails, and the
 * operations of the main program. What is called and returned becomes a trace: one line a script. differential.js runs all
 * scripts in one process of Node; the traces must be equal. A failing script is printed with both traces and its seed.
 *
 * Left out, because Node trips over its own array in the making: what takes listeners away or moves them while
 * "newListener" or "removeListener" is being told. Both sides pass such an operation by.
 *
 * Role: a test program of its own, so that it can run more scripts than ctest does. Thread: one. */
#include "base/random.h"
#include "crier/crier.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDLERS  6
#define ACTIONS   3
#define OPS       24
#define OPS_MAX   300 /* run by one script: handlers make more of them */
#define DEPTH_MAX 4
#define TOPICS    9
#define ERROR     5
#define LEFT      8

static const char *const topics[TOPICS] = {
    "a", "b", "c", "d", "e", "error", CRIER_ERROR_MONITOR, "newListener", "removeListener"};

enum op {
    ON,
    ONCE,
    PREPEND,
    PREPEND_ONCE,
    OFF,
    REMOVE_ALL,
    WIPE,
    EMIT,
    COUNT,
    COUNT_OF,
    NAMES,
    LISTENERS,
    RAW,
    MAX,
    KINDS
};
static const char *const op_names[KINDS] = {"on",        "once",      "prepend", "prependOnce", "off",
                                            "removeAll", "wipe",      "emit",    "count",       "countOf",
                                            "names",     "listeners", "raw",     "max"};
static const unsigned op_weights[KINDS] = {20, 10, 6, 4, 12, 3, 1, 40, 4, 3, 3, 2, 3, 2};

struct operation {
    enum op op;
    unsigned topic, handler;
};

struct script {
    struct {
        bool fails;
        unsigned count;
        struct operation actions[ACTIONS];
    } handlers[HANDLERS];
    unsigned count;
    struct operation operations[OPS];
};

/* ---- making scripts ---- */

static struct operation operation_make(struct random *random)
{
    uint64_t at, sum = 0;
    struct operation made = {ON, 0, 0};

    for (int i = 0; i < KINDS; i++)
        sum += op_weights[i];
    at = random_below(random, sum);
    while (at >= op_weights[made.op])
        at -= op_weights[made.op++];
    made.handler = (unsigned)random_below(random, HANDLERS);
    /* mostly the three topics that handlers meet on */
    made.topic = (unsigned)(random_below(random, 4) ? random_below(random, 3) : random_below(random, TOPICS));
    if (made.op == EMIT && made.topic > ERROR)
        made.topic -= 4;
    if (made.topic == LEFT && (made.op == ONCE || made.op == PREPEND_ONCE))
        made.op--; /* as ON and PREPEND: Node's removeAllListeners() trips over such a one that removes itself */
    return made;
}

static void script_make(struct script *script, uint64_t seed)
{
    struct random random;

    random = random_seeded(seed);
    memset(script, 0, sizeof(*script));
    for (int i = 0; i < HANDLERS; i++) {
        script->handlers[i].fails = random_below(&random, 6) == 0;
        script->handlers[i].count = (unsigned)random_below(&random, ACTIONS + 1);
        for (unsigned j = 0; j < script->handlers[i].count; j++)
            script->handlers[i].actions[j] = operation_make(&random);
    }
    script->count = 4 + (unsigned)random_below(&random, OPS - 3);
    for (unsigned i = 0; i < script->count; i++)
        script->operations[i] = operation_make(&random);
}

static void operations_print(FILE *to, const struct operation *operations, unsigned count)
{
    fputc('[', to);
    for (unsigned i = 0; i < count; i++)
        fprintf(to, "%s[\"%s\",%u,%u]", i ? "," : "", op_names[operations[i].op], operations[i].topic,
                operations[i].handler);
    fputc(']', to);
}

static void script_print(FILE *to, const struct script *script)
{
    fputs("{\"h\":[", to);
    for (int i = 0; i < HANDLERS; i++) {
        fprintf(to, "%s{\"f\":%d,\"a\":", i ? "," : "", script->handlers[i].fails);
        operations_print(to, script->handlers[i].actions, script->handlers[i].count);
        fputc('}', to);
    }
    fputs("],\"o\":", to);
    operations_print(to, script->operations, script->count);
    fputs("}\n", to);
}

/* ---- running one on local: ---- */

struct run {
    const struct script *script;
    crier *bus;
    FILE *trace;
    const char *separator;
    unsigned ops, depth, special, wiping, listed;
    bool monitored;
    struct handler {
        struct run *run;
        unsigned index;
    } handlers[HANDLERS];
};

static void operation_run(struct run *run, const struct operation *operation);

static void say(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct run *run, const char *format, ...)
{
    va_list arguments;

    fputs(run->separator, run->trace);
    run->separator = " ";
    va_start(arguments, format);
    vfprintf(run->trace, format, arguments);
    va_end(arguments);
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    const struct handler *handler = ctx;
    struct run *run = handler->run;
    const crier_listener_info *about = event->listener;
    (void)bus;

    if (about && strcmp(about->topic, CRIER_WARNING) == 0)
        return 0; /* ours, to see warnings */
    if (about)
        say(run, "h%u(%s,h%u)", handler->index, about->topic, ((const struct handler *)about->ctx)->index);
    else
        say(run, "h%u@%s", handler->index, event->error ? "error" : event->topic);
    run->special += about != NULL;
    if (run->depth < DEPTH_MAX) {
        run->depth++;
        for (unsigned i = 0; i < run->script->handlers[handler->index].count; i++)
            operation_run(run, &run->script->handlers[handler->index].actions[i]);
        run->depth--;
    }
    run->special -= about != NULL;
    return run->script->handlers[handler->index].fails ? -1 : 0;
}

static int on_warning(crier *bus, const crier_event *event, void *ctx)
{
    struct run *run = ctx;
    (void)bus;

    if (!run->wiping)
        say(run, "warn(%s,%zu)", event->listener->topic, event->listener->listener_count);
    return 0;
}

static void hear_warnings(struct run *run)
{
    crier_on(run->bus, CRIER_WARNING, on_warning, run);
}

static void list_name(void *ctx, const char *name)
{
    struct run *run = ctx;

    if (strcmp(name, CRIER_WARNING) == 0)
        return;
    if (strcmp(name, CRIER_ERROR_MONITOR) == 0) {
        run->monitored = true; /* a symbol in Node: those come last */
        return;
    }
    fprintf(run->trace, "%s%s", run->listed++ ? "," : "", name);
}

static void list_listener(void *ctx, const crier_listener_info *info)
{
    struct run *run = ctx;

    fprintf(run->trace, "%s%u", run->listed++ ? "," : "", ((const struct handler *)info->ctx)->index);
}

static void list_raw(void *ctx, const crier_listener_info *info)
{
    struct run *run = ctx;

    if (info->count == 0)
        list_listener(ctx, info);
    else /* a wrapper, whose ctx is not the handler's: the plain listing names it, at the same place */
        fprintf(run->trace, "%s*", run->listed++ ? "," : "");
}

static void emit_run(struct run *run, unsigned topic)
{
    struct crier_emit_options options = crier_emit_options_default();
    bool had = false;
    int rc;

    options.error = topic == ERROR ? CRIER_EIO : 0;
    options.ret_had_listeners = &had;
    rc = crier_emit_with(run->bus, topics[topic], NULL, 0, &options);
    if (rc == CRIER_EIO)
        say(run, "emit!");
    else
        say(run, "emit=%s", had ? "true" : "false");
    if (rc == CRIER_EHANDLER)
        say(run, "unheard");
}

static void list_run(struct run *run, enum op op, const char *topic)
{
    run->listed = 0;
    run->monitored = false;
    say(run, op == NAMES ? "names=" : op == LISTENERS ? "l=" : "r=");
    if (op == NAMES)
        crier_event_names(run->bus, list_name, run);
    else if (op == LISTENERS)
        crier_listeners(run->bus, topic, list_listener, run);
    else
        crier_raw_listeners(run->bus, topic, list_raw, run);
    if (run->monitored)
        fprintf(run->trace, "%s%s", run->listed++ ? "," : "", CRIER_ERROR_MONITOR);
}

static void operation_run(struct run *run, const struct operation *operation)
{
    const char *topic = topics[operation->topic];
    void *ctx = &run->handlers[operation->handler];
    enum op op = operation->op;
    bool changes = op == PREPEND || op == PREPEND_ONCE || op == OFF || op == REMOVE_ALL || op == WIPE ||
                   op == EMIT; /* of a `once` */

    if (++run->ops > OPS_MAX || (run->special > 0 && changes))
        return;
    if (op == ON)
        crier_on(run->bus, topic, on_event, ctx);
    else if (op == PREPEND)
        crier_prepend(run->bus, topic, on_event, ctx);
    else if (op == ONCE)
        crier_once(run->bus, topic, on_event, ctx);
    else if (op == PREPEND_ONCE)
        crier_prepend_once(run->bus, topic, on_event, ctx);
    else if (op == OFF)
        (void)crier_off(run->bus, topic, on_event, ctx);
    else if (op == REMOVE_ALL)
        crier_remove_all(run->bus, topic);
    else if (op == EMIT)
        emit_run(run, operation->topic);
    else if (op == COUNT || op == COUNT_OF)
        say(run, "n=%d", crier_listener_count(run->bus, topic, op == COUNT ? NULL : on_event, ctx));
    else if (op == MAX)
        crier_set_max_listeners(run->bus, (int)operation->handler);
    else if (op != WIPE)
        list_run(run, op, topic);
    if (op != WIPE)
        return;
    run->wiping++;
    crier_remove_all(run->bus, NULL);
    run->wiping--;
    hear_warnings(run);
}

static void script_run(const struct script *script, FILE *trace)
{
    struct run run = {.script = script, .trace = trace, .separator = ""};

    if (crier_open("local:", NULL, &run.bus) < 0)
        abort();
    for (unsigned i = 0; i < HANDLERS; i++)
        run.handlers[i] = (struct handler){&run, i};
    hear_warnings(&run);
    for (unsigned i = 0; i < script->count; i++) {
        operation_run(&run, &script->operations[i]);
        if (crier_flush(run.bus, 0) < 0)
            say(&run, "unheard");
        say(&run, ";");
    }
    fputc('\n', trace);
    crier_close(run.bus);
}

/* ---- comparing ---- */

static FILE *file_open(const char *folder, const char *name, const char *mode, char *path, size_t size)
{
    FILE *file;

    snprintf(path, size, "%s/%s", folder, name);
    if (!(file = fopen(path, mode))) {
        perror(path);
        exit(1);
    }
    return file;
}

static void node_run(const char *program, const char *scripts, const char *traces)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execlp("node", "node", program, scripts, traces, (char *)NULL);
        perror("node (Debian: nodejs)");
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "differential: node failed\n");
        exit(1);
    }
}

/* Which script differs first; `scripts`: none. */
static unsigned differs(FILE *ours, FILE *nodes, unsigned scripts, size_t *ret_bytes)
{
    char *our = NULL, *node = NULL;
    size_t our_size = 0, node_size = 0;
    unsigned i;

    for (i = 0; i < scripts; i++) {
        if (getline(&our, &our_size, ours) < 0 || getline(&node, &node_size, nodes) < 0)
            break;
        if (strcmp(our, node) != 0) {
            printf("local: %sNode:  %s", our, node);
            break;
        }
        *ret_bytes += strlen(our);
    }
    free(our);
    free(node);
    return i;
}

static int compare(FILE *ours, FILE *nodes, uint64_t seed, unsigned scripts)
{
    size_t bytes = 0;
    unsigned at = differs(ours, nodes, scripts, &bytes);
    struct script script;

    if (at == scripts) {
        printf("%u scripts from seed %llu: equal traces, %zu bytes\n", scripts, (unsigned long long)seed,
               bytes);
        return 0;
    }
    script_make(&script, seed + at);
    printf("seed %llu differs: ", (unsigned long long)(seed + at));
    script_print(stdout, &script);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option rows[] = {
        {"scripts", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'}, {0}};
    char folder[] = "/tmp/crier-differential-XXXXXX", scripts_path[128], ours_path[128], nodes_path[128];
    unsigned scripts = 10000;
    uint64_t seed = 1;
    struct script script;
    FILE *file, *ours, *nodes;
    int rc;

    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'n')
            scripts = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (!mkdtemp(folder)) {
        perror("mkdtemp");
        return 1;
    }
    file = file_open(folder, "scripts", "w", scripts_path, sizeof(scripts_path));
    ours = file_open(folder, "ours", "w+", ours_path, sizeof(ours_path));
    for (unsigned i = 0; i < scripts; i++) {
        script_make(&script, seed + i);
        script_print(file, &script);
        script_run(&script, ours);
    }
    fclose(file);
    rewind(ours);
    snprintf(nodes_path, sizeof(nodes_path), "%s/nodes", folder);
    node_run(DIFFERENTIAL_JS, scripts_path, nodes_path);
    nodes = file_open(folder, "nodes", "r", nodes_path, sizeof(nodes_path));
    rc = compare(ours, nodes, seed, scripts);
    fclose(ours);
    fclose(nodes);
    unlink(scripts_path);
    unlink(ours_path);
    unlink(nodes_path);
    rmdir(folder);
    return rc;
}
