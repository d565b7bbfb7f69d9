/* How `crier on` prints an event: templates byte for byte, JSON that any reader can take apart again. */
#include "tools/format.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const crier_event order = {.topic = "orders.placed",
                                  .partition = 3,
                                  .offset = 18446744073709551614u,
                                  .timestamp_ms = 1769860800123,
                                  .key = "customer-7",
                                  .key_size = 10,
                                  .value = "two socks",
                                  .value_size = 9};

/* What the format makes of the event; freed by the caller. */
static char *printed(const char *text, const crier_event *event, size_t *ret_size)
{
    struct format format;
    char error[128], *output;

    cr_assert(format_init(&format, text, error, sizeof(error)) == 0, "'%s' is refused: %s", text, error);
    FILE *out = open_memstream(&output, ret_size);
    cr_assert(out != NULL);
    cr_assert(format_print(&format, event, out) == 0);
    fclose(out);
    format_finish(&format);
    return output;
}

static void expect(const char *text, const crier_event *event, const char *wanted)
{
    size_t size;
    char *output = printed(text, event, &size);
    cr_assert_str_eq(output, wanted);
    cr_assert(eq(sz, size, strlen(wanted)));
    free(output);
}

static json_t *as_json(const crier_event *event)
{
    json_error_t error;
    size_t size;
    char *output = printed("json", event, &size);

    cr_assert(output[size - 1] == '\n' && memchr(output, '\n', size) == output + size - 1, "one line: %s",
              output);
    json_t *json = json_loads(output, 0, &error);
    cr_assert(json != NULL, "%s: %s", error.text, output);
    free(output);
    return json;
}

Test(format, a_template_prints_each_field)
{
    expect("%v", &order, "two socks\n");
    expect("%T %t/%p@%o %k: %v", &order,
           "2026-01-31T12:00:00.123Z orders.placed/3@18446744073709551614 customer-7: two socks\n");
}

Test(format, a_template_ends_its_line_once)
{
    expect("%v\\n", &order, "two socks\n");
    expect("", &order, "\n");
    expect("a\\n\\n", &order, "a\n\n");
}

Test(format, escapes_and_percent_signs)
{
    expect("100%%\\t%k\\\\%%", &order, "100%\tcustomer-7\\%\n");
    expect("%%v", &order, "%v\n");
}

Test(format, what_an_event_lacks_prints_as_nothing)
{
    crier_event event = {.topic = "t"};
    expect("[%k|%v|%h]", &event, "[||]\n");
}

Test(format, values_are_printed_byte_for_byte)
{
    static const char value[] = {0, 'a', '\n', (char)0xff};
    crier_event event = {.topic = "t", .value = value, .value_size = sizeof(value)};
    size_t size;
    char *output = printed("%v", &event, &size);

    cr_assert(eq(sz, size, sizeof(value) + 1));
    cr_assert(memcmp(output, value, sizeof(value)) == 0);
    cr_assert(output[sizeof(value)] == '\n');
    free(output);
}

Test(format, an_unknown_letter_is_refused_with_the_known_ones)
{
    static const char *const wrong[] = {"%x", "%", "a%", "\\", "\\r", "%v %"};
    struct format format;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char error[128] = "";
        cr_assert(format_init(&format, wrong[i], error, sizeof(error)) == -EINVAL, "'%s' is accepted",
                  wrong[i]);
        cr_assert(strstr(error, "%v") != NULL || strstr(error, "\\n") != NULL, "'%s': %s", wrong[i], error);
    }
}

Test(format, json_has_every_field)
{
    crier_event event = order;
    event.offset = 41;
    json_t *json = as_json(&event);

    cr_assert_str_eq(json_string_value(json_object_get(json, "topic")), "orders.placed");
    cr_assert(eq(llong, json_integer_value(json_object_get(json, "partition")), 3));
    cr_assert(eq(llong, json_integer_value(json_object_get(json, "offset")), 41));
    cr_assert(eq(llong, json_integer_value(json_object_get(json, "timestamp_ms")), 1769860800123));
    cr_assert_str_eq(json_string_value(json_object_get(json, "key")), "customer-7");
    cr_assert_str_eq(json_string_value(json_object_get(json, "value")), "two socks");
    cr_assert(eq(sz, json_array_size(json_object_get(json, "headers")), 0));
    cr_assert(json_object_get(json, "headers") != NULL);
    json_decref(json);
}

Test(format, json_tells_null_from_empty)
{
    crier_event event = {.topic = "t", .value = "", .value_size = 0};
    json_t *json = as_json(&event);

    cr_assert(json_object_get(json, "key") == json_null());
    cr_assert_str_eq(json_string_value(json_object_get(json, "value")), "");
    json_decref(json);
}

/* The vectors of RFC 4648, each made invalid UTF-8 by its first byte. */
Test(format, json_has_what_is_no_utf8_in_base64)
{
    static const struct {
        const char *bytes, *base64;
    } cases[] = {
        {"\xff", "/w=="}, {"\xff\x6f", "/28="}, {"\xff\x6f\x6f", "/29v"}, {"\xff\x6f\x6f\x62", "/29vYg=="}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        crier_event event = {.topic = "t", .value = cases[i].bytes, .value_size = strlen(cases[i].bytes)};
        json_t *json = as_json(&event);
        cr_assert(json_object_get(json, "value") == NULL);
        cr_assert_str_eq(json_string_value(json_object_get(json, "value_base64")), cases[i].base64);
        json_decref(json);
    }
}
