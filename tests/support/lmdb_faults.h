/* lmdb_faults.h: LMDB itself answering with the codes that no disk brings about.
 *
 * A test program that links lmdb_faults.c with LMDB_WRAP (tests/unit/storage.cmake) calls LMDB through it.
 *
 *   lmdb_fail(LMDB_PUT, "0000000001-0.mdb", MDB_MAP_FULL);     the next put into that file
 *   ...
 *   cr_assert_eq(lmdb_struck(), 1);
 *
 * Thread: any; one fault is armed at a time, and strikes once. */
#ifndef CRIER_TESTS_LMDB_FAULTS_H
#define CRIER_TESTS_LMDB_FAULTS_H

enum lmdb_call {
    LMDB_PUT,
    LMDB_DELETE,
    LMDB_COMMIT,     /* of a write transaction: nothing of it is stored */
    LMDB_BEGIN_READ, /* of a read transaction */
    LMDB_OPEN_TABLE,
};

void lmdb_fail(enum lmdb_call call, const char *part, int code);
unsigned lmdb_struck(void);

/* What may never happen: the map of an open environment set anew, while readers may be in it. */
unsigned lmdb_maps_set_while_open(void);
unsigned lmdb_maps_set(void);

#endif
