/* scheme.c: crier_open: the options are looked at, and the URL's scheme decides what kind of bus it is. See scheme.h.
 *
 * Failures:  each has a code, and a sentence in options.error_text if the caller has room for one. */
#include "client/scheme.h"

#include "base/check.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES   255
#define BATCH_SIZE_LEAST 1024
#define BATCH_SIZE_MOST  (8u * 1024 * 1024)

static const struct bus_scheme *const schemes[] = {&bus_scheme_crier, &bus_scheme_unix, &bus_scheme_local,
                                                   &bus_scheme_embed};

const struct bus_scheme *bus_scheme_find(const char *url)
{
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (strncmp(url, schemes[i]->prefix, strlen(schemes[i]->prefix)) == 0)
            return schemes[i];
    return NULL;
}

void open_error(const struct crier_options *options, const char *format, ...)
{
    va_list arguments;

    if (!options->error_text || options->error_text_size == 0)
        return;
    va_start(arguments, format);
    (void)vsnprintf(options->error_text, options->error_text_size, format, arguments);
    va_end(arguments);
}

static bool options_are_valid(const struct crier_options *options)
{
    if (options->name && !text_is_valid(options->name, NAME_MAX_BYTES))
        return false;
    if (options->producer_name && !text_is_valid(options->producer_name, NAME_MAX_BYTES))
        return false;
    if (options->connect_timeout_ms < 0 || options->request_timeout_ms <= 0 ||
        options->close_timeout_ms < 0 || options->linger_us < 0 || options->commit_interval_ms < 0)
        return false;
    if (options->reconnect_delay_ms_min <= 0 ||
        options->reconnect_delay_ms_max < options->reconnect_delay_ms_min)
        return false;
    if (options->batch_size_max < BATCH_SIZE_LEAST || options->batch_size_max > BATCH_SIZE_MOST)
        return false;
    if (options->buffer_size_max < options->batch_size_max || options->listen_credit == 0)
        return false;
    if (options->base && options->polled)
        return false;
    return options->compression == CRIER_COMPRESSION_NONE || options->compression == CRIER_COMPRESSION_LZ4 ||
           options->compression == CRIER_COMPRESSION_ZSTD;
}

static int open_with(const char *url, const struct crier_options *options, crier **ret_bus)
{
    const struct bus_scheme *scheme = bus_scheme_find(url);

    if (!options_are_valid(options)) {
        open_error(options, "an option is out of its range");
        return CRIER_EINVAL;
    }
    if (!scheme) {
        open_error(options,
                   "\"%s\" is not a URL of a bus: crier://HOST:PORT, unix:/PATH, embed:FOLDER, local:", url);
        return CRIER_EINVAL;
    }
    return scheme->open(url, options, ret_bus);
}

int crier_open(const char *url, const struct crier_options *options, crier **ret_bus)
{
    struct crier_options copy = crier_options_default();
    int rc;

    if (!url || !ret_bus || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    open_error(&copy, "%s", "");
    rc = open_with(url, &copy, ret_bus);
    if (rc < 0 && copy.error_text && copy.error_text_size > 0 && copy.error_text[0] == '\0')
        open_error(&copy, "%s", crier_strerror(rc));
    return rc;
}
