/* Tables of comma-separated values, read and written, on a bus of local: whose loop the test turns. Python's csv module is the judge.
 * Listed in docs/stream-conformance.md. */
#include "stream_rig.h"

#include "crier/transform.h"

#include <stdlib.h>
#include <unistd.h>

TestSuite(csv, .init = rig_open, .fini = rig_close, .timeout = 120);

/* What is read: ROW one after the other: {key|name=value|name=value}, `value` of the item in front if it was asked for. */
static char *seen;
static size_t seen_size;
static bool with_value;
static char failure[200];

static void see(const void *data, size_t size)
{
    seen = realloc(seen, seen_size + size + 1);
    cr_assert(seen);
    memcpy(seen + seen_size, data, size);
    seen[seen_size += size] = '\0';
}

static void see_row(const crier_stream_event *event, void *ctx)
{
    const crier_event *row = event->chunk->event;
    crier_header field;

    (void)ctx;
    see("{", 1);
    if (with_value)
        see(row->value, row->value_size);
    if (row->key) {
        see("@", 1);
        see(row->key, row->key_size);
    }
    for (int32_t i = 0; i < row->header_count; i++) {
        cr_assert_eq(crier_event_header(row, i, &field), 0);
        see("|", i > 0 || with_value || row->key);
        see(field.name, field.name_size);
        see("=", 1);
        see(field.value, field.value_size);
    }
    see("}", 1);
}

static void see_bytes(const crier_stream_event *event, void *ctx)
{
    (void)ctx;
    see(event->chunk->data, event->chunk->size);
}

static void see_failure(const crier_stream_event *event, void *ctx)
{
    (void)ctx;
    snprintf(failure, sizeof(failure), "%s", event->text);
}

/* Until it has closed; gives it back. How it ended. */
static int ended(crier_stream *stream)
{
    struct crier_stream_state state = {0};

    (void)crier_stream_end(stream);
    for (int i = 0; i < 100000 && !state.closed; i++) {
        crier_process(bus);
        cr_assert_eq(crier_stream_state(stream, &state), 0);
    }
    cr_assert(state.closed);
    crier_stream_release(stream);
    return state.code;
}

static void begin(crier_stream *stream, crier_stream_handler *handler)
{
    seen_size = 0;
    see("", 0);
    failure[0] = '\0';
    cr_assert_eq(crier_stream_on(stream, CRIER_STREAM_DATA, handler, NULL), 0);
    cr_assert_eq(crier_stream_on(stream, CRIER_STREAM_ERROR, see_failure, NULL), 0);
}

/* In two pieces. */
static int read_table(const struct crier_csv_options *options, const char *data, size_t size, size_t first)
{
    crier_stream *stream;

    cr_assert_eq(crier_csv_reader(bus, options, &stream), 0);
    begin(stream, see_row);
    (void)crier_stream_write(stream, data, first);
    (void)crier_stream_write(stream, data + first, size - first);
    return ended(stream);
}

static void reads(const struct crier_csv_options *options, const char *text, const char *expected)
{
    size_t size = strlen(text);

    for (size_t at = 0; at <= size; at++) {
        cr_assert_eq(read_table(options, text, size, at), 0, "\"%s\" at %zu: %s", text, at, failure);
        cr_assert_str_eq(seen, expected, "\"%s\" at %zu: %s", text, at, seen);
    }
}

static void refuses(const struct crier_csv_options *options, const char *text, int code, const char *words)
{
    size_t size = strlen(text);

    for (size_t at = 0; at <= size; at++) {
        cr_assert_eq(read_table(options, text, size, at), code, "\"%s\" at %zu", text, at);
        cr_assert_str_eq(failure, words, "\"%s\" at %zu: %s", text, at, failure);
    }
}

/* Everything the RFC has, at every split. */
Test(csv, rows_are_items_whose_headers_are_the_fields)
{
    reads(NULL, "a,b\r\n1,2\r\n", "{a=1|b=2}");
    reads(NULL, "a,b\n1,2", "{a=1|b=2}"); /* LF, and none at the end */
    reads(NULL, "a,b\r\n1,\r\n,2\r\n,\r\n", "{a=1|b=}{a=|b=2}{a=|b=}");
    reads(NULL, "a\r\n\"\"\r\n", "{a=}");
    reads(NULL, "a,b\r\n\"x,y\",\"say \"\"hi\"\"\"\r\n", "{a=x,y|b=say \"hi\"}");
    reads(NULL, "a,b\r\n\"one\r\ntwo\n\",\"\"\"\"\r\n3,4\r\n", "{a=one\r\ntwo\n|b=\"}{a=3|b=4}");
    reads(NULL, "\"a,1\",b\r\n 1 ,2\r\n", "{a,1= 1 |b=2}"); /* blanks belong to their field */
    reads(NULL, "\xef\xbb\xbf\"a\",b\n1,2\n", "{a=1|b=2}");
    reads(NULL, "\xef\xbb,b\n1,2\n", "{\xef\xbb=1|b=2}"); /* no byte order mark */
    reads(NULL, "a,b\r\n\r\n1,2\r\n\n", "{a=1|b=2}");
    reads(NULL, "a,b\r\n", "");
    reads(NULL, "", "");
}

