# What crierd can be told, and what is written about it.
if(TARGET broker_config)
  crier_test(test_config ${CMAKE_CURRENT_LIST_DIR}/test_config.c LIBS broker_config LABELS unit)
  crier_test(test_config_docs ${CMAKE_CURRENT_LIST_DIR}/test_config_docs.c PLAIN LIBS broker_config LABELS unit)
  foreach(test test_config test_config_docs)
    target_compile_definitions(${test} PRIVATE SOURCE_FOLDER="${CMAKE_SOURCE_DIR}")
  endforeach()
endif()
