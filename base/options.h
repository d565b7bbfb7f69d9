/* options.h: command line options from one table: parsing, environment variables and --help come from the same rows.
 *
 * Parsing itself is getopt_long's. A value is looked for on the command line, then in the environment, then the
 * default; the row's parser checks it, so that a bad value is one clear sentence naming the option and its range.
 *
 * Thread:  main thread at start. Prints only through options_help() and the error text it returns. */
#ifndef CRIER_BASE_OPTIONS_H
#define CRIER_BASE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct option_row {
    const char *name;         /* long name without the dashes, "listen" */
    char letter;              /* short form, or 0 */
    const char *environment;  /* "CRIERD_LISTEN", or NULL */
    const char *argument;     /* placeholder in help, "HOST:PORT"; NULL: a flag without argument */
    const char *default_text; /* shown in help and parsed when nothing else is given; NULL: none */
    const char *help;         /* one sentence */
    /* Stores the value. text is NULL for a flag. Returns 0, or -EINVAL with a reason in error. */
    int (*parse)(void *target, const char *text, char *error, size_t error_size);
    size_t offset; /* of the field in the options struct handed to options_parse */
};

/* Parses argv[1..] into `target`. Arguments that are no options are moved to the end, as getopt_long does.
 * Returns the index of the first of them, or -EINVAL with a sentence in `error`;
 * -ECANCELED when --help or --version was asked for (*ret_asked is 'h' or 'V'). */
int options_parse(const struct option_row *rows, size_t count, int argc, char **argv, void *target,
                  char *ret_asked, char *error, size_t error_size);

/* The steps of options_parse(), for a program that looks in more places. Each fills the rows that no step before it has
 * filled, and notes where the value came from: sources[] has a place per row and starts as OPTION_UNSET. */
#define OPTIONS_MAX 64 /* rows of one table; our longest has about thirty */

enum option_source { OPTION_UNSET, OPTION_ARGUMENT, OPTION_ENVIRONMENT, OPTION_FILE, OPTION_DEFAULT };

int options_from_arguments(const struct option_row *rows, size_t count, int argc, char **argv, void *target,
                           enum option_source *sources, char *ret_asked, char *error, size_t error_size);
int options_from_environment(const struct option_row *rows, size_t count, void *target,
                             enum option_source *sources, char *error, size_t error_size);
int options_from_defaults(const struct option_row *rows, size_t count, void *target,
                          enum option_source *sources, char *error, size_t error_size);

/* The options as a help table, wrapped at 80 columns. */
void options_help(const struct option_row *rows, size_t count, FILE *out);

/* Parsers for `parse`: the target field's type is in the name. */
int options_string(void *target, const char *text, char *error,
                   size_t error_size);                                            /* const char *, borrowed */
int options_flag(void *target, const char *text, char *error, size_t error_size); /* bool */
int options_uint64(void *target, const char *text, char *error,
                   size_t error_size); /* uint64_t, 1K 1M 1G suffixes (1024) */
int options_duration(void *target, const char *text, char *error,
                     size_t error_size); /* int64_t microseconds: 250us 250ms 1s 5m 2h 7d */

/* The same without an option: 0, or -EINVAL. */
int parse_size(const char *text, uint64_t *ret_bytes);
int parse_duration_us(const char *text, int64_t *ret_us);
/* And back, in the largest unit that divides it: "64K", "250ms". */
void format_size(uint64_t bytes, char *to, size_t size);
void format_duration_us(int64_t us, char *to, size_t size);

#endif
