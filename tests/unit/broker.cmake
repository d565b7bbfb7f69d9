# Tests of broker/core/: the real core on the store's memory twin, spoken to frame by frame.
if(TARGET broker_core AND TARGET storage)
  foreach(part handshake emit sources consumed disk topics retention listen groups crew group_admin flow trie table tail pattern schedules schedules_model ephemeral quota topic_quota client_quota presence)
    crier_test(test_core_${part} ${CMAKE_CURRENT_LIST_DIR}/test_core_${part}.c
               ${CMAKE_CURRENT_LIST_DIR}/core_fixture.c ${CMAKE_CURRENT_LIST_DIR}/core_requests.c LIBS broker_core storage LABELS unit)
  endforeach()
  foreach(part shared shared_retry dead_letter shared_keys shared_time shared_model)
    crier_test(test_core_${part} ${CMAKE_CURRENT_LIST_DIR}/test_core_${part}.c ${CMAKE_CURRENT_LIST_DIR}/shared_rig.c
               ${CMAKE_CURRENT_LIST_DIR}/core_fixture.c ${CMAKE_CURRENT_LIST_DIR}/core_requests.c LIBS broker_core storage LABELS unit)
  endforeach()
endif()

if(TARGET broker)
  crier_test(test_broker_allocator ${CMAKE_CURRENT_LIST_DIR}/test_broker_allocator.c ${CMAKE_SOURCE_DIR}/broker/allocator.c PLAIN LABELS unit)
  crier_test(test_turn_time ${CMAKE_CURRENT_LIST_DIR}/test_turn_time.c LIBS broker LABELS unit)
endif()
crier_test(test_core_pairs ${CMAKE_CURRENT_LIST_DIR}/test_core_pairs.c ${CMAKE_CURRENT_LIST_DIR}/pairs_rig.c ${CMAKE_CURRENT_LIST_DIR}/pairs_kinds.c
               ${CMAKE_CURRENT_LIST_DIR}/core_fixture.c ${CMAKE_CURRENT_LIST_DIR}/core_requests.c LIBS broker_core storage LABELS unit)
