# A broker that is killed again and again; `./dev torture` runs many rounds, ctest a few.
if(TARGET crierd AND TARGET crier_static)
  crier_library(torture_parts ${CMAKE_CURRENT_LIST_DIR}/producers.c ${CMAKE_CURRENT_LIST_DIR}/witness.c
                ${CMAKE_CURRENT_LIST_DIR}/verdict.c ${CMAKE_CURRENT_LIST_DIR}/judge.c)
  target_link_libraries(torture_parts PUBLIC crier_static base)

  crier_test(test_verdict ${CMAKE_CURRENT_LIST_DIR}/test_verdict.c LIBS torture_parts LABELS unit)
  crier_test(kill_rounds ${CMAKE_CURRENT_LIST_DIR}/kill_rounds.c PLAIN LIBS torture_parts broker_fixture
             LABELS torture integration tsan ARGS --rounds 5 --seed 1)
  crier_test(restart_rounds ${CMAKE_CURRENT_LIST_DIR}/restart_rounds.c PLAIN LIBS torture_parts broker_fixture
             LABELS torture integration tsan ARGS --restarts 6 --seed 1)
endif()
if(TARGET crierd AND TARGET crier_static)
  crier_test(group_storm ${CMAKE_CURRENT_LIST_DIR}/group_storm.c PLAIN LIBS crier_static broker_fixture
             LABELS torture integration ARGS --members 60 --partitions 100 --groups 200)
endif()

# Faults of every kind. The broker's clock and disk are those of libraries that are loaded before all others: sanitizers want that place.
if(TARGET crierd AND TARGET crier_static)
  crier_library(torture_arena ${CMAKE_CURRENT_LIST_DIR}/arena.c)
  target_link_libraries(torture_arena PUBLIC torture_parts broker_fixture)
  crier_test(fault_rounds ${CMAKE_CURRENT_LIST_DIR}/fault_rounds.c ${CMAKE_CURRENT_LIST_DIR}/nemesis.c
             ${CMAKE_CURRENT_LIST_DIR}/nemesis_limits.c PLAIN LIBS torture_arena LABELS torture integration ARGS --seed 1 --connections 1000)
  crier_test(matrix_rounds ${CMAKE_CURRENT_LIST_DIR}/matrix_rounds.c ${CMAKE_CURRENT_LIST_DIR}/strikes.c
             ${CMAKE_CURRENT_LIST_DIR}/bustle.c PLAIN LIBS torture_arena LABELS torture integration ARGS --seed 1)
  # they wait for their faults to hit: nothing beside them
  set_tests_properties(fault_rounds matrix_rounds PROPERTIES RUN_SERIAL TRUE)
  if(NOT CRIER_SANITIZE)
    add_library(fault_shim MODULE ${CMAKE_CURRENT_LIST_DIR}/../support/fault_shim.c)
    add_library(power_shim MODULE ${CMAKE_CURRENT_LIST_DIR}/../support/power_shim.c
                                  ${CMAKE_CURRENT_LIST_DIR}/../support/disk_power.c
                                  ${CMAKE_CURRENT_LIST_DIR}/../support/disk_power_file.c)
    target_link_libraries(fault_shim PRIVATE crier_flags)
    target_link_libraries(power_shim PRIVATE crier_flags)
    target_compile_definitions(torture_arena PRIVATE FAULT_SHIM="$<TARGET_FILE:fault_shim>"
                                                     POWER_SHIM="$<TARGET_FILE:power_shim>")
    add_dependencies(torture_arena fault_shim power_shim)
  endif()
endif()
