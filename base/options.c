/* options.c: one table of rows becomes parsing, environment variables and --help.
 *
 * Role:    hands the command line to getopt_long, then fills what was not given from the environment and the defaults.
 * Thread:  the main thread at start: getopt_long keeps its place in globals of the C library.
 * Owner:   nothing is kept; strings stored in the target are borrowed from argv, the environment or the table.
 *
 * Happy path:  rows → getopt_long → each row's parser → environment → defaults
 * Failures:    every one is a sentence that names the option as the user wrote it and, from the parser, what it takes. */
#include "base/options.h"

#include "base/check.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OPTION_LONG    256 /* getopt's value of row 0: above every letter */
#define OPTION_HELP    (OPTION_LONG + OPTIONS_MAX)
#define OPTION_VERSION (OPTION_HELP + 1)

#define HELP_COLUMN 30 /* where the sentences start */
#define HELP_WIDTH  80

struct option_tables {
    struct option longs[OPTIONS_MAX + 3]; /* the rows, help, version, the end */
    char letters[2 * OPTIONS_MAX + 4];    /* ':' first: a missing argument is told apart */
};

static const struct option_row *row_by_letter(const struct option_row *rows, size_t count, int letter)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].letter && rows[i].letter == letter)
            return &rows[i];
    return NULL;
}

static void tables_fill(struct option_tables *tables, const struct option_row *rows, size_t count)
{
    CHECK(count <= OPTIONS_MAX);
    memset(tables, 0, sizeof(*tables));
    char *letter = tables->letters;
    *letter++ = ':';
    for (size_t i = 0; i < count; i++) {
        tables->longs[i].name = rows[i].name;
        tables->longs[i].has_arg = rows[i].argument ? required_argument : no_argument;
        tables->longs[i].val = OPTION_LONG + (int)i;
        if (!rows[i].letter)
            continue;
        *letter++ = rows[i].letter;
        if (rows[i].argument)
            *letter++ = ':';
    }
    tables->longs[count] = (struct option){.name = "help", .val = OPTION_HELP};
    tables->longs[count + 1] = (struct option){.name = "version", .val = OPTION_VERSION};
    if (!row_by_letter(rows, count, 'h'))
        *letter++ = 'h';
    if (!row_by_letter(rows, count, 'V'))
        *letter = 'V';
}

static const struct option_row *row_found(const struct option_row *rows, size_t count, int found)
{
    if (found >= OPTION_LONG && found < OPTION_LONG + (int)count)
        return &rows[found - OPTION_LONG];
    return row_by_letter(rows, count, found);
}

/* Runs the row's parser; on failure puts where the value came from in front of its reason. */
static int row_parse(const struct option_row *row, void *target, const char *text, const char *prefix,
                     const char *source, char *error, size_t error_size)
{
    char reason[256] = "";
    if (row->parse((char *)target + row->offset, text, reason, sizeof(reason)) == 0)
        return 0;
    snprintf(error, error_size, "%s%s: %s", prefix, source, reason);
    return -EINVAL;
}

/* What getopt_long could not make sense of, as a sentence. `found` is ':' or '?'. */
static int misuse(const struct option_row *rows, size_t count, char **argv, int found, char *error,
                  size_t error_size)
{
    const struct option_row *row = row_found(rows, count, optopt);
    if (found == ':' && row)
        snprintf(error, error_size, "--%s needs an argument: --%s %s", row->name, row->name, row->argument);
    else if (row)
        snprintf(error, error_size, "--%s takes no argument", row->name);
    else if (optopt > 0 && optopt < OPTION_LONG)
        snprintf(error, error_size, "-%c is not an option; see --help", optopt);
    else
        snprintf(error, error_size, "%s is not an option, or short for several; see --help",
                 argv[optind - 1]);
    return -EINVAL;
}

int options_from_arguments(const struct option_row *rows, size_t count, int argc, char **argv, void *target,
                           enum option_source *sources, char *ret_asked, char *error, size_t error_size)
{
    struct option_tables tables;
    tables_fill(&tables, rows, count);
    optind = 0; /* start over, also inside the C library */
    opterr = 0; /* we write the sentences */
    int found;
    while ((found = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
        if (found == '?' || found == ':')
            return misuse(rows, count, argv, found, error, error_size);
        const struct option_row *row = row_found(rows, count, found);
        if (!row) {
            *ret_asked = found == OPTION_HELP || found == 'h' ? 'h' : 'V';
            return -ECANCELED;
        }
        sources[row - rows] = OPTION_ARGUMENT;
        if (row_parse(row, target, optarg, "--", row->name, error, error_size) < 0)
            return -EINVAL;
    }
    return optind;
}

int options_from_environment(const struct option_row *rows, size_t count, void *target,
                             enum option_source *sources, char *error, size_t error_size)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = rows[i].environment;
        const char *text = name && sources[i] == OPTION_UNSET ? getenv(name) : NULL;
        if (!text || !*text) /* an empty variable is as good as none */
            continue;
        sources[i] = OPTION_ENVIRONMENT;
        if (row_parse(&rows[i], target, text, "$", name, error, error_size) < 0)
            return -EINVAL;
    }
    return 0;
}

