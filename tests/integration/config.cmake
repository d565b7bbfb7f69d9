# A real crierd, its configuration file and its threads.
if(TARGET crierd AND TARGET client)
  crier_test(test_config_reload ${CMAKE_CURRENT_LIST_DIR}/test_config_reload.c LIBS broker_fixture client
             LABELS integration)
  target_compile_definitions(test_config_reload PRIVATE CRIERD_PATH="$<TARGET_FILE:crierd>")
  crier_test(test_crierd_threads ${CMAKE_CURRENT_LIST_DIR}/test_crierd_threads.c LIBS broker_fixture client
             LABELS integration)
  target_compile_definitions(test_crierd_threads PRIVATE CRIERD_PATH="$<TARGET_FILE:crierd>")
  crier_test(test_crierd_peers ${CMAKE_CURRENT_LIST_DIR}/test_crierd_peers.c LIBS broker_fixture proto
             LABELS integration)
  set_tests_properties(test_crierd_peers PROPERTIES TIMEOUT 180)
endif()
