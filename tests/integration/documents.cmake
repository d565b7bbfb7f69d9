# Pages whose commands are run: they must work as they stand.
if(TARGET crierd AND TARGET crier AND NOT CRIER_SANITIZE AND NOT CRIER_COVERAGE) # a reader's compiler has no such flags
  foreach(page tutorial operations)
    add_test(NAME ${page}_page_works_as_written COMMAND ${CMAKE_CURRENT_LIST_DIR}/documents.sh
             ${CMAKE_SOURCE_DIR}/docs/${page}.md ${CMAKE_BINARY_DIR})
    set_tests_properties(${page}_page_works_as_written PROPERTIES TIMEOUT 120 LABELS integration)
  endforeach()
endif()
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME warnings_and_errors_are_explained
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/lint/log_ids.py ${CMAKE_SOURCE_DIR})
  set_tests_properties(warnings_and_errors_are_explained PROPERTIES LABELS integration)
endif()
