/* `crier verify`, `backup` and `restore` on a real broker's folder: what is printed is what can be run. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct broker *broker;

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert(broker != NULL);
}

static void teardown(void)
{
    broker_destroy(broker);
}

TestSuite(tools_folder, .init = setup, .fini = teardown, .timeout = 120);

/* Lines of one length in "lines": line N is the event with offset N. */
static void emit_lines(int first, int count)
{
    char line[200];
    struct process *emitter = crier_start(broker_url(broker), "emit", "lines", "-", NULL);
    for (int i = first; i < first + count; i++) {
        snprintf(line, sizeof(line), "line %04d %0150d\n", i, i * 7);
        process_write(emitter, line);
    }
    cr_assert(eq(int, process_end(emitter), 0));
}

static void expect_lines(int count)
{
    char number[16], start[32];
    snprintf(number, sizeof(number), "%d", count);
    struct process *on =
        crier_start(broker_url(broker), "on", "lines", "--from", "earliest", "--count", number, NULL);
    for (int i = 0; i < count; i++) {
        snprintf(start, sizeof(start), "line %04d ", i);
        cr_assert(strncmp(process_line(on), start, 10) == 0);
    }
    cr_assert(eq(int, process_end(on), 0));
}

/* Beside the data folder. */
static void backup_folder(char to[4096])
{
    snprintf(to, 4096, "%s", broker_data(broker));
    snprintf(strrchr(to, '/'), 16, "/backup");
}

/* One bit of this line, in the first segment: small entries lie in several generations of pages, so wherever it is. */
static void damage_line(int number)
{
    char path[4096], text[32];
    snprintf(path, sizeof(path), "%s/shard-0/0000000001-0.mdb", broker_data(broker));
    snprintf(text, sizeof(text), "line %04d ", number);
    int fd = open(path, O_RDWR);
    struct stat file;
    cr_assert(fd >= 0 && fstat(fd, &file) == 0);
    char *bytes = malloc((size_t)file.st_size);
    cr_assert(pread(fd, bytes, (size_t)file.st_size, 0) == file.st_size);
    int count = 0;
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + file.st_size - at), text, 10)); at += 10) {
        at[20] ^= 1;
        cr_assert(pwrite(fd, at + 20, 1, at + 20 - bytes) == 1);
        count++;
    }
    cr_assert(count > 0);
    free(bytes);
    close(fd);
}

/* What the broker printed when it did not start, into text. */
static void read_refusal(char *text, size_t size)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/../log", broker_data(broker));
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0);
    off_t end = lseek(fd, 0, SEEK_END), at = end > (off_t)size - 1 ? end - (off_t)size + 1 : 0;
    ssize_t got = pread(fd, text, size - 1, at);
    cr_assert(got > 0);
    text[got] = '\0';
    close(fd);
}

/* Runs "crier WORDS" as it was printed: up to the end of the line, or to a semicolon. */
static int run_printed(const char *text, const char *start)
{
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, start)); at++)
        found = at; /* the last one */
    cr_assert(found != NULL, "no '%s' in: %s", start, text);
    char command[9000];
    int length = (int)strcspn(found, ";\n");
    snprintf(command, sizeof(command), "'%s' %.*s", CRIER_PATH, length - (int)strlen("crier "),
             found + strlen("crier "));
    int status = system(command); // NOLINT(cert-env33-c): it is what is tested
    return WEXITSTATUS(status);
}

static struct process *verify(const char *folder, int status)
{
    struct process *process = crier_start(NULL, "verify", folder, NULL);
    cr_assert(eq(int, process_wait(process), status), "%s%s", process_output(process, NULL),
              process_errors(process));
    return process;
}

Test(tools_folder, a_damaged_folder_is_refused_and_the_printed_command_makes_it_start)
{
    emit_lines(0, 50);
    broker_kill(broker); /* before the state was flushed: the damage is met by the replay */
    damage_line(30);
    cr_assert(not(broker_restart(broker)));
    static char text[20000];
    read_refusal(text, sizeof(text));
    cr_assert(strstr(text, "0000000001-0.mdb") != NULL);
    cr_assert(eq(int, run_printed(text, "crier verify /"), 1));
    cr_assert(eq(int, run_printed(text, "crier verify --repair /"), 0));
    process_destroy(verify(broker_data(broker), 0));
    cr_assert(broker_restart(broker));
    cr_assert(eq(int, process_end(crier_start(broker_url(broker), "emit", "lines", "after", NULL)), 0));
}

Test(tools_folder, verify_names_the_topic_and_the_offset)
{
    for (int i = 0; i < 10; i++)
        emit_lines(i, 1);
    cr_assert(eq(int, broker_stop(broker), 0));
    damage_line(7);
    struct process *process = verify(broker_data(broker), 1);
    const char *output = process_output(process, NULL);
    cr_assert(strstr(output, "0000000001-0.mdb, segment 1, entry ") != NULL, "%s", output);
    cr_assert(strstr(output, "topic lines, partition 0, offset 7: the checksum of a batch") != NULL, "%s",
              output);
    process_destroy(process);
}

