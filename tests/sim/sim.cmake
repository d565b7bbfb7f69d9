# The deterministic simulator: the real core and the real client engine on a fake network, a disk twin and virtual time.
set(SIM ${CMAKE_CURRENT_LIST_DIR})
set(SIM_CHECKER ${SIM}/checker.c ${SIM}/checker_listen.c ${SIM}/checker_steps.c ${SIM}/checker_made.c ${SIM}/history.c)

crier_test(test_sim_checker ${SIM}/test_sim_checker.c ${SIM_CHECKER} LIBS base LABELS unit sim)

if(TARGET broker_core AND TARGET storage AND TARGET client)
  crier_test(test_sim_found ${SIM}/test_sim_found.c ${SIM}/../unit/engine_rig.c LIBS client LABELS unit sim)
  add_executable(crier_sim ${SIM}/main.c ${SIM}/world.c ${SIM}/plan.c ${SIM}/storm.c ${SIM}/scheduler.c
                 ${SIM}/node.c ${SIM}/client.c ${SIM}/step.c ${SIM}/transform.c ${SIM}/passing.c ${SIM}/sharing.c ${SIM}/sharing_frames.c
                 ${SIM}/ledger.c ${SIM}/ledger_log.c ${SIM}/fleeting.c
                 ${SIM}/fleeting_check.c ${SIM}/later.c ${SIM}/later_check.c ${SIM}/watching.c ${SIM}/disk.c ${SIM}/disk_note.c ${SIM}/disk_inspect.c ${SIM}/disk_state.c
                 ${SIM}/net.c ${SIM}/trace.c ${SIM}/tap.c ${SIM}/tap_group.c ${SIM}/ask.c ${SIM}/shrink.c ${SIM_CHECKER})
  target_link_libraries(crier_sim PRIVATE crier_flags client broker_core storage proto base)
  add_test(NAME test_sim COMMAND crier_sim --seeds 300 --quiet --covers)
  add_test(NAME test_sim_determinism COMMAND crier_sim --seeds 30 --twice --quiet)
  # The same, with an allocator that fails: the simulator's own memory comes from harness_malloc and does not.
  get_target_property(SIM_SOURCES crier_sim SOURCES)
  list(REMOVE_ITEM SIM_SOURCES ${SIM}/main.c)
  add_library(sim_allocation OBJECT ${CMAKE_SOURCE_DIR}/tests/support/allocation.c ${SIM}/harness_memory.c)
  target_link_libraries(sim_allocation PRIVATE crier_flags)
  add_executable(crier_sim_failures ${SIM}/failures.c ${SIM_SOURCES} ${CMAKE_SOURCE_DIR}/storage/store_memory.c
                 ${CMAKE_SOURCE_DIR}/storage/store_memory_faults.c ${CMAKE_SOURCE_DIR}/storage/memory_disk.c
                 $<TARGET_OBJECTS:sim_allocation>)
  target_link_libraries(crier_sim_failures PRIVATE crier_flags client broker_core storage proto base)
  target_link_options(crier_sim_failures PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free)
  target_compile_definitions(crier_sim_failures PRIVATE malloc=harness_malloc calloc=harness_calloc
                             realloc=harness_realloc)
  add_test(NAME test_sim_failures COMMAND crier_sim_failures --every 17)
  set_tests_properties(test_sim_failures PROPERTIES TIMEOUT 300 LABELS sim)
  add_test(NAME test_sim_planted_apply COMMAND ${SIM}/planted.sh --check)
  set_tests_properties(test_sim_planted_apply PROPERTIES LABELS sim)
  add_test(NAME test_sim_shrinks COMMAND crier_sim --seeds 300 --plant ack-before-commit --quiet)
  set_tests_properties(test_sim_shrinks PROPERTIES TIMEOUT 300 LABELS sim PASS_REGULAR_EXPRESSION
                       "made smaller in [0-9]+ runs\nto see it happen: crier_sim --seed [0-9]+ .*--actions")
  add_test(NAME test_sim_plant COMMAND crier_sim --seeds 300 --plant ack-before-commit --quiet)
  set_tests_properties(test_sim test_sim_determinism test_sim_plant PROPERTIES TIMEOUT 300 LABELS sim)
  # A simulator that does not find the planted bug finds nothing: this test passes when it is found.
  set_tests_properties(test_sim_plant PROPERTIES PASS_REGULAR_EXPRESSION "seed [0-9]+ breaks I[0-9]+: ")
endif()
