/* test_protocol_example.c: docs/protocol.md says what the code does: its example in bytes, its kinds, its errors. */
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"
#include "proto/frame.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *document;
static uint8_t example[1024]; /* the bytes of all ```hex blocks, in order */
static size_t example_size;

/* A line is pairs of hex digits, then two spaces and a remark. */
static void read_hex_line(const char *line)
{
    unsigned byte;
    int used;
    while (sscanf(line, "%2x%n", &byte, &used) == 1 && used == 2) {
        cr_assert_lt(example_size, sizeof(example));
        example[example_size++] = (uint8_t)byte;
        line += used;
        if (line[0] != ' ' || line[1] == ' ')
            return;
        line++;
    }
}

static void read_document(void)
{
    FILE *file = fopen(PROTOCOL_DOCUMENT, "r");
    cr_assert_not_null(file);
    document = calloc(1, 256 * 1024);
    cr_assert_gt(fread(document, 1, 256 * 1024 - 1, file), 10000);
    fclose(file);
    bool inside = false;
    for (const char *line = document, *end; (end = strchr(line, '\n')); line = end + 1) {
        if (strncmp(line, "```", 3) == 0)
            inside = strncmp(line, "```hex", 6) == 0;
        else if (inside)
            read_hex_line(line);
    }
}

static void drop_document(void)
{
    free(document);
}

TestSuite(protocol_document, .init = read_document, .fini = drop_document);

Test(protocol_document, its_example_decodes_to_what_it_says)
{
    struct frame frame;
    int64_t used = frame_decode(example, example_size, FRAME_SIZE_MAX, &frame);
    cr_assert_gt(used, 0);
    cr_assert_eq(frame.kind, FRAME_HELLO);
    Wire__Hello *hello = wire__hello__unpack(NULL, frame.header_size, frame.header);
    cr_assert_not_null(hello);
    cr_assert_eq(hello->version, 1);
    cr_assert_eq(hello->instance.len, 16);
    cr_assert_str_eq(hello->name, "doc");
    wire__hello__free_unpacked(hello, NULL);

    int64_t more = frame_decode(example + used, example_size - (size_t)used, FRAME_SIZE_MAX, &frame);
    cr_assert_eq(used + more, (int64_t)example_size, "two frames and nothing else");
    cr_assert_eq(frame.kind, FRAME_EMIT);
    Wire__Emit *emit = wire__emit__unpack(NULL, frame.header_size, frame.header);
    cr_assert_not_null(emit);
    cr_assert_eq(emit->request, 1);
    cr_assert_eq(emit->n_parts, 1);
    cr_assert_eq(emit->parts[0]->partition, 1);
    cr_assert_eq(emit->parts[0]->size, frame.attachment_size);
    wire__emit__free_unpacked(emit, NULL);

    struct batch_limits limits = {1000, 1000, 1000};
    struct batch_header header;
    const char *why = "";
    cr_assert_eq(batch_validate(frame.attachment, frame.attachment_size, &limits, &header, &why), 0, "%s",
                 why);
    cr_assert_eq(header.producer_id, -1);
    struct batch_iterator iterator;
    struct batch_record record;
    cr_assert_eq(batch_iterator_init(&iterator, frame.attachment, frame.attachment_size, 0), 0);
    cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
    cr_assert_eq(record.value.size, 5);
    cr_assert_eq(memcmp(record.value.data, "hello", 5), 0);
    cr_assert_null(record.key.data);
    cr_assert_eq(record.timestamp_ms, INT64_C(1767225600000));
    cr_assert_eq(batch_iterator_next(&iterator, &record), 0);
}

/* A table's row begins with these cells. */
static void expect_row(int number, const char *name, const char *third)
{
    char row[128];
    snprintf(row, sizeof(row), "\n| %d | %s |%s", number, name, third);
    cr_assert_not_null(strstr(document, row), "%s", row);
}

Test(protocol_document, its_table_has_every_kind)
{
#define KIND(name, number, text) expect_row(number, text, "");
    FRAME_KIND_MAP(KIND)
#undef KIND
}

Test(protocol_document, its_table_has_every_error)
{
#define ERROR(name, number, retriable, text)                                                                 \
    expect_row(number, #name, retriable ? " yes |" : " no |");                                               \
    cr_assert_not_null(strstr(document, text));
    ERROR_MAP(ERROR)
#undef ERROR
}