Test(tools_folder, a_backup_brings_a_damaged_folder_back_whole)
{
    char backup[4096], command[9000];
    backup_folder(backup);
    for (int i = 0; i < 20; i++)
        emit_lines(i, 1);
    cr_assert(eq(int, broker_stop(broker), 0));
    cr_assert(eq(int, process_end(crier_start(NULL, "backup", broker_data(broker), backup, NULL)), 0));
    process_destroy(verify(backup, 0));
    damage_line(3);
    struct process *damaged = verify(broker_data(broker), 1);
    snprintf(command, sizeof(command), "crier restore BACKUP %s", broker_data(broker));
    cr_assert(strstr(process_output(damaged, NULL), command) != NULL, "%s", process_output(damaged, NULL));
    process_destroy(damaged);
    cr_assert(eq(int, process_end(crier_start(NULL, "restore", backup, broker_data(broker), NULL)), 0));
    process_destroy(verify(broker_data(broker), 0));
    cr_assert(broker_restart(broker));
    expect_lines(20);
}

Test(tools_folder, a_whole_folder_comes_back_from_a_backup)
{
    char backup[4096], command[9000];
    backup_folder(backup);
    emit_lines(0, 20);
    cr_assert(eq(int, broker_stop(broker), 0));
    cr_assert(eq(int, process_end(crier_start(NULL, "backup", broker_data(broker), backup, NULL)), 0));
    snprintf(command, sizeof(command), "rm -rf '%s'", broker_data(broker));
    cr_assert(eq(int, system(command), 0)); // NOLINT(cert-env33-c): a path of our own
    cr_assert(eq(int, process_end(crier_start(NULL, "restore", backup, broker_data(broker), NULL)), 0));
    cr_assert(broker_restart(broker));
    expect_lines(20);
}

Test(tools_folder, a_folder_in_use_is_not_touched)
{
    struct process *process = verify(broker_data(broker), 1);
    cr_assert(strstr(process_errors(process), "in use by process") != NULL);
    process_destroy(process);
}

/* ---- a broker that runs ---- */

Test(tools_folder, a_running_broker_looks_through_its_log)
{
    for (int i = 0; i < 10; i++)
        emit_lines(i, 1);
    struct process *process = crier_start(broker_url(broker), "verify", NULL);
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    cr_assert(strstr(process_output(process, NULL), "12 entries") != NULL, "%s",
              process_output(process, NULL));
    cr_assert(strstr(process_output(process, NULL), "all good") != NULL);
    process_destroy(process);
    damage_line(7);
    process = crier_start(broker_url(broker), "verify", NULL);
    cr_assert(eq(int, process_wait(process), 1), "%s", process_output(process, NULL));
    cr_assert(strstr(process_output(process, NULL),
                     "topic lines, partition 0, offset 7: the checksum of a batch") != NULL,
              "%s", process_output(process, NULL));
    process_destroy(process);
}

/* Twice, with events in between and while it is emitted to: each backup holds everything acknowledged when it began. */
Test(tools_folder, a_running_broker_is_backed_up_and_what_comes_back_is_whole)
{
    char backup[4096], restored[4100];
    backup_folder(backup);
    snprintf(restored, sizeof(restored), "%s-2", backup);
    emit_lines(0, 100);
    cr_assert(eq(int, process_end(crier_start(broker_url(broker), "backup", backup, NULL)), 0));
    for (int i = 100; i < 120; i++)
        emit_lines(i, 1);
    struct process *meanwhile = crier_start(broker_url(broker), "emit", "others", "-", NULL);
    process_write(meanwhile, "one\ntwo\n");
    struct process *again = crier_start(broker_url(broker), "backup", backup, NULL);
    process_write(meanwhile, "three\n");
    cr_assert(eq(int, process_wait(again), 0), "%s", process_errors(again));
    cr_assert(strstr(process_output(again, NULL), "1 segments were there already") != NULL, "%s",
              process_output(again, NULL));
    process_destroy(again);
    cr_assert(eq(int, process_end(meanwhile), 0));
    process_destroy(verify(backup, 0));
    cr_assert(eq(int, process_end(crier_start(NULL, "restore", backup, restored, NULL)), 0));
    process_destroy(verify(restored, 0));
    cr_assert(eq(int, broker_stop(broker), 0));
    char command[9000];
    snprintf(command, sizeof(command), "rm -rf '%s' && mv '%s' '%s'", broker_data(broker), restored,
             broker_data(broker));
    cr_assert(eq(int, system(command), 0)); // NOLINT(cert-env33-c): paths of our own
    cr_assert(broker_restart(broker));
    expect_lines(120);
}
