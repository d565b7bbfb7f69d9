# CrierBuild.cmake: what every target shares: the language, warnings, sanitizers, dependencies, and two helpers.
#
#   crier_library(NAME sources...)   a static, position-independent part of the tree (base, proto, storage, ...)
#   crier_public_library(NAME FILE objects [system libraries])   what applications link: libFILE.so and libFILE.a
#   crier_test(NAME sources... LIBS libs... [PLAIN] [LABELS l...])
#                                    a Criterion test program (or, PLAIN, one with its own main) known to ctest

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(CRIER_WERROR "Treat warnings as errors (CI does)" OFF)
option(CRIER_FUZZ "Build the libFuzzer targets (clang only)" OFF)
option(CRIER_COVERAGE "Instrument for gcov" OFF)
set(CRIER_SANITIZE "" CACHE STRING "Sanitizers for every target: 'address,undefined' or 'thread'")

add_library(crier_flags INTERFACE)
target_compile_definitions(crier_flags INTERFACE _GNU_SOURCE $<$<CONFIG:Debug>:CRIER_DEBUG>) # base/handle.h
target_include_directories(crier_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_options(crier_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-align
  -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough -fno-common -fno-strict-aliasing)
if(CRIER_WERROR)
  target_compile_options(crier_flags INTERFACE -Werror)
endif()
if(CRIER_SANITIZE)
  target_compile_options(crier_flags INTERFACE -fsanitize=${CRIER_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(crier_flags INTERFACE -fsanitize=${CRIER_SANITIZE})
endif()
if(CRIER_COVERAGE)
  target_compile_options(crier_flags INTERFACE --coverage)
  target_link_options(crier_flags INTERFACE --coverage)
endif()
if(CRIER_FUZZ)
  target_compile_options(crier_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1.12)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4.1)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb>=0.9.24)
find_program(PROTOC_C protoc-c REQUIRED)
if(BUILD_TESTING)
  pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
  pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka) # the proof of the batch format; see docs/decisions
endif()

function(crier_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC crier_flags)
endfunction()

# A library for applications, NAME_shared and NAME_static, made of the same objects, complete in itself but for the system's
# libraries. Both show crier_* and nothing else: the archive holds one object in which everything but the API is local, so
# that no name of ours meets one of the application's.
function(crier_public_library name file objects)
  set(system PkgConfig::LIBEVENT PkgConfig::PROTOBUF_C PkgConfig::LZ4 PkgConfig::ZSTD Threads::Threads ${ARGN})
  set(map ${CMAKE_SOURCE_DIR}/client/crier.map)
  add_library(${name}_shared SHARED ${objects})
  target_link_libraries(${name}_shared PRIVATE crier_flags ${system})
  target_link_options(${name}_shared PRIVATE -Wl,--version-script=${map})
  set_target_properties(${name}_shared PROPERTIES LINK_DEPENDS ${map} VERSION ${PROJECT_VERSION} SOVERSION 0)

  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}${CMAKE_C_OUTPUT_EXTENSION})
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${object} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${object}
    DEPENDS ${objects} COMMAND_EXPAND_LISTS VERBATIM)
  add_library(${name}_static STATIC ${object})
  target_link_libraries(${name}_static PUBLIC ${system} PRIVATE crier_flags)

  foreach(library ${name}_shared ${name}_static)
    set_target_properties(${library} PROPERTIES OUTPUT_NAME ${file} LINKER_LANGUAGE C)
    target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/client/include>)
  endforeach()
endfunction()

function(crier_test name)
  cmake_parse_arguments(T "PLAIN" "" "LIBS;LABELS;ARGS" ${ARGN})
  add_executable(${name} ${T_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE crier_flags ${T_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT T_PLAIN)
    target_link_libraries(${name} PRIVATE PkgConfig::CRITERION)
    target_compile_options(${name} PRIVATE -Wno-pedantic -Wno-missing-prototypes -Wno-undef)
  endif()
  add_test(NAME ${name} COMMAND ${name} ${T_ARGS})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS "${T_LABELS}")
endfunction()

# ---- where it is installed ----

# What crier.pc and crier-embed.pc call the prefix. A Debian package's is known; any other may still be chosen by
# `cmake --install BUILD --prefix P`, so that they find it from where they are.
set(CRIER_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  file(RELATIVE_PATH upwards /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  string(REGEX REPLACE "/$" "" upwards "${upwards}")
  set(CRIER_PC_PREFIX "\${pcfiledir}/${upwards}")
endif()
