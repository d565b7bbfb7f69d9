# The real `crier` against the real crierd.
if(TARGET crier AND TARGET crierd) # with crierd comes broker_fixture
  foreach(subject bench embed emit_on failures file folder groups listeners request retention scheduled shared topics usage)
    crier_test(test_tools_${subject} integration/test_tools_${subject}.c integration/tools_process.c
               LIBS broker_fixture PkgConfig::JANSSON LABELS integration tools)
    target_compile_definitions(test_tools_${subject} PRIVATE CRIER_PATH="$<TARGET_FILE:crier>")
    add_dependencies(test_tools_${subject} crier)
  endforeach()
  target_compile_definitions(test_tools_request PRIVATE QUOTES="$<TARGET_FILE:ask_quotes>")
  add_dependencies(test_tools_request ask_quotes)
  crier_test(test_format_1 integration/test_format_1.c integration/tools_process.c
             LIBS broker_fixture PkgConfig::JANSSON LABELS integration tools)
  target_compile_definitions(test_format_1 PRIVATE CRIER_PATH="$<TARGET_FILE:crier>"
                             FORMAT_1_FOLDER="${CMAKE_CURRENT_LIST_DIR}/data/format-1")
  add_dependencies(test_format_1 crier)
endif()
