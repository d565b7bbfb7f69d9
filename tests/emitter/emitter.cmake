# Tests of the emitter: Node's contract on local:, behaviour by behaviour (docs/emitter-conformance.md).
foreach(subject listeners emit events loop pool names atomic)
  crier_test(test_emitter_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_emitter_${subject}.c LIBS client LABELS unit emitter)
endforeach()
add_test(NAME emitter_conformance_is_listed
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/conformance.sh docs/emitter-conformance.md test_emitter_ 80)
add_test(NAME stream_conformance_is_listed
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/conformance.sh docs/stream-conformance.md test_stream_ 25)
set_tests_properties(emitter_conformance_is_listed stream_conformance_is_listed PROPERTIES LABELS "unit;emitter")
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

# What debug builds find: base/handle.h.
crier_test(test_handles ${CMAKE_CURRENT_LIST_DIR}/test_handles.c LIBS client LABELS unit emitter)
add_test(NAME handles_are_checked COMMAND ${CMAKE_SOURCE_DIR}/tests/integration/handles.sh)
set_tests_properties(handles_are_checked PROPERTIES LABELS unit)

# Streams: by hand, without memory, and the same random scripts here and on Node's.
crier_test(test_stream_contract ${CMAKE_CURRENT_LIST_DIR}/test_stream_contract.c LIBS client LABELS unit emitter)
crier_test(test_stream_transform ${CMAKE_CURRENT_LIST_DIR}/test_stream_transform.c LIBS client LABELS unit emitter)
crier_test(test_stream_memory ${CMAKE_CURRENT_LIST_DIR}/test_stream_memory.c
           ${CMAKE_SOURCE_DIR}/tests/support/allocation.c LIBS client LABELS unit emitter)
target_link_options(test_stream_memory PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free)
crier_test(test_stream_ends ${CMAKE_CURRENT_LIST_DIR}/test_stream_ends.c LIBS client LABELS unit emitter)
crier_test(test_stream_ends_fd ${CMAKE_CURRENT_LIST_DIR}/test_stream_ends_fd.c LIBS client LABELS unit emitter)
crier_test(test_stream_csv ${CMAKE_CURRENT_LIST_DIR}/test_stream_csv.c LIBS client LABELS unit emitter)
crier_test(test_stream_codec ${CMAKE_CURRENT_LIST_DIR}/test_stream_codec.c LIBS client LABELS unit emitter)
crier_test(test_stream_codec_pool ${CMAKE_CURRENT_LIST_DIR}/test_stream_codec_pool.c LIBS client LABELS unit emitter)
crier_test(test_stream_threads ${CMAKE_CURRENT_LIST_DIR}/test_stream_threads.c PLAIN
           LIBS client LABELS unit emitter tsan)
add_executable(stream_differential ${CMAKE_CURRENT_LIST_DIR}/stream_differential.c
               ${CMAKE_CURRENT_LIST_DIR}/stream_script.c ${CMAKE_CURRENT_LIST_DIR}/stream_compare.c)
target_link_libraries(stream_differential PRIVATE crier_flags client base)
target_compile_definitions(stream_differential PRIVATE DIFFERENTIAL_JS="${CMAKE_CURRENT_LIST_DIR}/stream_differential.js")
set_target_properties(stream_differential PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_test(NAME streams_differ_from_node_in_no_script COMMAND stream_differential --scripts 10000)
set_tests_properties(streams_differ_from_node_in_no_script PROPERTIES LABELS "unit;emitter" TIMEOUT 300)

# The same contract on local:, embed: and crier://.
if(TARGET crier_embed_static AND TARGET crierd)
  foreach(subject kinds kinds_bad kinds_handlers kinds_loop)
    crier_test(test_emitter_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_emitter_${subject}.c
               LIBS crier_embed_static broker_fixture LABELS integration emitter)
  endforeach()
endif()
