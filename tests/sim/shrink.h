/* shrink.h: a failing run made small: the same seed with fewer faults, actions and clients that still breaks a promise. */
#ifndef CRIER_SIM_SHRINK_H
#define CRIER_SIM_SHRINK_H

#include "tests/sim/sim.h"

/* Lowers options->limits as far as the run goes on failing. Returns how many runs that took (at most SHRINK_RUNS_MAX). */
#define SHRINK_RUNS_MAX 200u
unsigned shrink(struct sim_options *options);

/* The limits as options of crier_sim, each with a space in front: " --off crash,reset --actions 12". */
void shrink_print(const struct sim_limits *limits);

/* Reads a list of fault names. false: one of them is none. */
bool shrink_faults_read(const char *list, uint32_t *ret_faults_off);

#endif
