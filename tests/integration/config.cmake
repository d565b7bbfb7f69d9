# A real crierd and its configuration file.
if(TARGET crierd AND TARGET client)
  crier_test(test_config_reload ${CMAKE_CURRENT_LIST_DIR}/test_config_reload.c LIBS broker_fixture client
             LABELS integration)
  target_compile_definitions(test_config_reload PRIVATE CRIERD_PATH="$<TARGET_FILE:crierd>")
endif()
