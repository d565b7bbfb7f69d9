/* stream_differential.c [--scripts N] [--seed S]: the same random scripts of operations on crier's streams and on Node's own.
 *
 * A script is some streams, each with a plan (what its operations do, and when: at once, on the next tick, or in an immediate), with
 * hooks (an operation that the n-th event of a kind runs) and turns: operations of the main program that run together, with three
 * immediates between two turns. What is called, told and returned becomes a trace: one line a script. stream_differential.js
 * runs all scripts in one process of Node; the traces must be equal. A failing script is printed with both traces and its seed.
 *
 * The loop is a bus's that never connects: streams need no broker.
 *
 * Role: a test program of its own, so that it can run more scripts than ctest does. Thread: one. */
#include "stream_script.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPS_MAX   200
#define TRACE_MAX 400 /* words */
#define READS_MAX 12  /* then a source ends: one that flows and never ends never returns, in Node as here */

/* ---- running one ---- */

struct run {
    struct run *before; /* kept until the bus is closed: a future of it may be settled only then */
    const struct script *script;
    crier *bus;
    FILE *trace;
    unsigned words, ops, turn, wait;
    unsigned char bytes;
    bool done;
    struct streamer {
        struct run *run;
        const struct config *config;
        unsigned index, reads, writes, told[CRIER_STREAM_KINDS];
        crier_stream *stream;
    } streams[STREAMS];
};

static void say(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->words >= TRACE_MAX)
        return;
    fputs(run->words++ ? " " : "", run->trace);
    va_start(arguments, format);
    vfprintf(run->trace, format, arguments);
    va_end(arguments);
}

static const char *code_name(int code)
{
    static char text[16];

    if (code <= -1000)
        snprintf(text, sizeof(text), "E%d", -1000 - code);
    else
        snprintf(text, sizeof(text), "%s",
                 code == 0                 ? "ok"
                 : code == CRIER_EINVAL    ? "inval"
                 : code == CRIER_ECLOSED   ? "closed"
                 : code == CRIER_ECANCELED ? "canceled"
                                           : "?");
    return text;
}

static const char *shown(const crier_chunk *chunk)
{
    static char text[32];

    if (chunk && chunk->size > 0)
        snprintf(text, sizeof(text), "%zu:%d", chunk->size, *(const unsigned char *)chunk->data);
    else
        snprintf(text, sizeof(text), chunk ? "0:" : "-");
    return text;
}

static const char *truth(int rc)
{
    return rc == 1 ? "true" : "false";
}

static const unsigned char *bytes_make(struct run *run, size_t size)
{
    static unsigned char bytes[16];

    for (size_t i = 0; i < size; i++)
        bytes[i] = run->bytes++;
    return bytes;
}

/* ---- what happens later ---- */

struct later {
    void (*call)(struct streamer *streamer, const struct plan *plan, int code);
    struct streamer *streamer;
    const struct plan *plan;
    int code;
};

static void later_run(crier *bus, void *ctx)
{
    struct later later = *(struct later *)ctx;

    (void)bus;
    free(ctx);
    later.call(later.streamer, later.plan, later.code);
}

static void later(unsigned when, struct later what)
{
    struct later *kept;

    if (when == 0) {
        what.call(what.streamer, what.plan, what.code);
        return;
    }
    kept = malloc(sizeof(*kept));
    if (!kept)
        abort();
    *kept = what;
    (void)(when == 1 ? crier_next_tick : crier_immediate)(what.streamer->run->bus, later_run, kept);
}

static void pushes(struct streamer *streamer, const struct plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++) {
        if (plan->sizes[i] == 0) {
            crier_stream_push_chunk(streamer->stream, NULL);
            return;
        }
        int rc =
            crier_stream_push(streamer->stream, bytes_make(streamer->run, plan->sizes[i]), plan->sizes[i]);
        say(streamer->run, "s%u.push=%s", streamer->index, truth(rc));
    }
}

static void read_go(struct streamer *streamer, const struct plan *plan, int code)
{
    (void)code;
    if (streamer->reads > READS_MAX)
        crier_stream_push_chunk(streamer->stream, NULL);
    else if (plan->error)
        crier_stream_destroy(streamer->stream, -1000 - (int)plan->error, NULL);
    else
        pushes(streamer, plan);
}

static void do_read(crier_stream *stream, size_t size, void *ctx)
{
    struct streamer *streamer = ctx;
    const struct plan *plan = &streamer->config->reading[streamer->reads++ % PLANS];

    (void)stream, (void)size;
    say(streamer->run, "s%u.read", streamer->index);
    later(plan->when, (struct later){read_go, streamer, plan, 0});
}

