# Tests of proto/. ALLOCATION_SOURCE and ALLOCATION_WRAP are set in base.cmake.
set(EVENTS_SOURCE ${CMAKE_SOURCE_DIR}/tests/support/events.c)

crier_test(test_arena ${CMAKE_CURRENT_LIST_DIR}/test_arena.c LIBS proto LABELS unit)
crier_test(test_batch ${CMAKE_CURRENT_LIST_DIR}/test_batch.c ${EVENTS_SOURCE} ${ALLOCATION_SOURCE} LIBS proto LABELS unit)
crier_test(test_batch_damage ${CMAKE_CURRENT_LIST_DIR}/test_batch_damage.c ${EVENTS_SOURCE} LIBS proto LABELS unit)
crier_test(test_codec ${CMAKE_CURRENT_LIST_DIR}/test_codec.c ${ALLOCATION_SOURCE}
           LIBS proto PkgConfig::LZ4 PkgConfig::ZSTD LABELS unit)
crier_test(test_crc32c ${CMAKE_CURRENT_LIST_DIR}/test_crc32c.c LIBS proto LABELS unit)
crier_test(test_error ${CMAKE_CURRENT_LIST_DIR}/test_error.c LIBS proto LABELS unit)
crier_test(test_frame ${CMAKE_CURRENT_LIST_DIR}/test_frame.c LIBS proto LABELS unit)
crier_test(test_murmur2 ${CMAKE_CURRENT_LIST_DIR}/test_murmur2.c LIBS proto LABELS unit)
crier_test(test_state_rows ${CMAKE_CURRENT_LIST_DIR}/test_state_rows.c LIBS proto LABELS unit)
crier_test(test_varint ${CMAKE_CURRENT_LIST_DIR}/test_varint.c LIBS proto LABELS unit)
crier_test(test_protocol_example ${CMAKE_CURRENT_LIST_DIR}/test_protocol_example.c LIBS proto LABELS unit)
target_compile_definitions(test_protocol_example PRIVATE PROTOCOL_DOCUMENT="${CMAKE_SOURCE_DIR}/docs/protocol.md")
foreach(name test_batch test_codec)
  target_link_options(${name} PRIVATE ${ALLOCATION_WRAP})
endforeach()
