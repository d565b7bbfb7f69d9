/* power_points.c: see power_points.h. */
#include "tests/unit/power_points.h"

#include <string.h>

const char *const power_point_names[POINTS] = {
    "commit", "roll", "seal", "sweep", "remove", "manifest", "state flush", "state copy", "folder sync"};

static bool ends(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}

enum power_point power_point_of(const struct disk_power_call *call)
{
    const char *path = call->path;
    if (strcmp(call->name, "remove") == 0)
        return POINT_REMOVE;
    if (strstr(path, "meta.mdb"))
        return POINT_MANIFEST;
    if (ends(path, "state.mdb"))
        return strcmp(call->name, "rename") == 0 ? POINT_COPY : POINT_FLUSH;
    if (strstr(path, "state"))
        return POINT_COPY;
    if (ends(path, ".mdb") && !ends(path, "-0.mdb"))
        return POINT_SWEEP;
    if (ends(path, ".idx") || strcmp(call->name, "truncate") == 0)
        return POINT_SEAL;
    if (!ends(path, ".mdb"))
        return POINT_FOLDER;
    return strcmp(call->name, "write") == 0 || strcmp(call->name, "sync") == 0 ? POINT_COMMIT : POINT_ROLL;
}

bool power_drawn(struct random *random, enum power_point point, unsigned one_in)
{
    return random_below(random, point == POINT_COMMIT ? one_in * 2 : one_in) == 0;
}