static void write_go(struct streamer *streamer, const struct plan *plan, int code)
{
    (void)code;
    if (streamer->config->type == CRIER_TRANSFORM && !plan->error)
        pushes(streamer, plan);
    crier_stream_done(streamer->stream, plan->error ? -1000 - (int)plan->error : 0, NULL);
}

static void do_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct streamer *streamer = ctx;
    const struct plan *plan = &streamer->config->writing[streamer->writes++ % PLANS];

    (void)stream;
    say(streamer->run, "s%u.%s(%s)", streamer->index,
        streamer->config->type == CRIER_TRANSFORM ? "transform" : "write", shown(chunk));
    later(plan->when, (struct later){write_go, streamer, plan, 0});
}

static void final_go(struct streamer *streamer, const struct plan *plan, int code)
{
    struct crier_stream_state state;

    (void)plan, (void)code;
    crier_stream_state(streamer->stream, &state);
    if (streamer->config->type == CRIER_TRANSFORM && !state.destroyed)
        crier_stream_push(streamer->stream, bytes_make(streamer->run, 1), 1);
    crier_stream_done(streamer->stream, 0, NULL);
}

static void do_final(crier_stream *stream, void *ctx)
{
    struct streamer *streamer = ctx;

    (void)stream;
    say(streamer->run, "s%u.%s", streamer->index,
        streamer->config->type == CRIER_TRANSFORM ? "flush" : "final");
    later((unsigned)streamer->config->final_when, (struct later){final_go, streamer, NULL, 0});
}

static void destroy_go(struct streamer *streamer, const struct plan *plan, int code)
{
    (void)plan;
    crier_stream_destroy_done(streamer->stream, code, NULL);
}

static void do_destroy(crier_stream *stream, int code, void *ctx)
{
    struct streamer *streamer = ctx;

    (void)stream;
    say(streamer->run, "s%u.destroy(%s)", streamer->index, code_name(code));
    later(streamer->config->destroy_when, (struct later){destroy_go, streamer, NULL, code});
}

/* ---- what it tells ---- */

static void operation_run(struct run *run, const struct operation *op);

static void hook(struct streamer *streamer, enum crier_stream_kind kind)
{
    unsigned nth = ++streamer->told[kind];

    for (int i = 0; i < HOOKS; i++)
        if (streamer->config->hooks[i].kind == kind && streamer->config->hooks[i].nth == nth)
            operation_run(streamer->run, &streamer->config->hooks[i].op);
}

static unsigned index_of(struct run *run, const crier_stream *stream)
{
    unsigned i = 0;

    while (run->streams[i].stream != stream)
        i++;
    return i;
}

static void on_event(const crier_stream_event *event, void *ctx)
{
    struct streamer *streamer = ctx;
    const char *name = stream_kind_names[event->kind];

    if (event->kind == CRIER_STREAM_ERROR)
        say(streamer->run, "s%u.%s(%s)", streamer->index, name, code_name(event->code));
    else if (event->other)
        say(streamer->run, "s%u.%s(s%u)", streamer->index, name, index_of(streamer->run, event->other));
    else if (event->chunk)
        say(streamer->run, "s%u.%s(%s)", streamer->index, name, shown(event->chunk));
    else
        say(streamer->run, "s%u.%s", streamer->index, name);
    for (unsigned i = 0; event->kind == CRIER_STREAM_READABLE && i < streamer->config->reads; i++) {
        crier_chunk *chunk;
        if (crier_stream_read(streamer->stream, CRIER_STREAM_ALL, &chunk) < 0)
            abort();
        say(streamer->run, "s%u.got(%s)", streamer->index, shown(chunk));
        if (!chunk)
            break;
        crier_chunk_release(chunk);
    }
    hook(streamer, event->kind);
}

/* ---- operations ---- */

static int on_settled(struct run *run, const char *name, const crier_result *result)
{
    say(run, "%s=%s", name, code_name(result->code));
    return 0;
}

static int on_finished(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)ret;
    return on_settled(ctx, "finished", result);
}

static int on_pipeline(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)ret;
    return on_settled(ctx, "pipeline", result);
}

static void future_hear(struct run *run, int rc, crier_future *future, crier_continuation *told)
{
    if (rc < 0 || crier_future_then(future, told, told, run, NULL) < 0)
        abort();
    crier_future_release(future);
}

