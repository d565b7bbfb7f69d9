/* exec.h: runs a command for one event: bytes on its standard input, where they came from in its environment.
 *
 *   CRIER_TOPIC  CRIER_PARTITION  CRIER_OFFSET  CRIER_TIMESTAMP_MS  CRIER_KEY (unset if there is none)
 *   CRIER_ATTEMPT (of a shared group's event: 1 the first)
 *
 * Thread: main, with no other thread reading the environment. Blocks until the command ends. */
#ifndef CRIER_TOOLS_EXEC_H
#define CRIER_TOOLS_EXEC_H

#include "client/include/crier/crier.h"

#include <stddef.h>

#define EXEC_OUTPUT_MAX (8 << 20) /* bytes: no broker takes a larger event */

/* What a command has printed. */
struct exec_output {
    char *data;  /* malloc'ed; NULL: nothing */
    size_t size; /* without the line's end */
};

/* output: where its standard output goes; NULL: to ours. command: a line for /bin/sh. 0 if it ended with status 0, else -1 with the reason, "ended with status 3". A command
 * that does not read all of its input is fine: only its status counts. One that prints more than EXEC_OUTPUT_MAX to `output` fails. */
int exec_command(const char *command, const crier_event *event, const void *input, size_t input_size,
                 struct exec_output *output, char *reason, size_t reason_size);

#endif
