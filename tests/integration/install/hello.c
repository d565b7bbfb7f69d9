/* hello.c: emits one event and hears it: hello URL. */
#include <crier/crier.h>
#include <stdio.h>
#include <string.h>

static int on_hello(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)ctx;
    printf("heard %.*s\n", (int)event->value_size, (const char *)event->value);
    return 0;
}

static void on_released(void *ctx, int code, const char *text)
{
    (void)text;
    *(int *)ctx = code;
}

int main(int argc, char **argv)
{
    struct crier_listen_options options = crier_listen_options_default();
    int released = -1;
    crier *bus;
    int rc = crier_open(argc > 1 ? argv[1] : "crier://localhost", NULL, &bus);

    if (rc < 0) {
        fprintf(stderr, "crier_open: %s\n", crier_strerror(rc));
        return 1;
    }
    options.from = CRIER_EARLIEST;
    options.count = 1;
    options.released = on_released;
    if (crier_emit(bus, "hello", "world", strlen("world")) < 0 || crier_flush(bus, 5000) < 0 ||
        crier_listen(bus, "hello", &options, on_hello, &released, NULL) < 0)
        return 1;
    for (int i = 0; i < 1000 && released < 0; i++) {
        int64_t round_trip_us;
        if (crier_ping(bus, &round_trip_us) < 0)
            return 1;
    }
    return crier_close(bus) == 0 ? 0 : 1;
}