Test(csv, an_items_value_is_its_row_as_it_stands)
{
    struct crier_csv_options options = crier_csv_options_default();
    with_value = true;
    reads(NULL, "a,b\r\n\"1\",\"x\r\ny\"\r\n,\n", "{\"1\",\"x\r\ny\"|a=1|b=x\r\ny}{,|a=|b=}");
    options.key_column = "b";
    reads(&options, "a,b\n1,2\n3,\n", "{1,2@2|a=1|b=2}{3,@|a=3|b=}");
    with_value = false;
    options.names = false;
    options.key_column = "1";
    options.delimiter = '\t';
    reads(&options, "a\tb,c\n1\t2\n", "{@a|1=a|2=b,c}{@1|1=1|2=2}");
}

Test(csv, what_is_no_table_is_corrupt_and_says_in_which_line)
{
    struct crier_csv_options options = crier_csv_options_default();
    refuses(NULL, "a,b\n1,2,3\n", CRIER_ECORRUPT, "line 2: 3 fields, where the first row has 2");
    refuses(NULL, "a,b\n1,2\n\n\"\n\"\n", CRIER_ECORRUPT, "line 4: 1 fields, where the first row has 2");
    refuses(NULL, "a\nx\"y\n", CRIER_ECORRUPT, "line 2: a quote in a field without quotes");
    refuses(NULL, "a\n\"x\"y\n", CRIER_ECORRUPT, "line 2: something behind a closing quote");
    refuses(NULL, "a\n\"x\ny", CRIER_ECORRUPT, "line 3: a quote is not closed, perhaps long before");
    refuses(NULL, "a\nx\ry\n", CRIER_ECORRUPT, "line 2: a carriage return without a line feed");
    refuses(NULL, "a\nx\r", CRIER_ECORRUPT, "line 2: a carriage return without a line feed");
    refuses(NULL, "\xef\xbb", CRIER_ECORRUPT, "line 1: it ends inside a byte order mark");
    options.key_column = "c";
    refuses(&options, "a,b\n1,2\n", CRIER_EINVAL, "there is no column 'c'");
    options.key_column = NULL;
    options.row_size_max = 5;
    refuses(&options, "a,b\n12,34\n123,45\n", CRIER_ETOOBIG,
            "line 3: a row of more than 5 bytes begins here");
    refuses(&options, "a,b\n\"\n\n\n\n\n", CRIER_ETOOBIG, "line 2: a row of more than 5 bytes begins here");
    reads(&options, "a,b\r\n12,34\r\n", "{a=12|b=34}");
}

/* ---- writing ---- */

static int write_item(crier_stream *stream, const char *const *names, const char *const *fields, size_t count,
                      const char *value)
{
    crier_event event = {.value = value, .value_size = value ? strlen(value) : 0};
    crier_header headers[8];
    crier_chunk *chunk;
    int rc;

    for (size_t i = 0; i < count; i++)
        headers[i] = (crier_header){names[i], strlen(names[i]), fields[i], fields[i] ? strlen(fields[i]) : 0};
    cr_assert_eq(crier_chunk_create_item(&event, headers, count, &chunk), 0);
    rc = crier_stream_write_chunk(stream, chunk);
    crier_chunk_release(chunk);
    return rc;
}

static const char *const ab[] = {"a", "b"}, *const ac[] = {"a", "c"};

Test(csv, items_are_rows_quoted_where_they_have_to_be)
{
    static const char *const rows[][2] = {
        {"1", "x,y"}, {"say \"hi\"", " "}, {"one\ntwo", "\r"}, {"", NULL}, {"'", ";"}};
    struct crier_csv_options options = crier_csv_options_default();
    crier_stream *stream;
    cr_assert_eq(crier_csv_writer(bus, NULL, &stream), 0);
    begin(stream, see_bytes);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        cr_assert_geq(write_item(stream, ab, rows[i], 2, NULL), 0);
    cr_assert_eq(ended(stream), 0);
    cr_assert_str_eq(seen, "a,b\r\n1,\"x,y\"\r\n\"say \"\"hi\"\"\", \r\n\"one\ntwo\",\"\r\"\r\n,\r\n',;\r\n");

    options.delimiter = ';';
    options.names = false;
    options.lf = true;
    cr_assert_eq(crier_csv_writer(bus, &options, &stream), 0);
    begin(stream, see_bytes);
    cr_assert_geq(write_item(stream, ab, rows[4], 2, NULL), 0);
    cr_assert_geq(write_item(stream, ac, rows[0], 2, NULL), 0); /* names are not written: nor compared */
    cr_assert_eq(ended(stream), 0);
    cr_assert_str_eq(seen, "';\";\"\n1;x,y\n");
}

