# The deterministic simulator: the real core and the real client engine on a fake network, a disk twin and virtual time.
set(SIM ${CMAKE_CURRENT_LIST_DIR})

crier_test(test_sim_checker ${SIM}/test_sim_checker.c ${SIM}/checker.c ${SIM}/checker_listen.c ${SIM}/history.c
           LIBS base LABELS unit sim)
