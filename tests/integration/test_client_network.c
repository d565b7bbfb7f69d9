/* test_client_network.c: what networks and neighbours do: silence, resets, dribble, a stranger on the port, a broker that is
 * away. A proxy stands between client and broker; crierd pings often, so that nothing here waits long. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const often[] = {"--ping-interval", "100ms", "--idle-timeout", "300ms", NULL};

struct scene {
    struct broker *broker;
    struct proxy *proxy;
};

static struct scene scene_create(void)
{
    struct scene scene;
    struct broker_options options = {.arguments = often};
    scene.broker = broker_start(&options);
    cr_assert_not_null(scene.broker);
    scene.proxy = proxy_start(broker_port(scene.broker));
    cr_assert_not_null(scene.proxy);
    return scene;
}

static void scene_destroy(struct scene *scene)
{
    proxy_destroy(scene->proxy);
    cr_assert_eq(broker_destroy(scene->broker), 0);
}

static crier *bus_open(const char *url, struct probe *probe)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.connection = probe_connection;
    options.drain = probe_drain;
    options.ctx = probe;
    options.reconnect_delay_ms_min = 10;
    options.reconnect_delay_ms_max = 50;
    options.buffer_size_max = 1 << 20;
    cr_assert_eq(crier_open(url, &options, &bus), 0);
    return bus;
}

static void emit_number(crier *bus, int number)
{
    char value[16];
    int size = snprintf(value, sizeof(value), "%d", number);
    cr_assert_eq(crier_emit(bus, "t", value, (size_t)size), 0);
}

static void expect_numbers(struct probe *probe, size_t count)
{
    cr_assert(probe_wait(probe, &probe->event_count, count));
    cr_assert_eq(probe_count(probe, &probe->event_count), count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq((size_t)atoi(probe->events[i].value), i, "event %zu is %s", i, probe->events[i].value);
}

/* ---- silence ---- */

Test(client_network, a_broker_that_falls_silent_is_left_and_nothing_is_lost)
{
    struct scene scene = scene_create();
    struct probe probe;
    probe_init(&probe);
    crier *bus = bus_open(proxy_url(scene.proxy), &probe);
    cr_assert(probe_listen(&probe, bus, "t", NULL, NULL));
    emit_number(bus, 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    proxy_set(scene.proxy, PROXY_SILENT);
    emit_number(bus, 1); /* taken by the kernel, heard by nobody */
    cr_assert(probe_wait(&probe, &probe.disconnections, 1),
              "the connection still looks alive, to the kernel");
    proxy_set(scene.proxy, PROXY_PASS);
    cr_assert(probe_wait(&probe, &probe.connections, 2));
    emit_number(bus, 2);
    cr_assert_eq(crier_flush(bus, -1), 0);
    expect_numbers(&probe, 3);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    scene_destroy(&scene);
}

struct owner { /* of partitions of a group */
    struct probe probe;
    size_t partitions; /* under the probe's lock */
};

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    struct owner *owner = ctx;
    (void)partition;
    pthread_mutex_lock(&owner->probe.lock);
    owner->partitions += given ? 1 : (size_t)-1;
    pthread_cond_broadcast(&owner->probe.changed);
    pthread_mutex_unlock(&owner->probe.lock);
}

static void join(struct owner *owner, crier *bus, crier_handler *handler, int session_timeout_ms)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = "g";
    options.from = CRIER_EARLIEST;
    options.session_timeout_ms = session_timeout_ms;
    options.assigned = on_assigned;
    cr_assert_eq(crier_listen(bus, "t", &options, handler, owner, NULL), 0);
}

static void topic_create(crier *bus, uint32_t partitions)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = partitions};
    cr_assert_eq(crier_topic_create(bus, "t", &options), 0);
}

static int ignore_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    (void)ctx;
    return 0;
}

Test(client_network, a_client_that_falls_silent_loses_its_partitions_and_joins_again)
{
    struct scene scene = scene_create();
    struct owner far = {0}, near = {0};
    probe_init(&far.probe);
    probe_init(&near.probe);
    crier *a = bus_open(proxy_url(scene.proxy), &far.probe),
          *b = bus_open(broker_url(scene.broker), &near.probe);
    topic_create(b, 4);
    join(&far, a, ignore_event, 0);
    join(&near, b, ignore_event, 0);
    cr_assert(probe_wait(&near.probe, &near.partitions, 2));
    proxy_set(scene.proxy,
              PROXY_SILENT); /* 10 s of session timeout, but the connection is found dead before */
    cr_assert(probe_wait(&near.probe, &near.partitions, 4));
    cr_assert(probe_wait(&far.probe, &far.probe.disconnections, 1));
    cr_assert_eq(probe_count(&far.probe, &far.partitions), 0);
    proxy_set(scene.proxy, PROXY_PASS);
    cr_assert(probe_wait(&far.probe, &far.partitions, 2), "it is back, with its share");
    cr_assert_eq(crier_close(a), 0);
    cr_assert_eq(crier_close(b), 0);
    probe_finish(&far.probe);
    probe_finish(&near.probe);
    scene_destroy(&scene);
}

