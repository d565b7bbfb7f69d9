# A real crierd for tests: link broker_fixture (it is only there when crierd is built).
if(TARGET crierd)
  crier_library(broker_fixture ${CMAKE_CURRENT_LIST_DIR}/broker_fixture.c)
  target_link_libraries(broker_fixture PUBLIC base)
  target_compile_definitions(broker_fixture PRIVATE CRIERD_PATH="$<TARGET_FILE:crierd>")
  add_dependencies(broker_fixture crierd)
endif()