static void read_run(struct run *run, crier_stream *stream, int size)
{
    crier_chunk *chunk;

    if (crier_stream_read(stream, size == 9 ? CRIER_STREAM_ALL : (size_t)size, &chunk) < 0)
        abort();
    say(run, "read=%s", shown(chunk));
    crier_chunk_release(chunk);
}

static void state_run(struct run *run, crier_stream *stream)
{
    struct crier_stream_state state;

    crier_stream_state(stream, &state);
    say(run, "state=%zu,%zu,%s,%d", state.readable_length, state.writable_length,
        !state.has_mode ? "n"
        : state.flowing ? "y"
                        : "f",
        state.need_drain);
}

static void unshift_run(struct run *run, crier_stream *stream, size_t size)
{
    crier_event event = {.value = bytes_make(run, size), .value_size = size};
    crier_chunk *chunk;

    if ((run->script->items ? crier_chunk_create_item(&event, NULL, 0, &chunk)
                            : crier_chunk_create(event.value, size, &chunk)) < 0)
        abort();
    say(run, "unshift=%s", truth(crier_stream_unshift(stream, chunk)));
    crier_chunk_release(chunk);
}

static void connect_run(struct run *run, const struct operation *op, crier_stream *stream)
{
    crier_stream *to = run->streams[op->a % STREAMS].stream, *all[STREAMS];
    crier_future *future;
    size_t count = 0;
    int rc;

    if (op->op == PIPE) {
        crier_stream_pipe(stream, to, op->b);
    } else if (op->op == UNPIPE) {
        crier_stream_unpipe(stream, to);
    } else if (op->op == UNPIPE_ALL) {
        crier_stream_unpipe(stream, NULL);
    } else if (op->op == FINISHED) {
        rc = crier_stream_finished(stream, &future);
        future_hear(run, rc, future, on_finished);
    } else {
        for (unsigned i = op->stream; i <= (unsigned)op->a; i++)
            all[count++] = run->streams[i].stream;
        rc = crier_pipeline(run->bus, all, count, &future);
        future_hear(run, rc, future, on_pipeline);
    }
}

static void operation_run(struct run *run, const struct operation *op)
{
    struct streamer *streamer = &run->streams[op->stream];
    crier_stream *stream = streamer->stream;
    size_t size = (size_t)op->a;
    const unsigned char *bytes;

    if (++run->ops > OPS_MAX)
        return;
    switch (op->op) {
    case WRITE:
        bytes = bytes_make(run, size);
        /* the trace of what it calls comes first */
        {
            int rc = crier_stream_write(stream, bytes, size);
            say(run, "write=%s", truth(rc));
        }
        break;
    case PUSH:
        bytes = bytes_make(run, size);
        {
            int rc = crier_stream_push(stream, bytes, size);
            say(run, "push=%s", truth(rc));
        }
        break;
    case END:
        crier_stream_end(stream);
        break;
    case END_PUSH:
        crier_stream_push_chunk(stream, NULL);
        break;
    case UNSHIFT:
        unshift_run(run, stream, size);
        break;
    case READ:
        read_run(run, stream, op->a);
        break;
    case RESUME:
        crier_stream_resume(stream);
        break;
    case PAUSE:
        crier_stream_pause(stream);
        break;
    case ON_DATA:
        crier_stream_on(stream, CRIER_STREAM_DATA, on_event, streamer);
        break;
    case OFF_DATA:
        crier_stream_off(stream, CRIER_STREAM_DATA, on_event, streamer);
        break;
    case ON_READABLE:
        crier_stream_on(stream, CRIER_STREAM_READABLE, on_event, streamer);
        break;
    case OFF_READABLE:
        crier_stream_off(stream, CRIER_STREAM_READABLE, on_event, streamer);
        break;
    case DESTROY:
        crier_stream_destroy(stream, op->a ? -1000 - op->a : 0, NULL);
        break;
    case STATE:
        state_run(run, stream);
        break;
    default:
        connect_run(run, op, stream);
        break;
    }
}

static void step(crier *bus, void *ctx)
{
    struct run *run = ctx;
    const struct script *script = run->script;

    if (run->wait > 0) {
        run->wait--;
    } else if (run->turn < script->turns) {
        for (unsigned i = 0; i < script->counts[run->turn]; i++)
            operation_run(run, &script->ops[run->turn][i]);
        say(run, ";");
        run->turn++;
        run->wait = run->turn == script->turns ? 30 : 3;
    } else {
        for (unsigned i = 0; i < STREAMS; i++)
            state_run(run, run->streams[i].stream);
        run->done = true;
        run->words = TRACE_MAX;
        return;
    }
    crier_immediate(bus, step, run);
}

