# libcrier-embed, as applications link it.
if(TARGET crier_embed_static AND TARGET crierd)
  crier_test(test_embed ${CMAKE_CURRENT_LIST_DIR}/test_embed.c ${CMAKE_CURRENT_LIST_DIR}/client_probe.c
             LIBS crier_embed_static broker_fixture LABELS integration)
  foreach(subject threads kill)
    crier_test(test_embed_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_embed_${subject}.c PLAIN
               LIBS crier_embed_static base LABELS integration tsan)
  endforeach()
endif()
