/* test_orders_one_process.c: the order services, from their own sources, as threads of one process on an embed: bus: their
 * totals are those that check_totals works out from the file.
 *
 * test_orders_one_process PROGRAM CHECK_TOTALS FILE */
#include "base/check.h"
#include "examples/order-processing/screen.h"

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

int main(int argc, char **argv)
{
    char folder[] = "/tmp/crier-orders-XXXXXX", command[1024];
    struct screen screen;
    CHECK(argc == 4 && mkdtemp(folder));
    screen_init(&screen);
    snprintf(command, sizeof(command), "'%s' --dir '%s' --data '%s'", argv[1], folder, argv[3]);
    json_t *services = run(command, true);
    snprintf(command, sizeof(command), "'%s' '%s'", argv[2], argv[3]);
    json_t *recomputed = run(command, false);
    int differ = screen_totals(&screen, services, recomputed);
    json_decref(services);
    json_decref(recomputed);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK(system(command) == 0); /* NOLINT(cert-env33-c) */
    return differ == 0 ? 0 : 1;
}
