/* shrink.c: see shrink.h. Greedy: whatever can be left out with the run still failing is left out, until nothing can.
 *
 * A run with less is another run (the seed's numbers are drawn by others), so "still failing" means that some promise is
 * broken, not the same one at the same place. */
#include "tests/sim/shrink.h"

#include <stdio.h>
#include <string.h>

static const char *const fault_names[SIM_FAULTS] = {
    "crash", "drain",     "reset",     "stall",      "hang",        "vanish",    "close",
    "full",  "disk-slow", "disk-fail", "flush-fail", "read-damage", "clock-jump"};

struct search {
    const struct sim_options *options;
    unsigned runs;
};

static bool fails(struct search *search, const struct sim_limits *limits)
{
    struct sim_options options = *search->options;
    static struct sim_result result; /* large: not on the stack */
    options.print = false;
    options.limits = *limits;
    search->runs++;
    sim_run(&options, &result);
    return result.report.count > 0;
}

static bool spent(const struct search *search)
{
    return search->runs >= SHRINK_RUNS_MAX;
}

static bool faults_drop(struct search *search, struct sim_limits *limits)
{
    bool dropped = false;
    for (unsigned i = 0; i < SIM_FAULTS && !spent(search); i++) {
        struct sim_limits fewer = *limits;
        fewer.faults_off |= 1u << i;
        if (fewer.faults_off == limits->faults_off || !fails(search, &fewer))
            continue;
        *limits = fewer;
        dropped = true;
    }
    return dropped;
}

/* The smallest number that still fails, found by halving: what fails with more may pass with less, so not exactly. */
static bool number_lower(struct search *search, struct sim_limits *limits, unsigned *number, unsigned from)
{
    unsigned low = 1, high = *number ? *number : from, before = *number;
    while (low < high && !spent(search)) {
        unsigned middle = low + (high - low) / 2;
        unsigned kept = *number;
        *number = middle;
        if (fails(search, limits)) {
            high = middle;
        } else {
            *number = kept;
            low = middle + 1;
        }
    }
    return *number != before;
}

static bool calm_down(struct search *search, struct sim_limits *limits)
{
    struct sim_limits calm = *limits;
    calm.calm = true;
    if (limits->calm || !fails(search, &calm))
        return false;
    *limits = calm;
    return true;
}

unsigned shrink(struct sim_options *options)
{
    struct search search = {.options = options};
    struct sim_limits limits = options->limits;
    bool smaller = true;
    while (smaller && !spent(&search)) {
        smaller = calm_down(&search, &limits);
        smaller |= number_lower(&search, &limits, &limits.actions_max, 100);
        smaller |= faults_drop(&search, &limits);
        smaller |= number_lower(&search, &limits, &limits.clients_max, 3);
        smaller |= number_lower(&search, &limits, &limits.burst_max, 60);
    }
    options->limits = limits;
    return search.runs;
}

void shrink_print(const struct sim_limits *limits)
{
    const char *comma = " --off ";
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        if (!(limits->faults_off & (1u << i)))
            continue;
        printf("%s%s", comma, fault_names[i]);
        comma = ",";
    }
    if (limits->actions_max)
        printf(" --actions %u", limits->actions_max);
    if (limits->clients_max)
        printf(" --clients %u", limits->clients_max);
    if (limits->burst_max)
        printf(" --burst %u", limits->burst_max);
    if (limits->calm)
        printf(" --calm");
}

bool shrink_faults_read(const char *list, uint32_t *ret_faults_off)
{
    *ret_faults_off = 0;
    while (*list) {
        size_t size = strcspn(list, ",");
        unsigned i = 0;
        while (i < SIM_FAULTS && (strlen(fault_names[i]) != size || memcmp(fault_names[i], list, size) != 0))
            i++;
        if (i == SIM_FAULTS)
            return false;
        *ret_faults_off |= 1u << i;
        list += size + (list[size] == ',');
    }
    return true;
}
