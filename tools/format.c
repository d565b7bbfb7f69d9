/* format.c: how `crier on` prints an event. See format.h.
 *
 * Thread:      one: the loop's.
 * Happy path:  the template is cut into steps once; an event runs through them. JSON goes through jansson.
 * Failures:    an unknown letter is a sentence about wrong use; a value that is no UTF-8 becomes base64 in JSON. */
#include "tools/format.h"

#include "tools/text.h"

#include "base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- templates ---- */

static char unescape(char letter)
{
    switch (letter) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '\\':
        return '\\';
    default:
        return 0;
    }
}

/* Cuts the template into at most one step per character and one for the newline. Literal text gathers at `to`. */
static int parse(struct format *format, const char *at, char *to, char *error, size_t error_size)
{
    struct format_step *step = format->steps;
    char *literal = to;

    for (; *at != '\0'; at++) {
        char byte = *at;
        if (byte == '\\') {
            byte = unescape(*++at);
            if (byte == 0) {
                snprintf(error, error_size, "'\\%.1s' is unknown; there are \\n \\t \\\\", at);
                return -EINVAL;
            }
        } else if (byte == '%' && *++at != '%') {
            if (*at == '\0' || strchr("vkhtpoT", *at) == NULL) {
                snprintf(error, error_size, "'%%%.1s' is unknown; there are %%v %%k %%h %%t %%p %%o %%T %%%%",
                         at);
                return -EINVAL;
            }
            if (to > literal)
                *step++ = (struct format_step){.text = literal, .text_size = (size_t)(to - literal)};
            literal = to;
            *step++ = (struct format_step){.field = *at};
            continue;
        }
        *to++ = byte;
    }
    if (to == literal || to[-1] != '\n')
        *to++ = '\n';
    *step++ = (struct format_step){.text = literal, .text_size = (size_t)(to - literal)};
    format->step_count = (size_t)(step - format->steps);
    return 0;
}

int format_init(struct format *format, const char *text, char *error, size_t error_size)
{
    size_t size = strlen(text);

    *format = (struct format){0};
    if (strcmp(text, "json") == 0)
        return 0;
    format->text = malloc(size + 1);
    format->steps = calloc(size + 1, sizeof(format->steps[0]));
    if (format->text == NULL || format->steps == NULL) {
        format_finish(format);
        return -ENOMEM;
    }
    int rc = parse(format, text, format->text, error, error_size);
    if (rc < 0)
        format_finish(format);
    return rc;
}

void format_finish(struct format *format)
{
    free(format->steps);
    free(format->text);
    *format = (struct format){0};
}

static void print_headers(const crier_event *event, FILE *out)
{
    for (int32_t i = 0; i < event->header_count; i++) {
        crier_header header;
        if (crier_event_header(event, i, &header) < 0)
            return;
        if (i > 0)
            fputc(',', out);
        fwrite(header.name, 1, header.name_size, out);
        fputc('=', out);
        if (header.value_size > 0)
            fwrite(header.value, 1, header.value_size, out);
    }
}

static void print_field(char field, const crier_event *event, FILE *out)
{
    char text[TEXT_SIZE];

    switch (field) {
    case 'v':
        if (event->value_size > 0)
            fwrite(event->value, 1, event->value_size, out);
        break;
    case 'k':
        if (event->key_size > 0)
            fwrite(event->key, 1, event->key_size, out);
        break;
    case 'h':
        print_headers(event, out);
        break;
    case 't':
        fputs(event->topic, out);
        break;
    case 'p':
        fprintf(out, "%" PRIu32, event->partition);
        break;
    case 'o':
        fprintf(out, "%" PRIu64, event->offset);
        break;
    case 'T':
        fputs(text_time(event->timestamp_ms * 1000, text), out);
        break;
    default:
        CHECK(field == 0); /* parse() lets no other letter through */
    }
}

/* ---- JSON ---- */

/* size bytes as base64 (RFC 4648), or NULL. The caller frees it. */
static char *base64(const uint8_t *data, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;

    CHECK(data != NULL);
    for (size_t i = 0; text != NULL && i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? data[i + 2] : 0);
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    if (text != NULL)
        *to = '\0';
    return text;
}

static json_t *json_base64(const void *data, size_t size)
{
    char *text = base64(data, size);
    json_t *json = text != NULL ? json_string(text) : NULL;
    free(text);
    return json;
}

/* object[name] = the bytes, or object[name_base64] if they are no UTF-8. 0 or -1, as jansson's functions. */
static int json_set_bytes(json_t *object, const char *name, const void *data, size_t size)
{
    char name_base64[32];
    json_t *string = data == NULL ? json_null() : json_stringn(data, size);

    if (string != NULL)
        return json_object_set_new(object, name, string);
    snprintf(name_base64, sizeof(name_base64), "%s_base64", name);
    return json_object_set_new(object, name_base64, json_base64(data, size));
}

/* A name or value of a header: a string, null, or {"base64": ...}. */
static json_t *json_header_part(const void *data, size_t size)
{
    json_t *string = data == NULL ? json_null() : json_stringn(data, size);
    return string != NULL ? string : json_pack("{s:o}", "base64", json_base64(data, size));
}

/* [[name, value], ...], or NULL (out of memory). */
static json_t *json_headers(const crier_event *event)
{
    json_t *array = json_array();
    int rc = array != NULL ? 0 : -1;

    for (int32_t i = 0; i < event->header_count && rc == 0; i++) {
        crier_header header;
        if (crier_event_header(event, i, &header) < 0)
            break;
        json_t *name = json_header_part(header.name, header.name_size);
        rc = json_array_append_new(
            array, json_pack("[o,o]", name, json_header_part(header.value, header.value_size)));
    }
    if (rc == 0)
        return array;
    json_decref(array);
    return NULL;
}

static int print_json(const crier_event *event, FILE *out)
{
    json_t *object =
        json_pack("{s:s,s:I,s:I,s:I}", "topic", event->topic, "partition", (json_int_t)event->partition,
                  "offset", (json_int_t)event->offset, "timestamp_ms", (json_int_t)event->timestamp_ms);
    if (object == NULL)
        return -ENOMEM;
    int rc = json_set_bytes(object, "key", event->key, event->key_size);
    if (rc == 0)
        rc = json_object_set_new(object, "headers", json_headers(event));
    if (rc == 0)
        rc = json_set_bytes(object, "value", event->value, event->value_size);
    if (rc == 0) {
        json_dumpf(object, out, JSON_COMPACT);
        fputc('\n', out);
    }
    json_decref(object);
    return rc == 0 ? 0 : -ENOMEM;
}

int format_print(const struct format *format, const crier_event *event, FILE *out)
{
    if (format->steps == NULL)
        return print_json(event, out);
    for (const struct format_step *step = format->steps; step < format->steps + format->step_count; step++) {
        if (step->field != 0)
            print_field(step->field, event, out);
        else
            fwrite(step->text, 1, step->text_size, out);
    }
    return 0;
}
