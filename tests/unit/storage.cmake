# Tests of storage/.
set(STORE_FIXTURE ${CMAKE_CURRENT_LIST_DIR}/store_fixture.c)

foreach(name test_store_contract test_store_damage test_store_fuzz test_store_offline test_store_range test_store_retention
        test_store_roll test_remains)
  crier_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${STORE_FIXTURE} LIBS storage proto PkgConfig::LMDB LABELS unit)
endforeach()

# The parts of a store, without its threads.
foreach(name test_cleaner test_reader)
  crier_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${CMAKE_CURRENT_LIST_DIR}/store_yard.c ${STORE_FIXTURE}
             LIBS storage proto PkgConfig::LMDB LABELS unit)
endforeach()

# This program's disk fails on demand: the functions of disk_faults.c take libc's place for LMDB too.
foreach(name test_store_faults test_store_sectors test_store_disk test_store_inspect)
  crier_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${STORE_FIXTURE}
             ${CMAKE_SOURCE_DIR}/tests/support/disk_faults.c LIBS storage proto PkgConfig::LMDB LABELS unit)
endforeach()

# And this one's LMDB answers as it is told.
crier_test(test_store_lmdb ${CMAKE_CURRENT_LIST_DIR}/test_store_lmdb.c ${STORE_FIXTURE}
           ${CMAKE_SOURCE_DIR}/tests/support/disk_faults.c ${CMAKE_SOURCE_DIR}/tests/support/lmdb_faults.c
           LIBS storage proto PkgConfig::LMDB LABELS unit)
foreach(call put del txn_commit txn_begin dbi_open env_set_mapsize)
  target_link_options(test_store_lmdb PRIVATE -Wl,--wrap=mdb_${call})
endforeach()

crier_test(test_store_threads ${CMAKE_CURRENT_LIST_DIR}/test_store_threads.c ${STORE_FIXTURE} PLAIN LIBS storage proto
           LABELS unit tsan)
crier_test(test_store_kill ${CMAKE_CURRENT_LIST_DIR}/test_store_kill.c ${STORE_FIXTURE} PLAIN LIBS storage proto LABELS unit)

# And this one's power fails: disk_power.c notes what is durable.
crier_test(test_store_power ${CMAKE_CURRENT_LIST_DIR}/test_store_power.c ${CMAKE_CURRENT_LIST_DIR}/power_points.c ${STORE_FIXTURE}
           ${CMAKE_SOURCE_DIR}/tests/support/disk_power.c ${CMAKE_SOURCE_DIR}/tests/support/disk_power_file.c PLAIN LIBS storage proto LABELS unit)
crier_test(test_store_power_retention ${CMAKE_CURRENT_LIST_DIR}/test_store_power_retention.c ${CMAKE_CURRENT_LIST_DIR}/power_points.c ${STORE_FIXTURE}
           ${CMAKE_SOURCE_DIR}/tests/support/disk_power.c ${CMAKE_SOURCE_DIR}/tests/support/disk_power_file.c PLAIN LIBS storage proto LABELS unit)
