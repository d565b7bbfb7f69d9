# What is installed: manual pages, unit, completion, Docker files, Debian packages. 77: skipped, and why is said.
set(here ${CMAKE_CURRENT_LIST_DIR})

function(packaging_test name)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS packaging SKIP_RETURN_CODE 77)
endfunction()

if(TARGET crierd AND TARGET crier)
  packaging_test(manual_pages_are_well_formed ${here}/manuals.sh ${CMAKE_SOURCE_DIR}/man $<TARGET_FILE_DIR:crierd>)
  packaging_test(unit_is_valid_and_hardened
                 ${here}/unit.sh ${CMAKE_BINARY_DIR}/packaging/crierd.service $<TARGET_FILE:crierd>)
  packaging_test(completion_offers_what_there_is
                 ${here}/completion.sh ${CMAKE_SOURCE_DIR}/packaging/completion $<TARGET_FILE_DIR:crierd>)
endif()

find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  packaging_test(docker_files_fit_the_tree ${Python3_EXECUTABLE} ${here}/compose.py ${CMAKE_SOURCE_DIR})
endif()

if(NOT CRIER_SANITIZE AND NOT CRIER_COVERAGE) # the packages are built on their own, whatever this build is
  packaging_test(debian_packages_are_built ${here}/deb.sh build ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/package)
  packaging_test(debian_packages_install_run_and_purge
                 ${here}/deb.sh install ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/package)
  set_tests_properties(debian_packages_are_built PROPERTIES FIXTURES_SETUP debian_packages)
  set_tests_properties(debian_packages_install_run_and_purge PROPERTIES FIXTURES_REQUIRED debian_packages)
endif()
