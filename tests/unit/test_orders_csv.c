/* test_orders_csv.c: what the order example's CSV reader promises, record by record. */
#include "examples/order-processing/csv.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A reader over the text. The file is gone from the folder already: the mapping keeps it. */
static struct csv *reader(const void *text, size_t size)
{
    char path[] = "/tmp/crier-test-csv-XXXXXX";
    struct csv *csv = NULL;
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, size), (ssize_t)size);
    close(fd);
    cr_assert_eq(csv_open(path, &csv), 0);
    unlink(path);
    return csv;
}

static struct csv *text_reader(const char *text)
{
    return reader(text, strlen(text));
}

/* The next record is on this line and has these fields, joined by '|'. */
static void expect(struct csv *csv, uint64_t line, const char *joined)
{
    struct csv_record record;
    char text[4096] = "";
    cr_assert_eq(csv_next(csv, &record), 1);
    for (size_t i = 0; i < record.count; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof(text) - length, "%s%s", i ? "|" : "", record.fields[i]);
    }
    cr_expect_str_eq(text, joined, "line %d: '%s', not '%s'", (int)line, text, joined);
    cr_expect_eq(record.line, line);
}

static void expect_end(struct csv *csv)
{
    struct csv_record record;
    cr_expect_eq(csv_next(csv, &record), 0);
    cr_expect_eq(csv_percent(csv), 100);
    csv_close(csv);
}

Test(csv, plain_fields_with_both_line_ends)
{
    struct csv *csv = text_reader("a,b,c\r\n1,,3\n,,\nlast,one,");
    expect(csv, 1, "a|b|c");
    expect(csv, 2, "1||3");
    expect(csv, 3, "||");
    expect(csv, 4, "last|one|");
    expect_end(csv);
}

Test(csv, quoted_commas_doubled_quotes_and_line_ends)
{
    struct csv *csv = text_reader("\"a,b\",\"say \"\"hi\"\"\",\"\"\nx,\"two\r\nlines\",y\r\nnext,1,2\n");
    expect(csv, 1, "a,b|say \"hi\"|");
    expect(csv, 2, "x|two\r\nlines|y");
    expect(csv, 4, "next|1|2");
    expect_end(csv);
}

Test(csv, a_quote_inside_an_unquoted_field_is_text)
{
    struct csv *csv = text_reader("FRAME 7\" SINGLE,A\"B,C\"\nz,,\n");
    expect(csv, 1, "FRAME 7\" SINGLE|A\"B|C\"");
    expect(csv, 2, "z||");
    expect_end(csv);
}

Test(csv, text_after_a_closing_quote_belongs_to_the_field)
{
    struct csv *csv = text_reader("\"7\" inch,b\n");
    expect(csv, 1, "7 inch|b");
    expect_end(csv);
}

Test(csv, a_quote_that_is_never_closed_swallows_only_its_line)
{
    struct csv *csv = text_reader("1,\"open,2\n3,4,5\n");
    expect(csv, 1, "1|\"open|2");
    expect(csv, 2, "3|4|5");
    expect_end(csv);
}

Test(csv, a_quote_closed_too_far_away_swallows_only_its_line)
{
    size_t size = CSV_RECORD_MAX + 1000;
    char *text = malloc(size);
    memset(text, 'x', size);
    memcpy(text, "1,\"open\n2,b\n", 12);
    text[size - 2] = '"';
    text[size - 1] = '\n';
    struct csv *csv = reader(text, size);
    free(text);
    expect(csv, 1, "1|\"open");
    expect(csv, 2, "2|b");
    csv_close(csv);
}

Test(csv, a_byte_order_mark_and_empty_lines_are_skipped)
{
    struct csv *csv = text_reader("\xEF\xBB\xBF"
                                  "a,b\n\n\r\nc,d\n\n");
    expect(csv, 1, "a|b");
    expect(csv, 4, "c|d");
    expect_end(csv);
}

Test(csv, bytes_that_are_no_utf8_become_the_replacement_character)
{
    struct csv *csv =
        text_reader("CAF\xC9,\xC3\xA9,\xE2\x82\xAC\n\xED\xA0\x80,\xC0\xAF,\xF5\n\xF0\x9F\x98\x80,\xE2\x82\n");
    expect(csv, 1, "CAF\xEF\xBF\xBD|\xC3\xA9|\xE2\x82\xAC");
    expect(
        csv, 2,
        "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD|\xEF\xBF\xBD"); /* surrogate, overlong, > max */
    expect(csv, 3, "\xF0\x9F\x98\x80|\xEF\xBF\xBD\xEF\xBF\xBD");
    expect_end(csv);
}

Test(csv, a_nul_byte_does_not_cut_the_field)
{
    struct csv *csv = reader("a\0b,c\n", 6);
    expect(csv, 1,
           "a\xEF\xBF\xBD"
           "b|c");
    expect_end(csv);
}

Test(csv, more_fields_than_are_kept_are_still_counted)
{
    char text[CSV_FIELDS_MAX * 2 + 64];
    struct csv_record record;
    memset(text, ',', sizeof(text));
    struct csv *csv = reader(text, sizeof(text));
    cr_assert_eq(csv_next(csv, &record), 1);
    cr_expect_eq(record.count, sizeof(text) + 1);
    expect_end(csv);
}

Test(csv, an_empty_file_has_no_records)
{
    expect_end(text_reader(""));
}

Test(csv, a_folder_or_nothing_is_an_error)
{
    struct csv *csv = NULL;
    cr_expect_lt(csv_open("/tmp", &csv), 0);
    cr_expect_lt(csv_open("/tmp/crier-no-such-file.csv", &csv), 0);
    cr_expect_null(csv);
}

Test(csv, any_bytes_are_read_to_the_end_with_valid_text)
{
    uint64_t seed = 1;
    for (int round = 0; round < 200; round++) {
        char text[600];
        for (size_t i = 0; i < sizeof(text); i++) {
            static const char likely[] = "\"\"\",,,\n\n\r\\ab\xC3\xA9\xFF\0";
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = likely[(seed >> 33) % sizeof(likely)];
        }
        struct csv *csv = reader(text, sizeof(text));
        struct csv_record record;
        uint64_t last = 0;
        while (csv_next(csv, &record) == 1) {
            cr_assert_gt(record.line, last, "round %d", round);
            last = record.line;
            for (size_t i = 0; i < record.count && i < CSV_FIELDS_MAX; i++) {
                json_t *string = json_string(record.fields[i]); /* refuses what is no UTF-8 */
                cr_assert_not_null(string, "round %d, line %d", round, (int)record.line);
                json_decref(string);
            }
        }
        cr_expect_eq(csv_percent(csv), 100);
        csv_close(csv);
    }
}
