/* power_points.h: the moments at which test_store_power and test_store_power_retention cut the power, by the file that is
 * about to change. Calls in the middle of a commit outnumber all others, so the rare ones are drawn more often. */
#ifndef CRIER_TESTS_POWER_POINTS_H
#define CRIER_TESTS_POWER_POINTS_H

#include "tests/support/disk_power.h"

#include <stdbool.h>

enum power_point {
    POINT_COMMIT,
    POINT_ROLL,  /* a segment is made */
    POINT_SEAL,  /* a file is cut, or the offset index written */
    POINT_SWEEP, /* a later generation is written */
    POINT_REMOVE,
    POINT_MANIFEST,
    POINT_FLUSH,
    POINT_COPY, /* of the state */
    POINT_FOLDER,
    POINTS
};

extern const char *const power_point_names[POINTS];

enum power_point power_point_of(const struct disk_power_call *call);
/* Is the power cut here? One call in so many of a rare kind; a commit's are half as likely. */
bool power_drawn(struct random *random, enum power_point point, unsigned one_in);

#endif
