/* test_config_docs.c: what is written about crierd's options says what the table says.
 *
 * The manual page, docs/configuration.md and packaging/crierd.conf each have a part between two marks that is made from
 * the rows of broker/config_table.c; the completion has to know every flag. Without arguments the files are compared with
 * the table; `--write` brings them up to date. A plain program: it is a tool as much as a test. */
#include "broker/config.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_BEGIN "options: begin (made by test_config_docs --write)"
#define MARK_END   "options: end"

#define TABLE_HEAD                                                                                           \
    "\n| flag and key | variable | default | range | changes by | what it is |\n|---|---|---|---|---|---|\n"

typedef void part_writer(FILE *out, const struct option_row *row, const struct config *defaults);

static void write_man(FILE *out, const struct option_row *row, const struct config *defaults)
{
    (void)defaults;
    fprintf(out, ".It ");
    if (row->letter)
        fprintf(out, "Fl %c , ", row->letter);
    fprintf(out, "Fl -%s", row->name);
    if (row->argument)
        fprintf(out, " Ar %s", row->argument);
    fputc('\n', out);
    fprintf(out, "%s.\n", row->help);
    if (config_row_range(row))
        fprintf(out, "Range: %s.\n", config_row_range(row));
    if (row->default_text)
        fprintf(out, "Default: %s.\n", row->default_text);
    if (row->environment)
        fprintf(out, "Environment:\n.Ev %s .\n", row->environment);
    if (config_row_in_file(row))
        fprintf(out, "%s\n", config_row_live(row) ? "Can change on SIGHUP." : "Needs a restart to change.");
}

static void write_table(FILE *out, const struct option_row *row, const struct config *defaults)
{
    (void)defaults;
    fprintf(out, "| `--%s%s%s`", row->name, row->argument ? " " : "", row->argument ? row->argument : "");
    if (row->letter)
        fprintf(out, ", `-%c`", row->letter);
    if (row->environment)
        fprintf(out, " | `%s` |", row->environment);
    else
        fputs(" | |", out);
    fprintf(out, " %s |", row->default_text ? row->default_text : "");
    fprintf(out, " %s |", config_row_range(row) ? config_row_range(row) : "");
    if (config_row_in_file(row))
        fprintf(out, " %s |", config_row_live(row) ? "SIGHUP" : "restart");
    else
        fputs(" not in the file |", out);
    fprintf(out, " %s |\n", row->help);
}

static void write_file_line(FILE *out, const struct option_row *row, const struct config *defaults)
{
    char text[CONFIG_VALUE_SIZE];
    if (!config_row_in_file(row))
        return;
    config_row_text(row, defaults, text);
    fprintf(out, "\n# %s%s%s%s\n", row->help, config_row_range(row) ? "; " : "",
            config_row_range(row) ? config_row_range(row) : "", config_row_live(row) ? " [SIGHUP]" : "");
    fprintf(out, "#%s = %s\n", row->name, *text ? text : row->argument);
}

/* ---- files ---- */

static char *read_all(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = calloc(1, 1 << 20);
    CHECK(text);
    if (!file || fread(text, 1, (1 << 20) - 1, file) == 0)
        fprintf(stderr, "%s cannot be read\n", path);
    if (file)
        fclose(file);
    return text;
}

/* The file as it should be; NULL: it has no marks. */
static char *build(const char *text, const char *head, part_writer *write, const struct config *defaults)
{
    const char *begin = strstr(text, MARK_BEGIN), *end = strstr(text, MARK_END);
    if (!begin || !end || end < begin)
        return NULL;
    begin = strchr(begin, '\n') + 1;
    while (end > text && end[-1] != '\n')
        end--;
    char *made = NULL;
    size_t size, count;
    FILE *out = open_memstream(&made, &size);
    CHECK(out);
    const struct option_row *rows = config_rows(&count);
    fprintf(out, "%.*s%s", (int)(begin - text), text, head);
    for (size_t i = 0; i < count; i++)
        write(out, &rows[i], defaults);
    fputs(end, out);
    fclose(out);
    return made;
}

/* True: the file says what the table says, or does so now. */
static bool keep(const char *name, const char *head, part_writer *write, const struct config *defaults,
                 bool update)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", SOURCE_FOLDER, name);
    char *text = read_all(path), *wanted = build(text, head, write, defaults);
    bool same = wanted && strcmp(text, wanted) == 0;
    if (!wanted) {
        fprintf(stderr, "%s: no part between the marks \"%s\" and \"%s\"\n", name, MARK_BEGIN, MARK_END);
    } else if (!same && update) {
        FILE *file = fopen(path, "we");
        same = file && fputs(wanted, file) >= 0;
        if (file)
            same = fclose(file) == 0 && same;
        printf("%s: %s\n", name, same ? "written" : "could not be written");
    } else if (!same) {
        fprintf(stderr, "%s: differs from broker/config_table.c; run this program with --write\n", name);
    }
    free(text);
    free(wanted);
    return same;
}

/* The flag is there as a word of its own, not as the beginning of a longer one. */
static bool has_flag(const char *text, const char *name)
{
    char flag[64];
    size_t size = (size_t)snprintf(flag, sizeof(flag), "--%s", name);
    for (const char *at = text; (at = strstr(at, flag)); at += size)
        if (strchr(" \n\"", at[size]))
            return true;
    return false;
}

static bool completion_knows_every_flag(void)
{
    bool all = true;
    size_t count;
    const struct option_row *rows = config_rows(&count);
    char *text = read_all(SOURCE_FOLDER "/packaging/completion/crierd");
    for (size_t i = 0; i < count; i++) {
        if (has_flag(text, rows[i].name))
            continue;
        fprintf(stderr, "packaging/completion/crierd: does not know --%s\n", rows[i].name);
        all = false;
    }
    free(text);
    return all;
}

static void complain(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "%s\n", sentence);
}

int main(int argc, char **argv)
{
    bool update = argc == 2 && strcmp(argv[1], "--write") == 0;
    struct config defaults;
    if (config_load(1, argv, complain, NULL, &defaults) < 0)
        return 2;
    bool good = keep("man/crierd.8", "", write_man, &defaults, update);
    good = keep("docs/configuration.md", TABLE_HEAD, write_table, &defaults, update) && good;
    good = keep("packaging/crierd.conf", "", write_file_line, &defaults, update) && good;
    good = completion_knows_every_flag() && good;
    config_finish(&defaults);
    return good ? 0 : 1;
}
