/* url.c: which folder, and how the broker in it is to be. See url.h.
 *
 * Failures:  each is one sentence that names the part of the URL that is wrong. */
#include "embed/url.h"

#include "crier/crier.h"

#include <stdio.h>
#include <string.h>

#define SCHEME "embed:"

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes text[0 .. size). false: a '%' without its digits, a zero byte, or too long. */
static bool decode(const char *text, size_t size, char *to, size_t to_size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            int high = size - i > 2 ? hex_digit(text[i + 1]) : -1;
            int low = size - i > 2 ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || used + 1 >= to_size)
            return false;
        to[used++] = c;
    }
    to[used] = '\0';
    return true;
}

/* Paths (data, log) are not for the query to say: their parsers keep the text. */
static bool row_is_for_urls(const struct option_row *row)
{
    return config_row_in_file(row) && row->parse != options_string &&
           row->offset != offsetof(struct config, log_format);
}

static int option_take(struct embed_url *url, const char *name, const char *value, char *error,
                       size_t error_size)
{
    char reason[256] = "";
    size_t count;
    const struct option_row *rows = config_rows(&count);
    if (strcmp(name, "create") == 0) {
        url->create = strcmp(value, "no") != 0;
        if (!url->create || strcmp(value, "yes") == 0)
            return 0;
        snprintf(error, error_size, "create is yes or no");
        return CRIER_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) != 0 || !row_is_for_urls(&rows[i]))
            continue;
        url->sources[i] = OPTION_ARGUMENT;
        if (rows[i].parse((char *)&url->config + rows[i].offset, value, reason, sizeof(reason)) == 0 &&
            config_row_in_range(&rows[i], &url->config))
            return 0;
        snprintf(error, error_size, "%s: %s%s", name, reason[0] ? reason : "is ",
                 reason[0] ? "" : config_row_range(&rows[i]));
        return CRIER_EINVAL;
    }
    snprintf(error, error_size, "%s: there is no such option in an embed: URL", name);
    return CRIER_EINVAL;
}

static int query_parse(const char *at, struct embed_url *url, char *error, size_t error_size)
{
    char name[64], value[CONFIG_VALUE_SIZE];
    int rc = 0;
    while (rc == 0 && *at != '\0') {
        size_t size = strcspn(at, "&"), name_size = strcspn(at, "=&");
        size_t value_at = name_size < size ? name_size + 1 : size;
        if (!decode(at, name_size, name, sizeof(name)) ||
            !decode(at + value_at, size - value_at, value, sizeof(value))) {
            snprintf(error, error_size, "\"%.*s\" is not OPTION=VALUE", (int)size, at);
            return CRIER_EINVAL;
        }
        rc = option_take(url, name, value, error, error_size);
        at += size + (at[size] == '&');
    }
    return rc;
}

/* What the URL does not name has its default; but for where to listen: nowhere. */
static int defaults_take(struct embed_url *url, char *error, size_t error_size)
{
    enum option_source sources[OPTIONS_MAX];
    size_t count;
    const struct option_row *rows = config_rows(&count);
    memcpy(sources, url->sources, sizeof(sources));
    for (size_t i = 0; i < count; i++)
        if (!row_is_for_urls(&rows[i]) || rows[i].offset == offsetof(struct config, listen))
            sources[i] = OPTION_ARGUMENT;
    return options_from_defaults(rows, count, &url->config, sources, error, error_size) < 0 ? CRIER_EINVAL
                                                                                            : 0;
}

int embed_url_parse(const char *text, struct embed_url *ret_url, char *error, size_t error_size)
{
    const char *folder = text + strlen(SCHEME);
    size_t folder_size = strcspn(folder, "?");
    *ret_url = (struct embed_url){.create = true};
    if (folder_size == 0 || !decode(folder, folder_size, ret_url->folder, sizeof(ret_url->folder))) {
        snprintf(error, error_size, "\"%s\" is not embed:FOLDER[?OPTION=VALUE&...]", text);
        return CRIER_EINVAL;
    }
    int rc = 0;
    if (folder[folder_size] == '?')
        rc = query_parse(folder + folder_size + 1, ret_url, error, error_size);
    return rc < 0 ? rc : defaults_take(ret_url, error, error_size);
}
