/* nemesis.h: what the faults have in common, and those that live in a file of their own. See arena.h. */
#ifndef CRIER_TESTS_TORTURE_NEMESIS_H
#define CRIER_TESTS_TORTURE_NEMESIS_H

#include "tests/torture/arena.h"

/* ---- nemesis.c ---- */

int nemesis_connect(const struct arena *arena); /* a bare connection to the broker; -1: none */
/* Up to count of them; how many. */
size_t nemesis_connect_many(const struct arena *arena, int *fds, size_t count);
void nemesis_close_all(const int *fds, size_t count);

/* ---- nemesis_limits.c: what runs out ---- */

int strike_many_connections(struct arena *arena, const char **ret_why);
int strike_descriptors(struct arena *arena, const char **ret_why);
int strike_memory(struct arena *arena, const char **ret_why);
int strike_oom(struct arena *arena, const char **ret_why);
int strike_ports(struct arena *arena, const char **ret_why);

#endif
