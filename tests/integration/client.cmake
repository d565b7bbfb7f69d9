# libcrier against the real crierd.
if(TARGET crierd) # with it comes broker_fixture
  set(CLIENT_PROBE ${CMAKE_CURRENT_LIST_DIR}/client_probe.c)
  foreach(subject basics)
    crier_test(test_client_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_client_${subject}.c ${CLIENT_PROBE}
               LIBS client broker_fixture LABELS integration)
  endforeach()
endif()
