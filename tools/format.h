/* format.h: how `crier on` prints an event: a template like "%t %o %v\n", or one JSON object a line.
 *
 *   %v value   %k key   %h headers, NAME=VALUE and commas   %t topic   %p partition   %o offset
 *   %T the producer's time, 2026-01-31T12:00:00.123Z        %% a percent sign        \n \t \\
 *
 * Keys and values are printed byte for byte. In JSON they are strings if they are UTF-8 ("value", "key"), else base64
 * ("value_base64", "key_base64"); headers are [name, value] pairs, because names may repeat.
 *
 * Thread: one. */
#ifndef CRIER_TOOLS_FORMAT_H
#define CRIER_TOOLS_FORMAT_H

#include "client/include/crier/crier.h"

#include <stddef.h>
#include <stdio.h>

struct format_step {
    char field; /* the letter after '%', or 0: the text */
    const char *text;
    size_t text_size;
};

struct format {
    struct format_step *steps; /* NULL: JSON */
    size_t step_count;
    char *text; /* what the steps point into */
};

/* text: copied; "json" or a template, which ends its line by itself unless it ends with \n.
 * 0, -ENOMEM, or -EINVAL with a sentence in error. */
int format_init(struct format *format, const char *text, char *error, size_t error_size);
void format_finish(struct format *format);

/* Writes the event to out. 0 or -ENOMEM; errors of `out` are kept in it (ferror). */
int format_print(const struct format *format, const crier_event *event, FILE *out);

#endif
