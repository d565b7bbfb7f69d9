# A broker that is killed again and again; `./dev torture` runs many rounds, ctest a few.
if(TARGET crierd AND TARGET crier_static)
  set(torture_sources kill_rounds.c producers.c witness.c verdict.c)
  list(TRANSFORM torture_sources PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
  crier_test(kill_rounds ${torture_sources} PLAIN LIBS broker_fixture crier_static base LABELS torture integration
             ARGS --rounds 5 --seed 1)
endif()
