/* test_orders_one_process.c: the order services, from their own sources, as threads of one process: their totals are those that
 * check_totals works out from the file, on every kind of bus.
 *
 * test_orders_one_process PROGRAM CHECK_TOTALS FILE embed|local|crier */
#include "base/check.h"
#include "examples/order-processing/screen.h"
#include "tests/support/broker_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last JSON line of each service that is done; of the checker, its only one. Takes the command's end into account. */
static json_t *run(const char *command, bool by_service)
{
    char line[1 << 16];
    json_t *all = json_object();
    FILE *output = popen(command, "r"); /* NOLINT(cert-env33-c): our own programs */
    CHECK(output);
    while (fgets(line, sizeof(line), output)) {
        json_t *json = json_loads(line, 0, NULL);
        const char *state = json_string_value(json_object_get(json, "state"));
        CHECK(json); /* also: no service's line is torn by another's */
        if (!by_service)
            json_object_update(all, json);
        else if (state && strcmp(state, "done") == 0)
            json_object_set(all, json_string_value(json_object_get(json, "service")),
                            json_object_get(json, "totals"));
        json_decref(json);
    }
    int status = pclose(output);
    if (status != 0)
        fprintf(stderr, "%s: status %d\n", command, status);
    CHECK(status == 0);
    return all;
}

/* The program's own is the folder's. */
static const char *url_of(const char *kind, const char *folder, struct broker **ret_broker)
{
    static char url[128];
    snprintf(url, sizeof(url), strcmp(kind, "embed") == 0 ? "embed:%s/data" : "local:orders", folder);
    if (strcmp(kind, "crier") == 0) {
        CHECK((*ret_broker = broker_start(NULL)));
        snprintf(url, sizeof(url), "%s", broker_url(*ret_broker));
    }
    return url;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/crier-orders-XXXXXX", command[1024];
    struct broker *broker = NULL;
    struct screen screen;
    CHECK(argc == 5 && mkdtemp(folder));
    screen_init(&screen);
    snprintf(command, sizeof(command), "'%s' --dir '%s' --data '%s' --url '%s'", argv[1], folder, argv[3],
             url_of(argv[4], folder, &broker));
    json_t *services = run(command, true);
    snprintf(command, sizeof(command), "'%s' '%s'", argv[2], argv[3]);
    json_t *recomputed = run(command, false);
    int differ = screen_totals(&screen, services, recomputed);
    json_decref(services);
    json_decref(recomputed);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK(system(command) == 0); /* NOLINT(cert-env33-c) */
    CHECK(broker_destroy(broker) == 0);
    return differ == 0 ? 0 : 1;
}