int options_from_defaults(const struct option_row *rows, size_t count, void *target,
                          enum option_source *sources, char *error, size_t error_size)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = rows[i].default_text;
        if (!text || sources[i] != OPTION_UNSET)
            continue;
        sources[i] = OPTION_DEFAULT;
        if (row_parse(&rows[i], target, text, "the default of --", rows[i].name, error, error_size) < 0)
            return -EINVAL;
    }
    return 0;
}

int options_parse(const struct option_row *rows, size_t count, int argc, char **argv, void *target,
                  char *ret_asked, char *error, size_t error_size)
{
    enum option_source sources[OPTIONS_MAX] = {OPTION_UNSET};
    int first =
        options_from_arguments(rows, count, argc, argv, target, sources, ret_asked, error, error_size);
    if (first < 0)
        return first;
    int rc = options_from_environment(rows, count, target, sources, error, error_size);
    if (rc == 0)
        rc = options_from_defaults(rows, count, target, sources, error, error_size);
    return rc < 0 ? rc : first;
}

/* ---- help ---- */

/* Prints the words of a sentence from HELP_COLUMN on; `column` is where the line stands now. */
static size_t help_words(FILE *out, const char *sentence, size_t column)
{
    while (*sentence) {
        size_t length = strcspn(sentence, " ");
        if (column > HELP_COLUMN && column + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        if (column > HELP_COLUMN) {
            fputc(' ', out);
            column++;
        }
        fwrite(sentence, 1, length, out);
        column += length;
        sentence += length;
        sentence += strspn(sentence, " ");
    }
    return column;
}

static void help_row(FILE *out, const struct option_row *row)
{
    char letter[8] = "    ", left[128], more[256] = "";
    if (row->letter)
        snprintf(letter, sizeof(letter), "-%c, ", row->letter);
    int width = snprintf(left, sizeof(left), "  %s--%s%s%s", letter, row->name, row->argument ? " " : "",
                         row->argument ? row->argument : "");
    if (width < HELP_COLUMN - 1)
        fprintf(out, "%-*s", HELP_COLUMN, left);
    else
        fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    size_t column = help_words(out, row->help, HELP_COLUMN);
    if (row->default_text && row->environment)
        snprintf(more, sizeof(more), "[default: %s; $%s]", row->default_text, row->environment);
    else if (row->default_text)
        snprintf(more, sizeof(more), "[default: %s]", row->default_text);
    else if (row->environment)
        snprintf(more, sizeof(more), "[$%s]", row->environment);
    help_words(out, more, column);
    fputc('\n', out);
}

void options_help(const struct option_row *rows, size_t count, FILE *out)
{
    static const struct option_row help = {.name = "help", .letter = 'h', .help = "Print this and exit."};
    static const struct option_row version = {
        .name = "version", .letter = 'V', .help = "Print the version and exit."};
    for (size_t i = 0; i < count; i++)
        help_row(out, &rows[i]);
    help_row(out, &help);
    help_row(out, &version);
}

/* ---- the parsers of a row ---- */

int options_string(void *target, const char *text, char *error, size_t error_size)
{
    (void)error;
    (void)error_size;
    *(const char **)target = text;
    return 0;
}

int options_flag(void *target, const char *text, char *error, size_t error_size)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};
    if (!text) {
        *(bool *)target = true;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (strcmp(text, yes[i]) != 0 && strcmp(text, no[i]) != 0)
            continue;
        *(bool *)target = strcmp(text, yes[i]) == 0;
        return 0;
    }
    snprintf(error, error_size, "'%s' is neither yes nor no; write 1 or 0", text);
    return -EINVAL;
}

int options_uint64(void *target, const char *text, char *error, size_t error_size)
{
    if (parse_size(text, (uint64_t *)target) == 0)
        return 0;
    snprintf(error, error_size, "'%s' is not a whole number such as 4096, 64K, 16M or 1G", text);
    return -EINVAL;
}

int options_duration(void *target, const char *text, char *error, size_t error_size)
{
    if (parse_duration_us(text, (int64_t *)target) == 0)
        return 0;
    snprintf(error, error_size, "'%s' is not a duration such as 250us, 250ms, 1s, 5m, 2h or 7d", text);
    return -EINVAL;
}
