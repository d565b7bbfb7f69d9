# libcrier against the real crierd.
if(TARGET crierd) # with it comes broker_fixture
  set(CLIENT_PROBE ${CMAKE_CURRENT_LIST_DIR}/client_probe.c)
  foreach(subject basics restart flow loop)
    crier_test(test_client_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_client_${subject}.c ${CLIENT_PROBE}
               LIBS client broker_fixture LABELS integration)
  endforeach()
  crier_test(test_client_threads ${CMAKE_CURRENT_LIST_DIR}/test_client_threads.c PLAIN
             LIBS client broker_fixture LABELS integration tsan)
endif()
