/* `crier --url embed:FOLDER`: the command looks into a folder that no broker serves. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

TestSuite(tools_embed, .timeout = 120);

Test(tools_embed, bench_says_that_it_needs_a_server)
{
    struct process *bench = crier_start("embed:/nonexistent/folder", "bench", "e2e", NULL);
    cr_assert(eq(int, process_wait(bench), 2));
    cr_assert(strstr(process_errors(bench), "start crierd") != NULL, "%s", process_errors(bench));
    process_destroy(bench);
}

Test(tools_embed, a_stopped_brokers_folder_is_read_and_written)
{
    struct broker *broker = broker_start(NULL);
    char url[512];
    cr_assert(broker != NULL);
    snprintf(url, sizeof(url), "embed:%s?create=no", broker_data(broker));

    cr_assert(eq(int, process_end(crier_start(broker_url(broker), "emit", "t", "served", NULL)), 0));
    struct process *refused = crier_start(url, "on", "t", "--from", "earliest", "--count", "1", NULL);
    cr_assert(eq(int, process_wait(refused), 1));
    cr_assert(strstr(process_errors(refused), "is in use by process") != NULL, "%s", process_errors(refused));
    process_destroy(refused);

    cr_assert(eq(int, broker_stop(broker), 0));
    cr_assert(eq(int, process_end(crier_start(url, "emit", "t", "offline", NULL)), 0));
    struct process *on = crier_start(url, "on", "t", "--from", "earliest", "--count", "2", NULL);
    cr_assert_str_eq(process_line(on), "served");
    cr_assert_str_eq(process_line(on), "offline");
    cr_assert(eq(int, process_end(on), 0));
    cr_assert(eq(int, broker_destroy(broker), 0));
}
