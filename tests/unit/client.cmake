# Tests of client/: the engine on a bench (engine_rig.h is its broker, network and clock), and the parts around it.
set(ENGINE_RIG ${CMAKE_CURRENT_LIST_DIR}/engine_rig.c)
foreach(subject connection emit outcome listen pattern member request group garbage taken consumed leased quota)
  crier_test(test_engine_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_engine_${subject}.c ${ENGINE_RIG}
             LIBS client LABELS unit)
endforeach()
crier_test(test_engine_atomic ${CMAKE_CURRENT_LIST_DIR}/test_engine_atomic.c ${ENGINE_RIG} ${ALLOCATION_SOURCE}
           LIBS client LABELS unit)
target_link_options(test_engine_atomic PRIVATE ${ALLOCATION_WRAP})
crier_test(test_client_monitor ${CMAKE_CURRENT_LIST_DIR}/test_client_monitor.c LIBS client LABELS unit)
crier_test(test_client_parts ${CMAKE_CURRENT_LIST_DIR}/test_client_parts.c LIBS client LABELS unit)
crier_test(test_engine_memory ${CMAKE_CURRENT_LIST_DIR}/test_engine_memory.c ${ALLOCATION_SOURCE} LIBS client LABELS unit)
crier_test(test_client_future_memory ${CMAKE_CURRENT_LIST_DIR}/test_client_future_memory.c ${ALLOCATION_SOURCE}
           LIBS client LABELS unit)
target_link_options(test_client_future_memory PRIVATE ${ALLOCATION_WRAP})
target_link_options(test_engine_memory PRIVATE ${ALLOCATION_WRAP}) # both are set in base.cmake
crier_test(test_client_shutdown ${CMAKE_CURRENT_LIST_DIR}/test_client_shutdown.c ${ALLOCATION_SOURCE} LIBS client LABELS unit)
target_link_options(test_client_shutdown PRIVATE ${ALLOCATION_WRAP})
