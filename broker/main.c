/* main.c: crierd: configuration, log, signals, and a broker; and what is said when one of them is not there.
 *
 * Exit status: 0 stopped as asked, 1 failed (one clear sentence on standard error), 2 wrong use. A second SIGTERM or
 * SIGINT exits at once, as after a crash, and so does closing that takes too long; the next start recovers. */
#include "base/shutdown_hooks.h"
#include "base/standard_fds.h"
#include "broker/allocator.h"
#include "broker/broker.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CLOSE_DEADLINE_MS 60000 /* after --drain, which is for what is in flight */

static void announce(void *ctx, const char *address)
{
    (void)ctx;
    printf("listening on %s\n", address);
    fflush(stdout);
}

static void say(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "crierd: %s\n", sentence);
}

/* ---- signals ---- */

struct crierd {
    int argc;
    char **argv;
    struct config *config; /* what crierd runs with */
    struct log *log;
    struct shutdown shutdown;
    bool stop_asked;
};

static void log_problem(void *ctx, const char *sentence)
{
    const struct crierd *crierd = ctx;
    LOG_ERROR(crierd->log, "CONFIG-INVALID", "%s", sentence);
}

/* Reads one small local file on the reactor's thread, when an operator asks for it. */
static void reload(struct crierd *crierd, struct broker *broker)
{
    struct config wanted;
    if (!crierd->config->config_path)
        return;
    if (config_load(crierd->argc, crierd->argv, log_problem, crierd, &wanted) < 0) {
        LOG_ERROR(crierd->log, "CONFIG-KEPT", "nothing was changed; mend the file and send SIGHUP again");
        return;
    }
    config_change(crierd->config, &wanted, crierd->log);
    config_finish(&wanted);
    broker_reconfigure(broker, crierd->config);
}

static void hang_up(struct crierd *crierd, struct broker *broker)
{
    int rc = log_reopen(crierd->log);
    if (rc < 0)
        LOG_ERROR(crierd->log, "LOG-REOPEN", "the log file could not be reopened: %s; the old one is kept",
                  strerror(-rc));
    else
        LOG_INFO(crierd->log, "LOG-REOPEN", "log file reopened");
    reload(crierd, broker);
}

static const char *signal_name(int number)
{
    return number == SIGINT ? "SIGINT" : "SIGTERM";
}

/* Somebody asks once more (signal > 0), or closing has taken too long: any thread. */
static void stop_now(void *ctx, int number)
{
    const struct crierd *crierd = ctx;
    if (number > 0)
        LOG_WARN(crierd->log, "STOP-NOW", "second %s: exiting at once; the next start recovers",
                 signal_name(number));
    else
        LOG_WARN(crierd->log, "STOP-NOW", "not closed after %d s: exiting at once; the next start recovers",
                 CLOSE_DEADLINE_MS / 1000);
    _exit(1);
}

static void stop(struct crierd *crierd, struct broker *broker, int number)
{
    if (crierd->stop_asked)
        stop_now(crierd, number);
    crierd->stop_asked = true;
    broker_stop(broker, signal_name(number));
}

/* On the reactor's thread, which is the only one of crierd's that looks at signals, until the broker is closed. */
static void on_signals(struct broker *broker, void *ctx)
{
    struct crierd *crierd = ctx;
    int signal;
    while ((signal = shutdown_next(&crierd->shutdown)) > 0) {
        if (signal == SIGHUP)
            hang_up(crierd, broker);
        else
            stop(crierd, broker, signal);
    }
}

/* ---- serving ---- */

static int close_broker(void *ctx)
{
    broker_close(ctx);
    return 0;
}

/* What is in flight is finished; what is left is threads to join and files to close, on a disk that may not answer. */
static void close_in_time(struct crierd *crierd, struct broker *broker)
{
    const struct shutdown_hook hooks[] = {{.name = "close the broker", .run = close_broker, .ctx = broker}};
    const struct shutdown_rules rules = {.deadline_ms = CLOSE_DEADLINE_MS, .force = stop_now, .ctx = crierd};
    (void)shutdown_run(&crierd->shutdown, hooks, 1, &rules);
}

static int serve(struct crierd *crierd)
{
    char error[512] = "";
    struct broker *broker;
    struct broker_options options = {.config = crierd->config,
                                     .software = "crierd " CRIER_VERSION_TEXT,
                                     .log = crierd->log,
                                     .control_fd = crierd->shutdown.fd,
                                     .control = on_signals,
                                     .expect_memory = allocator_expect,
                                     .ctx = crierd};
    if (broker_open(&options, &broker, error, sizeof(error)) < 0) {
        if (error[0] != '\0')
            say(NULL, error);
        return 1;
    }
    broker_addresses(broker, announce, NULL);
    broker_serve(broker);
    close_in_time(crierd, broker);
    return 0;
}

/* The soft limit of descriptors is for programs that use select(); this one takes what it may have. */
static void descriptors_setup(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else fewer connections: ACCEPT-PAUSED tells */
}

/* Of all threads to come: who wakes one up goes on, and has sent more by the time it runs (docs/decisions/0025). What an operator has
 * chosen stays. */
static void scheduling_setup(void)
{
    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)sched_setscheduler(0, SCHED_BATCH,
                                 &(struct sched_param){0}); /* else slower with many small sends */
}

static int run(struct crierd *crierd)
{
    const struct config *config = crierd->config;
    allocator_setup();
    descriptors_setup();
    scheduling_setup();
    int rc = shutdown_open(&crierd->shutdown, true);
    if (rc < 0) {
        fprintf(stderr, "crierd: signals: %s\n", strerror(-rc));
        return 1;
    }
    rc = log_open(config->log_file, config->log_format, config->log_level, &crierd->log);
    if (rc < 0) {
        fprintf(stderr, "crierd: the log file \"%s\" cannot be opened: %s\n", config->log_file,
                strerror(-rc));
        return 1;
    }
    int status = serve(crierd);
    log_close(crierd->log);
    return status;
}

int main(int argc, char **argv)
{
    struct config config;
    standard_fds_occupy();
    int rc = config_load(argc, argv, say, NULL, &config);
    if (rc < 0)
        return rc == -ECANCELED ? 0 : 2;
    struct crierd crierd = {.argc = argc, .argv = argv, .config = &config};
    int status = 0;
    if (config.check)
        puts("ok");
    else
        status = run(&crierd);
    config_finish(&config);
    return status;
}
