# Fuzzing. In every build the targets run over their corpus, the seeds and fixed mutations (test_fuzz_*). To search:
#
#   cmake -S . -B build/fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo \
#         -DCRIER_FUZZ=ON -DCRIER_SANITIZE=address,undefined
#   ninja -C build/fuzz fuzz_frame fuzz_batch && build/fuzz/tests/fuzz_batch -max_len=16384 tests/fuzz/corpus/batch
#
# An input that fails goes into tests/fuzz/corpus/NAME/ under a telling name, with the fix.
set(FUZZ_SHARED ${CMAKE_CURRENT_LIST_DIR}/seeds.c ${CMAKE_SOURCE_DIR}/tests/support/events.c)

add_executable(fuzz_make_corpus ${CMAKE_CURRENT_LIST_DIR}/make_corpus.c ${FUZZ_SHARED})
target_link_libraries(fuzz_make_corpus PRIVATE proto)
set_target_properties(fuzz_make_corpus PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# What belongs to a target beyond fuzz_NAME.c, and what it is linked with; it starts from corpus/NAME, and NAME.dict helps the search.
set(FUZZ_MORE_session ${CMAKE_CURRENT_LIST_DIR}/session_frames.c)
set(FUZZ_MORE_engine ${CMAKE_CURRENT_LIST_DIR}/engine_frames.c)
set(FUZZ_LIBS_frame proto)
set(FUZZ_LIBS_batch proto)
set(FUZZ_LIBS_session broker_core storage proto base)
set(FUZZ_LIBS_recover broker_core storage proto base)
set(FUZZ_LIBS_engine client proto base)
set(FUZZ_LIBS_text broker_config client base)
set(FUZZ_LIBS_stream client base)

foreach(name frame batch session recover engine text stream)
  crier_test(test_fuzz_${name} ${CMAKE_CURRENT_LIST_DIR}/replay.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_${name}.c
             ${FUZZ_MORE_${name}} ${FUZZ_SHARED} PLAIN LIBS ${FUZZ_LIBS_${name}} proto ARGS ${name} ${CMAKE_CURRENT_LIST_DIR}/corpus/${name}
             LABELS unit)
  if(CRIER_FUZZ)
    add_executable(fuzz_${name} ${CMAKE_CURRENT_LIST_DIR}/fuzz_${name}.c ${FUZZ_MORE_${name}})
    target_link_libraries(fuzz_${name} PRIVATE ${FUZZ_LIBS_${name}} -fsanitize=fuzzer)
    set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  endif()
endforeach()
