# A real crierd for tests: link broker_fixture, with it comes the proxy (it is only there when crierd is built).
if(TARGET crierd)
  crier_library(broker_fixture ${CMAKE_CURRENT_LIST_DIR}/broker_fixture.c ${CMAKE_CURRENT_LIST_DIR}/proxy.c)
  target_link_libraries(broker_fixture PUBLIC base Threads::Threads)
  target_compile_definitions(broker_fixture PRIVATE CRIERD_PATH="$<TARGET_FILE:crierd>")
  add_dependencies(broker_fixture crierd)
endif()