Test(csv, an_item_without_headers_is_a_row_of_its_value)
{
    crier_stream *stream;
    cr_assert_eq(crier_csv_writer(bus, NULL, &stream), 0);
    begin(stream, see_bytes);
    cr_assert_geq(write_item(stream, NULL, NULL, 0, "x,y"), 0);
    cr_assert_geq(write_item(stream, NULL, NULL, 0, NULL), 0); /* no empty line: that is no row */
    cr_assert_eq(ended(stream), 0);
    cr_assert_str_eq(seen, "value\r\n\"x,y\"\r\n\"\"\r\n");
}

Test(csv, items_with_other_columns_are_refused)
{
    crier_chunk *bytes;
    static const char *const row[] = {"1", "2"};
    crier_stream *stream;
    cr_assert_eq(crier_csv_writer(bus, NULL, &stream), 0);
    begin(stream, see_bytes);
    cr_assert_geq(write_item(stream, ab, row, 2, NULL), 0);
    cr_assert_geq(write_item(stream, ac, row, 2, NULL), 0);
    cr_assert_eq(ended(stream), CRIER_EINVAL);
    cr_assert_str_eq(failure, "an item has other columns than the first");
    cr_assert_str_eq(seen, "a,b\r\n1,2\r\n");
    cr_assert_eq(crier_chunk_create("1,2", 3, &bytes), 0); /* and what is no item */
    cr_assert_eq(crier_csv_writer(bus, NULL, &stream), 0);
    begin(stream, see_bytes);
    (void)crier_stream_write_chunk(stream, bytes);
    crier_chunk_release(bytes);
    cr_assert_eq(ended(stream), CRIER_EINVAL);
}

/* Random tables: ours to Python's reader, Python's writer (which quotes everything, or what it has to) to ours. */
Test(csv, python_reads_and_writes_the_same_tables)
{
    static const char *const parts[] = {"", "a", ",", "\"", "\n", "\r\n", "x y", "\xc3\xa4", "1.5", ";"};
    static const char script[] =
        "import csv,sys\n"
        "rows=list(csv.reader(open(sys.argv[1],newline='',encoding='utf-8'),strict=True))\n"
        "quoting=csv.QUOTE_ALL if int(sys.argv[2])%2 else csv.QUOTE_MINIMAL\n"
        "csv.writer(open(sys.argv[1],'w',newline='',encoding='utf-8'),quoting=quoting).writerows(rows)\n";
    char path[] = "/tmp/crier-csv-XXXXXX", command[1024];
    unsigned seed = 1;
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);

    for (int table = 0; table < 12; table++) {
        char *expected, *bytes;
        crier_stream *stream;
        FILE *file;
        cr_assert_eq(crier_csv_writer(bus, NULL, &stream), 0);
        begin(stream, see_bytes);
        expected = calloc(1, 1 << 16);
        cr_assert(expected);
        for (int row = 0; row < 100; row++) {
            char fields[2][64] = {"", ""};
            for (int i = 0; i < 2; i++)
                for (int part = 0; part < 3; part++) {
                    seed = seed * 1103515245 + 12345;
                    strcat(fields[i], parts[(seed >> 16) % (sizeof(parts) / sizeof(*parts))]);
                }
            sprintf(expected + strlen(expected), "{a=%s|b=%s}", fields[0], fields[1]);
            cr_assert_geq(write_item(stream, ab, (const char *const[]){fields[0], fields[1]}, 2, NULL), 0);
        }
        cr_assert_eq(ended(stream), 0);
        cr_assert(file = fopen(path, "w"));
        cr_assert(fwrite(seen, 1, seen_size, file) == seen_size && fclose(file) == 0);
        snprintf(command, sizeof(command), "python3 -c \"$SCRIPT\" %s %d", path, table);
        cr_assert_eq(setenv("SCRIPT", script, 1), 0);
        cr_assert_eq(system(command), 0);
        cr_assert(bytes = calloc(1, 1 << 16));
        cr_assert(file = fopen(path, "r"));
        size_t size = fread(bytes, 1, 1 << 16, file);
        fclose(file);
        cr_assert_eq(read_table(NULL, bytes, size, size / 2), 0, "table %d: %s", table, failure);
        cr_assert_str_eq(seen, expected, "table %d", table);
        free(expected), free(bytes);
    }
    unlink(path);
}

Test(csv, bad_arguments_of_tables_are_refused)
{
    static const char wrong[] = {'"', '\r', '\n', '\0'};
    struct crier_csv_options options = crier_csv_options_default();
    crier_stream *stream;
    cr_assert_eq(crier_csv_reader(NULL, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_csv_reader(bus, NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_csv_writer(NULL, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_csv_writer(bus, NULL, NULL), CRIER_EINVAL);
    for (size_t i = 0; i < sizeof(wrong); i++) {
        options.delimiter = wrong[i];
        cr_assert_eq(crier_csv_reader(bus, &options, &stream), CRIER_EINVAL);
        cr_assert_eq(crier_csv_writer(bus, &options, &stream), CRIER_EINVAL);
    }
    options.delimiter = ',';
    options.struct_size = 0;
    cr_assert_eq(crier_csv_reader(bus, &options, &stream), CRIER_EINVAL);
}
