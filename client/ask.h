/* ask.h: the requests of a bus that wait for replies. See ask.c. */
#ifndef CRIER_CLIENT_ASK_H
#define CRIER_CLIENT_ASK_H

#include "crier/crier.h"

struct asks;

/* I/O thread: the inbox is listened to before the first request goes out. */
void asks_start(crier *bus);
void asks_close(crier *bus);          /* I/O thread: all that wait are told CRIER_ECLOSED */
void asks_destroy(struct asks *asks); /* none waits; accepts NULL */

#endif
