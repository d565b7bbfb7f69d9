/* retry.c: see retry.h. */
#include "tools/retry.h"

#include "tools/command.h"

#include <stdio.h>
#include <string.h>

#define DAY_US         INT64_C(86400000000) /* as crier_retry has it */
#define DELIVERIES_MAX 1000

/* 0, or -1 with a sentence. */
static int bounded(bool good, const char *bound, char *error, size_t error_size)
{
    if (!good)
        (void)snprintf(error, error_size, "%s; or default", bound);
    return good ? 0 : -1;
}

int option_retry_delay(void *target, const char *text, char *error, size_t error_size)
{
    struct retry_number *number = target;
    int64_t us;
    *number = (struct retry_number){.given = true};
    if (strcmp(text, "default") == 0)
        return 0;
    int rc = options_duration(&us, text, error, error_size);
    if (rc == 0 && (rc = bounded(us > 0 && us <= DAY_US, "1ms to 24h", error, error_size)) == 0)
        number->value = (uint32_t)((us + 999) / 1000);
    return rc;
}

int option_deliveries(void *target, const char *text, char *error, size_t error_size)
{
    struct retry_number *number = target;
    uint64_t count;
    *number = (struct retry_number){.given = true};
    if (strcmp(text, "default") == 0)
        return 0;
    int rc = options_uint64(&count, text, error, error_size);
    if (rc == 0 && (rc = bounded(count > 0 && count <= DELIVERIES_MAX, "1 to 1000", error, error_size)) == 0)
        number->value = (uint32_t)count;
    return rc;
}

struct crier_retry retry_of(const struct retry_options *options)
{
    return (struct crier_retry){.first_ms = options->first_ms.value,
                                .max_ms = options->max_ms.value,
                                .deliveries = options->deliveries.value};
}

unsigned retry_set(const struct retry_options *options)
{
    return (options->first_ms.given ? CRIER_SET_RETRY_FIRST : 0) |
           (options->max_ms.given ? CRIER_SET_RETRY_MAX : 0) |
           (options->deliveries.given ? CRIER_SET_DELIVERIES : 0) |
           (options->dead_letter ? CRIER_SET_DEAD_LETTER : 0);
}

int retry_refused(const char *topic, const char *dead_letter)
{
    return command_failed(
        "'%s' cannot take the dead letters of '%s': that is another topic's name, of none that is "
        "ephemeral, and not starting with '$' (but $dead. and a name is one); nor has an "
        "ephemeral topic any",
        dead_letter, topic);
}
