# Tests of the emitter: Node's contract on local:, behaviour by behaviour (docs/emitter-conformance.md).
foreach(subject listeners emit events loop pool names atomic)
  crier_test(test_emitter_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_emitter_${subject}.c LIBS client LABELS unit emitter)
endforeach()
add_test(NAME emitter_conformance_is_listed COMMAND ${CMAKE_CURRENT_LIST_DIR}/conformance.sh)
set_tests_properties(emitter_conformance_is_listed PROPERTIES LABELS "unit;emitter")
crier_test(test_emitter_bad ${CMAKE_CURRENT_LIST_DIR}/test_emitter_bad.c ${CMAKE_SOURCE_DIR}/tests/support/allocation.c
           LIBS client LABELS unit emitter)
target_link_options(test_emitter_bad PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free)

# The same random scripts on local: and on Node's own emitter. Without node it fails: ./dev installs it.
add_executable(emitter_differential ${CMAKE_CURRENT_LIST_DIR}/differential.c)
target_link_libraries(emitter_differential PRIVATE crier_flags client base)
target_compile_definitions(emitter_differential PRIVATE DIFFERENTIAL_JS="${CMAKE_CURRENT_LIST_DIR}/differential.js")
set_target_properties(emitter_differential PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_test(NAME emitter_differs_from_node_in_no_script COMMAND emitter_differential --scripts 10000)
set_tests_properties(emitter_differs_from_node_in_no_script PROPERTIES LABELS "unit;emitter" TIMEOUT 300)
foreach(subject threads loop_threads)
  crier_test(test_emitter_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_emitter_${subject}.c PLAIN
             LIBS client LABELS unit emitter tsan)
endforeach()

# The same contract on local:, embed: and crier://.
if(TARGET crier_embed_static AND TARGET crierd)
  foreach(subject kinds kinds_loop)
    crier_test(test_emitter_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_emitter_${subject}.c
               LIBS crier_embed_static broker_fixture LABELS integration emitter)
  endforeach()
endif()
