# Tests of base/.

# Lets a test make our own allocations fail: link allocation.c and these options (tests/support/allocation.h).
set(ALLOCATION_SOURCE ${CMAKE_SOURCE_DIR}/tests/support/allocation.c)
set(ALLOCATION_WRAP -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson) # an independent reader of the JSON log lines

crier_test(test_base ${CMAKE_CURRENT_LIST_DIR}/test_base.c LIBS base LABELS unit)
crier_test(test_heap ${CMAKE_CURRENT_LIST_DIR}/test_heap.c LIBS base LABELS unit)
crier_test(test_histogram ${CMAKE_CURRENT_LIST_DIR}/test_histogram.c LIBS base LABELS unit)
crier_test(test_buffer ${CMAKE_CURRENT_LIST_DIR}/test_buffer.c ${ALLOCATION_SOURCE} LIBS base LABELS unit)
crier_test(test_log ${CMAKE_CURRENT_LIST_DIR}/test_log.c LIBS base PkgConfig::JANSSON LABELS unit)
crier_test(test_options ${CMAKE_CURRENT_LIST_DIR}/test_options.c LIBS base LABELS unit)
crier_test(test_queue ${CMAKE_CURRENT_LIST_DIR}/test_queue.c ${ALLOCATION_SOURCE} LIBS base LABELS unit)
crier_test(test_shutdown ${CMAKE_CURRENT_LIST_DIR}/test_shutdown.c LIBS base LABELS unit)
crier_test(test_threads ${CMAKE_CURRENT_LIST_DIR}/test_threads.c PLAIN LIBS base LABELS unit tsan)
foreach(name test_buffer test_queue)
  target_link_options(${name} PRIVATE ${ALLOCATION_WRAP})
endforeach()

# The loop's order and futures, on a loop that the test turns by hand (agenda_rig.h).
set(AGENDA_RIG ${CMAKE_CURRENT_LIST_DIR}/agenda_rig.c)
foreach(name agenda future future_combine)
  crier_test(test_${name} ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c ${AGENDA_RIG} LIBS base LABELS unit)
endforeach()
crier_test(test_future_memory ${CMAKE_CURRENT_LIST_DIR}/test_future_memory.c ${AGENDA_RIG} ${ALLOCATION_SOURCE}
           LIBS base LABELS unit)
target_link_options(test_future_memory PRIVATE ${ALLOCATION_WRAP})
crier_test(test_pool_threads ${CMAKE_CURRENT_LIST_DIR}/test_pool_threads.c PLAIN LIBS base LABELS unit tsan)
crier_test(test_future_threads ${CMAKE_CURRENT_LIST_DIR}/test_future_threads.c PLAIN LIBS base LABELS unit tsan)
