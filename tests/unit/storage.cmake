# Tests of storage/.
set(STORE_FIXTURE ${CMAKE_CURRENT_LIST_DIR}/store_fixture.c)

foreach(name test_store_contract test_store_damage test_store_fuzz test_store_offline test_store_roll)
  crier_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${STORE_FIXTURE} LIBS storage proto PkgConfig::LMDB LABELS unit)
endforeach()

# This program's disk fails on demand: the functions of disk_faults.c take libc's place for LMDB too.
foreach(name test_store_faults test_store_sectors)
  crier_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${STORE_FIXTURE}
             ${CMAKE_SOURCE_DIR}/tests/support/disk_faults.c LIBS storage proto PkgConfig::LMDB LABELS unit)
endforeach()

crier_test(test_store_threads ${CMAKE_CURRENT_LIST_DIR}/test_store_threads.c ${STORE_FIXTURE} PLAIN LIBS storage proto
           LABELS unit tsan)
crier_test(test_store_kill ${CMAKE_CURRENT_LIST_DIR}/test_store_kill.c ${STORE_FIXTURE} PLAIN LIBS storage proto LABELS unit)

# And this one's power fails: disk_power.c notes what is durable.
crier_test(test_store_power ${CMAKE_CURRENT_LIST_DIR}/test_store_power.c ${STORE_FIXTURE}
           ${CMAKE_SOURCE_DIR}/tests/support/disk_power.c PLAIN LIBS storage proto LABELS unit)
