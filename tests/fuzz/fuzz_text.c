/* fuzz_text.c: what people write: configuration files, command lines, URLs, sizes, durations, names.
 *
 * Promises: it is taken, or refused with a sentence; nothing crashes, leaks or is read beyond its end; what is taken has the
 * form that was promised. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "base/options.h"
#include "broker/config.h"
#include "broker/config_file.h"
#include "client/topic_name.h"
#include "client/url.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16

struct reports {
    unsigned count;
};

static void report(void *ctx, const char *sentence)
{
    CHECK(sentence[0]);
    ((struct reports *)ctx)->count++;
}

static void file(const uint8_t *data, size_t size)
{
    struct reports reports = {0};
    struct config_file *settings = NULL;
    char path[64];
    int fd = memfd_create("crierd.conf", 0);
    CHECK(fd >= 0);
    ssize_t written = write(fd, data, size);
    CHECK(written == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = config_file_read(path, report, &reports, &settings);
    CHECK((rc == 0) == (reports.count == 0));
    for (const struct config_setting *setting = settings ? settings->first : NULL; setting;
         setting = setting->next)
        CHECK(setting->line > 0 && setting->value);
    config_file_free(settings);
    close(fd);
}

/* Arguments are lines. What prints and ends is left out. */
static void command_line(char *text)
{
    struct reports reports = {0};
    struct config config;
    char program[] = "crierd", *arguments[ARGUMENTS_MAX + 2] = {program};
    int count = 1;
    for (char *line = strtok(text, "\n"); line && count <= ARGUMENTS_MAX; line = strtok(NULL, "\n"))
        if (!strchr(line, 'h') && !strchr(line, 'V') && !strstr(line, "vers"))
            arguments[count++] = line;
    optind = 0; /* getopt begins anew */
    int rc = config_load(count, arguments, report, &reports, &config);
    CHECK(rc == 0 || rc == -ECANCELED || reports.count > 0); /* answered: --help, by some abbreviation */
    if (rc == 0) {
        CHECK(config.listen.count <= CONFIG_LISTEN_MAX && config.connections_max > 0);
        config_finish(&config);
    }
}

static void words(const char *text)
{
    struct url url;
    uint64_t bytes;
    int64_t us;
    if (url_parse(text, &url) == 0) {
        CHECK(url.endpoint_count >= 1 && url.endpoint_count <= URL_ENDPOINTS_MAX);
        for (unsigned i = 0; i < url.endpoint_count; i++)
            CHECK(url.endpoints[i].host[0] &&
                  memchr(url.endpoints[i].host, '\0', sizeof(url.endpoints[i].host)) &&
                  memchr(url.endpoints[i].port, '\0', sizeof(url.endpoints[i].port)));
    }
    if (parse_size(text, &bytes) == 0) {
        char again[32];
        uint64_t same;
        format_size(bytes, again, sizeof(again));
        CHECK(parse_size(again, &same) == 0 && same == bytes);
    }
    if (parse_duration_us(text, &us) == 0) {
        char again[32];
        int64_t same;
        format_duration_us(us, again, sizeof(again));
        CHECK(parse_duration_us(again, &same) == 0 && same == us);
    }
    if (topic_name_is_valid(text))
        CHECK(text[0] && strlen(text) <= 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'f') {
        file(data + 1, size - 1);
        return 0;
    }
    char *text = malloc(size);
    CHECK(text);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == 'c')
        command_line(text);
    else
        words(text);
    free(text);
    return 0;
}