static void streamer_open(struct run *run, unsigned index)
{
    struct streamer *streamer = &run->streams[index];
    const struct config *config = &run->script->streams[index];
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops), .destroy = do_destroy};

    *streamer = (struct streamer){.run = run, .config = config, .index = index};
    options.readable_high_watermark = config->read_high;
    options.writable_high_watermark = config->write_high;
    options.readable_items = options.writable_items = run->script->items;
    options.ends_both = config->ends_both;
    if (config->type == CRIER_TRANSFORM) {
        ops.transform = do_write;
        ops.flush = config->final_when >= 0 ? do_final : NULL;
    } else {
        ops.read = config->type & 1 ? do_read : NULL;
        ops.write = config->type & 2 ? do_write : NULL;
        ops.final = config->type & 2 && config->final_when >= 0 ? do_final : NULL;
    }
    if (crier_stream_create(run->bus, (enum crier_stream_type)config->type, &ops, streamer, &options,
                            &streamer->stream) < 0)
        abort();
    for (int kind = CRIER_STREAM_END; kind < CRIER_STREAM_KINDS; kind++)
        if (crier_stream_on(streamer->stream, (enum crier_stream_kind)kind, on_event, streamer) < 0)
            abort();
}

static struct run *script_run(crier *bus, const struct script *script, FILE *trace, struct run *before)
{
    struct run *run = calloc(1, sizeof(*run));

    if (!run)
        abort();
    run->before = before;
    run->script = script;
    run->bus = bus;
    run->trace = trace;
    for (unsigned i = 0; i < STREAMS; i++)
        streamer_open(run, i);
    crier_immediate(bus, step, run);
    for (int i = 0; i < 10000 && !run->done; i++)
        crier_process(bus);
    if (!run->done)
        abort();
    fputc('\n', trace);
    run->ops = OPS_MAX;
    for (unsigned i = 0; i < STREAMS; i++)
        crier_stream_destroy(run->streams[i].stream, 0, NULL);
    for (int i = 0; i < 20; i++) /* what is under way */
        crier_process(bus);
    for (unsigned i = 0; i < STREAMS; i++)
        crier_stream_release(run->streams[i].stream);
    crier_process(bus);
    run->words = TRACE_MAX; /* it says no more */
    return run;
}

/* ---- Node's side ---- */

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
        fprintf(stderr, "stream_differential: node failed\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const struct option rows[] = {
        {"scripts", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'}, {0}};
    char folder[] = "/tmp/crier-differential-XXXXXX", scripts_path[128], ours_path[128], nodes_path[128];
    struct crier_options options = crier_options_default();
    unsigned scripts = 10000, differ;
    uint64_t seed = 1;
    unsigned compared = 0;
    struct script script;
    FILE *file, *ours, *nodes;
    struct run *last = NULL;
    crier *bus;

    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'n')
            scripts = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    options.polled = true;
    options.connect_timeout_ms = 0;
    options.close_timeout_ms = 0;
    if (!mkdtemp(folder) || crier_open("unix:/nowhere/at/all", &options, &bus) < 0) {
        perror("stream_differential");
        return 1;
    }
    file = file_open(folder, "scripts", "w", scripts_path, sizeof(scripts_path));
    ours = file_open(folder, "ours", "w+", ours_path, sizeof(ours_path));
    for (unsigned i = 0; i < scripts; i++) {
        script_make(&script, seed + i);
        script_print(file, &script);
        last = script_run(bus, &script, ours, last);
    }
    crier_close(bus);
    for (struct run *before; last; last = before) {
        before = last->before;
        free(last);
    }
    fclose(file);
    rewind(ours);
    snprintf(nodes_path, sizeof(nodes_path), "%s/nodes", folder);
    node_run(DIFFERENTIAL_JS, scripts_path, nodes_path);
    nodes = file_open(folder, "nodes", "r", nodes_path, sizeof(nodes_path));
    differ = script_compare(ours, nodes, seed, scripts, &compared);
    printf("%u scripts from seed %llu, %u of them compared: %u differ\n", scripts, (unsigned long long)seed,
           compared, differ);
    fclose(ours);
    fclose(nodes);
    unlink(scripts_path);
    unlink(ours_path);
    unlink(nodes_path);
    rmdir(folder);
    return differ > 0 || compared == 0;
}
