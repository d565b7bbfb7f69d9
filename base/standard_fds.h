/* standard_fds.h: descriptors 0, 1 and 2 are there, whoever started the program.
 *
 * A program that is started with one of them closed gives its number to the next file or socket it opens; what is printed then goes
 * there, and what is read comes from there. Thread: main, first of all. */
#ifndef CRIER_BASE_STANDARD_FDS_H
#define CRIER_BASE_STANDARD_FDS_H

/* Puts /dev/null in the place of those that are closed, opened the wrong way round: to read from 0 and to write to 1 or 2 fails
 * with EBADF, as it would have. */
void standard_fds_occupy(void);

#endif
