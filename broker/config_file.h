/* config_file.h: the lines `key = value` of a configuration file, in order; which keys there are is config.c's business. */
#ifndef CRIER_BROKER_CONFIG_FILE_H
#define CRIER_BROKER_CONFIG_FILE_H

#include "broker/config.h"

struct config_setting {
    struct config_setting *next;
    unsigned line; /* 1 is the first */
    char *value;   /* stands behind the key in one allocation */
    char key[];
};

struct config_file {
    struct config_setting *first, **last;
};

/* 0, or -EINVAL after each problem was reported as `PATH:LINE: ...`; then, too, what could be read is in *ret_file, so
 * that all that is wrong can be said at once (NULL: nothing). config_file_free() accepts NULL. */
int config_file_read(const char *path, config_report *report, void *ctx, struct config_file **ret_file);
void config_file_free(struct config_file *file);

#endif