/* ---- a member that hangs ---- */

struct hanging {
    struct owner owner;
    size_t handled; /* under the probe's lock, as `hangs` */
    bool hangs;
};

static int hang(crier *bus, const crier_event *event, void *ctx)
{
    struct hanging *hanging = ctx;
    (void)bus;
    (void)event;
    pthread_mutex_lock(&hanging->owner.probe.lock);
    hanging->handled++;
    pthread_cond_broadcast(&hanging->owner.probe.changed);
    while (hanging->hangs)
        pthread_cond_wait(&hanging->owner.probe.changed, &hanging->owner.probe.lock);
    pthread_mutex_unlock(&hanging->owner.probe.lock);
    return 0;
}

static void position_of(void *ctx, const struct crier_group_info *info)
{
    *(uint64_t *)ctx = info->partitions[0].position;
}

Test(client_network, a_member_that_hangs_in_its_handler_loses_its_partitions_and_its_late_commit_is_nothing)
{
    struct broker *broker = broker_start(NULL);
    struct hanging stuck = {.hangs = true};
    struct probe other;
    struct crier_listen_options options = crier_listen_options_default();
    uint64_t position = 0;
    cr_assert_not_null(broker);
    probe_init(&stuck.owner.probe);
    probe_init(&other);
    crier *a = bus_open(broker_url(broker), &stuck.owner.probe), *b = bus_open(broker_url(broker), &other);
    topic_create(b, 1);
    for (int i = 0; i < 3; i++)
        emit_number(b, i);
    cr_assert_eq(crier_flush(b, -1), 0);
    join((struct owner *)&stuck, a, hang, 1000);
    cr_assert(probe_wait(&stuck.owner.probe, &stuck.handled, 1)); /* and there it stays */
    options.group = "g";
    cr_assert(probe_listen(&other, b, "t", &options, NULL));
    expect_numbers(&other, 3); /* after a second of silence: event 0, too */
    pthread_mutex_lock(&stuck.owner.probe.lock);
    stuck.hangs = false;
    pthread_cond_broadcast(&stuck.owner.probe.changed);
    pthread_mutex_unlock(&stuck.owner.probe.lock);
    cr_assert_eq(crier_close(b), 0); /* commits 3, whatever the other one says meanwhile */
    cr_assert_eq(crier_close(a), 0);
    b = bus_open(broker_url(broker), &other);
    cr_assert_eq(crier_group_describe(b, "g", "t", position_of, &position), 0);
    cr_assert_eq(position, 3);
    cr_assert_eq(crier_close(b), 0);
    probe_finish(&stuck.owner.probe);
    probe_finish(&other);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* ---- pieces ---- */

Test(client_network, frames_that_come_byte_by_byte_are_understood_on_both_sides)
{
    struct scene scene = scene_create();
    struct probe probe;
    probe_init(&probe);
    proxy_set(scene.proxy, PROXY_DRIBBLE);
    crier *bus = bus_open(proxy_url(scene.proxy), &probe);
    cr_assert(probe_listen(&probe, bus, "t", NULL, NULL));
    for (int i = 0; i < 200; i++)
        emit_number(bus, i);
    cr_assert_eq(crier_flush(bus, -1), 0);
    expect_numbers(&probe, 200);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    scene_destroy(&scene);
}

Test(client_network, connections_that_are_reset_anywhere_lose_and_repeat_nothing)
{
    struct scene scene = scene_create();
    struct probe probe;
    int next = 0;
    probe_init(&probe);
    crier *bus = bus_open(proxy_url(scene.proxy), &probe);
    cr_assert(probe_listen(&probe, bus, "t", NULL, NULL));
    for (uint64_t round = 1; round <= 60; round++) {
        uint64_t resets = proxy_resets(scene.proxy);
        proxy_reset_after(scene.proxy, 131 * round); /* in HELLO, in LISTEN, in EMIT, in DELIVER, ... */
        while (proxy_resets(scene.proxy) == resets) {
            emit_number(bus, next++);
            crier_flush(bus, 1); /* done, or not: the reset is waited for by doing */
        }
    }
    proxy_reset_after(scene.proxy, 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    expect_numbers(&probe, (size_t)next);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    scene_destroy(&scene);
}

/* ---- strangers ---- */

struct stranger { /* takes connections, and says always the same */
    int listener;
    const char *answer;
    pthread_t thread;
    char url[64];
};

static void *stranger_run(void *argument)
{
    struct stranger *stranger = argument;
    char bytes[4096];
    int fd;
    while ((fd = accept(stranger->listener, NULL, NULL)) >= 0) {
        if (recv(fd, bytes, sizeof(bytes), 0) > 0)
            send(fd, stranger->answer, strlen(stranger->answer), MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void stranger_start(struct stranger *stranger, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    stranger->answer = answer;
    stranger->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(stranger->listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(stranger->listener, 8), 0);
    cr_assert_eq(getsockname(stranger->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(stranger->url, sizeof(stranger->url), "crier://127.0.0.1:%u", ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&stranger->thread, NULL, stranger_run, stranger), 0);
}

static void stranger_stop(struct stranger *stranger)
{
    shutdown(stranger->listener, SHUT_RDWR);
    pthread_join(stranger->thread, NULL);
    close(stranger->listener);
}

struct told { /* the first thing said about the connection */
    struct probe probe;
    char text[256];
};

static void tell(crier *bus, bool connected, const char *text, void *ctx)
{
    struct told *told = ctx;
    if (told->text[0] == '\0')
        snprintf(told->text, sizeof(told->text), "%s", text);
    probe_connection(bus, connected, text, &told->probe);
}

/* Opens without waiting for a connection; what is told about it contains `expected`. */
static void expect_told(const char *url, const char *expected)
{
    struct crier_options options = crier_options_default();
    struct told told = {0};
    crier *bus;
    probe_init(&told.probe);
    options.connect_timeout_ms = 0;
    options.connection = tell;
    options.ctx = &told;
    cr_assert_eq(crier_open(url, &options, &bus), 0);
    cr_assert(probe_wait(&told.probe, &told.probe.disconnections, 1));
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_not_null(strstr(told.text, expected), "'%s'", told.text);
    probe_finish(&told.probe);
}

Test(client_network, an_http_server_on_the_port_is_told_at_once_and_another_endpoint_helps)
{
    struct broker *broker = broker_start(NULL);
    struct stranger stranger;
    char url[256];
    crier *bus;
    cr_assert_not_null(broker);
    stranger_start(&stranger, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    cr_assert_eq(crier_open(stranger.url, NULL, &bus), CRIER_EPROTO);
    expect_told(stranger.url, "an HTTP server answers there");
    snprintf(url, sizeof(url), "%s,127.0.0.1:%u", stranger.url, broker_port(broker));
    cr_assert_eq(crier_open(url, NULL, &bus), 0);
    cr_assert_eq(crier_close(bus), 0);
    stranger_stop(&stranger);
    stranger_start(&stranger, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    cr_assert_eq(crier_open(stranger.url, NULL, &bus), CRIER_EPROTO);
    expect_told(stranger.url, "no crier broker");
    stranger_stop(&stranger);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_network, a_name_that_cannot_be_looked_up_is_told_and_another_endpoint_helps)
{
    struct broker *broker = broker_start(NULL);
    char url[256];
    crier *bus;
    cr_assert_not_null(broker);
    expect_told("crier://no.such.host.invalid", "no.such.host.invalid:27437: ");
    snprintf(url, sizeof(url), "crier://no.such.host.invalid,127.0.0.1:%u", broker_port(broker));
    cr_assert_eq(crier_open(url, NULL, &bus), 0);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* ---- a broker that is away ---- */

Test(client_network, a_broker_that_is_away_for_long_costs_bounded_memory_and_no_event)
{
    struct scene scene = scene_create();
    struct crier_stats stats;
    struct probe probe;
    int next = 0, rc;
    char value[16];
    probe_init(&probe);
    crier *bus = bus_open(proxy_url(scene.proxy), &probe);
    cr_assert(probe_listen(&probe, bus, "t", NULL, NULL));
    broker_kill(scene.broker);
    cr_assert(probe_wait(&probe, &probe.disconnections, 1));
    do {
        int size = snprintf(value, sizeof(value), "%d", next);
        rc = crier_emit(bus, "t", value, (size_t)size);
        next += rc == 0;
    } while (rc == 0);
    cr_assert_eq(rc, CRIER_EAGAIN);
    uint64_t attempts = proxy_connections(scene.proxy);
    while (proxy_connections(scene.proxy) < attempts + 20) /* long enough for many attempts */
        cr_assert_eq(crier_emit(bus, "t", value, strlen(value)), CRIER_EAGAIN);
    crier_stats(bus, &stats);
    cr_assert_leq(stats.pending_bytes, 1 << 20);
    cr_assert(broker_restart(scene.broker));
    cr_assert(probe_wait(&probe, &probe.drains, 1));
    cr_assert_eq(crier_flush(bus, -1), 0);
    expect_numbers(&probe, (size_t)next);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    scene_destroy(&scene);
}
