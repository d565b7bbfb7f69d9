/* test_orders_ledger.c: a ledger counts every event once, over repeats, errors and kills. */
#include "examples/order-processing/ledger.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct folder {
    char path[64], file[128];
};

static struct folder folder_create(void)
{
    struct folder folder = {.path = "/tmp/crier-test-ledger-XXXXXX"};
    cr_assert_not_null(mkdtemp(folder.path));
    snprintf(folder.file, sizeof(folder.file), "%s/ledger.mdb", folder.path);
    return folder;
}

static void folder_remove(const struct folder *folder)
{
    char lock[160];
    snprintf(lock, sizeof(lock), "%s-lock", folder->file);
    unlink(folder->file);
    unlink(lock);
    rmdir(folder->path);
}

static struct ledger *opened(const struct folder *folder)
{
    struct ledger *ledger = NULL;
    cr_assert_eq(ledger_open(folder->file, &ledger), 0);
    return ledger;
}

static crier_event event(const char *topic, uint32_t partition, uint64_t offset)
{
    return (crier_event){.topic = topic, .partition = partition, .offset = offset};
}

/* Counts one event; false: it was a repeat. */
static bool count(struct ledger *ledger, const crier_event *event, int64_t amount)
{
    int rc = ledger_begin(ledger, event);
    if (rc == 0)
        return false;
    cr_assert_eq(rc, 1);
    cr_assert_eq(ledger_add(ledger, "sum/x", amount, NULL), 0);
    cr_assert_eq(ledger_commit(ledger), 0);
    return true;
}

static int64_t sum(struct ledger *ledger)
{
    json_t *totals = ledger_totals(ledger, "sum/");
    int64_t value = json_integer_value(json_object_get(totals, "x"));
    json_decref(totals);
    return value;
}

Test(ledger, an_event_counts_once_per_topic_and_partition)
{
    struct folder folder = folder_create();
    struct ledger *ledger = opened(&folder);
    crier_event a = event("a", 0, 5), a_other = event("a", 1, 5), b = event("b", 0, 5),
                later = event("a", 0, 9);

    cr_expect(count(ledger, &a, 1));
    cr_expect_not(count(ledger, &a, 1));
    cr_expect(count(ledger, &a_other, 10));
    cr_expect(count(ledger, &b, 100));
    cr_expect(count(ledger, &later, 1000));
    cr_expect_not(count(ledger, &a, 1));
    cr_expect_eq(sum(ledger), 1111);
    ledger_close(ledger);

    ledger = opened(&folder);
    cr_expect_not(count(ledger, &later, 1000));
    cr_expect_eq(sum(ledger), 1111);
    ledger_close(ledger);
    folder_remove(&folder);
}

Test(ledger, an_aborted_event_left_no_trace_and_counts_when_it_comes_again)
{
    struct folder folder = folder_create();
    struct ledger *ledger = opened(&folder);
    crier_event a = event("a", 0, 0);
    int64_t value;

    cr_assert_eq(ledger_begin(ledger, &a), 1);
    cr_assert_eq(ledger_add(ledger, "sum/x", 7, &value), 0);
    cr_expect_eq(value, 7);
    ledger_abort(ledger);
    cr_expect_eq(sum(ledger), 0);
    cr_expect(count(ledger, &a, 7));
    cr_expect_eq(sum(ledger), 7);
    ledger_close(ledger);
    folder_remove(&folder);
}

static void collect(void *ctx, const char *name, const char *text)
{
    char *to = ctx;
    size_t length = strlen(to);
    snprintf(to + length, 256 - length, "%s=%s;", name, text);
}

static void note(struct ledger *ledger, uint64_t offset, const char *name)
{
    crier_event a = event("a", 0, offset);
    cr_assert_eq(ledger_begin(ledger, &a), 1);
    cr_assert_eq(ledger_note(ledger, name, "low"), 0);
    cr_assert_eq(ledger_commit(ledger), 0);
}

Test(ledger, a_note_stays_until_it_was_sent)
{
    struct folder folder = folder_create();
    struct ledger *ledger = opened(&folder);
    char notes[256] = "";

    note(ledger, 0, "cup");
    note(ledger, 1, "heart");
    ledger_note_sent(ledger, "cup");
    ledger_close(ledger); /* takes what was sent with it */
    ledger = opened(&folder);
    cr_assert_eq(ledger_notes(ledger, collect, notes), 0);
    cr_expect_str_eq(notes, "heart=low;");

    ledger_note_sent(ledger, "heart");
    note(ledger, 2, "lantern");
    notes[0] = '\0';
    cr_assert_eq(ledger_notes(ledger, collect, notes), 0);
    cr_expect_str_eq(notes, "lantern=low;");
    ledger_close(ledger);
    folder_remove(&folder);
}

Test(ledger, a_kill_between_events_loses_and_repeats_nothing)
{
    struct folder folder = folder_create();
    for (uint64_t round = 0; round < 5; round++) {
        pid_t child = fork();
        if (child == 0) { /* counts one event, then dies in the middle of the next */
            struct ledger *ledger;
            crier_event a = event("a", 0, round), b = event("a", 0, round + 1);
            if (ledger_open(folder.file, &ledger) == 0 && (round > 0 || ledger_begin(ledger, &a) == 1)) {
                if (round > 0 && ledger_begin(ledger, &a) != 1)
                    _exit(1);
                ledger_add(ledger, "sum/x", 1, NULL);
                ledger_commit(ledger);
                if (ledger_begin(ledger, &b) == 1 && ledger_add(ledger, "sum/x", 1000, NULL) == 0)
                    raise(SIGKILL);
            }
            _exit(1);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "round %d: status %d", (int)round,
                  status);
    }
    struct ledger *ledger = opened(&folder);
    crier_event last = event("a", 0, 4);
    cr_expect_eq(sum(ledger), 5);
    cr_expect_not(count(ledger, &last, 1));
    ledger_close(ledger);
    folder_remove(&folder);
}

/* Two instances of a service have one file; the one that is killed in the middle of an event holds nobody up. */
Test(ledger, an_event_is_counted_once_by_all_processes_that_share_a_ledger)
{
    struct folder folder = folder_create();
    ledger_close(opened(&folder));
    pid_t child = fork();
    if (child == 0) {
        struct ledger *ledger;
        crier_event a = event("a", 0, 0), b = event("a", 0, 1);
        if (ledger_open(folder.file, &ledger) == 0 && count(ledger, &a, 1) && ledger_begin(ledger, &b) == 1 &&
            ledger_add(ledger, "sum/x", 1000, NULL) == 0)
            raise(SIGKILL); /* it has the writer's lock */
        _exit(1);
    }
    struct ledger *ledger = opened(&folder);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
    crier_event a = event("a", 0, 0), b = event("a", 0, 1);
    cr_expect_not(count(ledger, &a, 1), "the other one has counted it");
    cr_expect(count(ledger, &b, 1), "what it did not finish is done by this one");
    cr_expect_eq(sum(ledger), 2);
    ledger_close(ledger);
    folder_remove(&folder);
}

Test(ledger, an_error_has_words)
{
    struct ledger *ledger = NULL;
    int rc = ledger_open("/tmp/crier-no-such-folder/ledger.mdb", &ledger);
    cr_expect_lt(rc, 0);
    cr_expect_null(ledger);
    cr_expect_str_eq(ledger_error(rc), "No such file or directory");
}
