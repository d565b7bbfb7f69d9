# libcrier-embed, as applications link it.
if(TARGET crier_embed_static AND TARGET crierd)
  crier_test(test_embed ${CMAKE_CURRENT_LIST_DIR}/test_embed.c ${CMAKE_CURRENT_LIST_DIR}/client_probe.c
             LIBS crier_embed_static broker_fixture LABELS integration)
  crier_test(test_recorder ${CMAKE_CURRENT_LIST_DIR}/test_recorder.c
             LIBS crier_embed_static Threads::Threads LABELS integration)
  foreach(subject api_memory api_loop_memory)
    crier_test(test_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_${subject}.c
               ${CMAKE_SOURCE_DIR}/tests/support/allocation.c LIBS client broker_fixture LABELS integration)
    target_link_options(test_${subject} PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free)
  endforeach()
  crier_test(test_thread_failure ${CMAKE_CURRENT_LIST_DIR}/test_thread_failure.c
             ${CMAKE_CURRENT_LIST_DIR}/client_probe.c LIBS crier_embed_static broker_fixture LABELS integration)
  target_link_options(test_thread_failure PRIVATE -Wl,--wrap=pthread_create)
  crier_test(test_api ${CMAKE_CURRENT_LIST_DIR}/test_api.c ${CMAKE_CURRENT_LIST_DIR}/client_probe.c
             LIBS crier_embed_static Threads::Threads LABELS integration)
  crier_test(test_api_more ${CMAKE_CURRENT_LIST_DIR}/test_api_more.c
             LIBS crier_embed_static Threads::Threads LABELS integration)
  crier_test(test_polled_order ${CMAKE_CURRENT_LIST_DIR}/test_polled_order.c
             LIBS crier_embed_static broker_fixture LABELS integration)
  crier_test(test_polled ${CMAKE_CURRENT_LIST_DIR}/test_polled.c ${CMAKE_CURRENT_LIST_DIR}/client_probe.c
             LIBS crier_embed_static broker_fixture LABELS integration)
  target_compile_definitions(test_polled PRIVATE EPOLL_LOOP="$<TARGET_FILE:epoll_loop>")
  add_dependencies(test_polled epoll_loop)
  crier_test(test_embed_every_call ${CMAKE_CURRENT_LIST_DIR}/test_client_threads.c PLAIN ARGS inside
             LIBS crier_embed_static broker_fixture LABELS integration tsan)
  crier_test(test_stop_sends ${CMAKE_CURRENT_LIST_DIR}/test_stop_sends.c PLAIN LIBS embed LABELS integration tsan)
  target_link_options(test_stop_sends PRIVATE -Wl,--wrap=event_add,--wrap=send,--wrap=sendmsg)
  foreach(subject threads kill)
    crier_test(test_embed_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_embed_${subject}.c PLAIN
               LIBS crier_embed_static base LABELS integration tsan)
  endforeach()
endif()

# The order example's services in one process, on every kind of bus.
if(TARGET in_one_process AND TARGET crierd)
  set(orders ${CMAKE_SOURCE_DIR}/examples/order-processing)
  add_executable(test_orders_one_process ${CMAKE_CURRENT_LIST_DIR}/test_orders_one_process.c ${orders}/screen.c)
  target_link_libraries(test_orders_one_process PRIVATE crier_flags base order_parts broker_fixture)
  set_target_properties(test_orders_one_process PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  function(orders_one_process_test name kind file)
    add_test(NAME ${name} COMMAND test_orders_one_process $<TARGET_FILE:in_one_process> $<TARGET_FILE:check_totals>
                                  ${file} ${kind})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS "integration;tsan" FIXTURES_REQUIRED demo_orders)
  endfunction()
  add_executable(test_orders_stop ${CMAKE_CURRENT_LIST_DIR}/test_orders_stop.c)
  target_link_libraries(test_orders_stop PRIVATE crier_flags base order_parts)
  set_target_properties(test_orders_stop PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  foreach(kind embed local)
    add_test(NAME one_process_stops_in_order_on_${kind}
             COMMAND test_orders_stop $<TARGET_FILE:in_one_process> ${CMAKE_CURRENT_BINARY_DIR}/demo-orders.csv ${kind})
    set_tests_properties(one_process_stops_in_order_on_${kind} PROPERTIES TIMEOUT 60 LABELS "integration;tsan"
                         FIXTURES_REQUIRED demo_orders)
  endforeach()
  foreach(kind embed local crier)
    orders_one_process_test(one_process_agrees_on_${kind}_with_a_generated_file ${kind}
                            ${CMAKE_CURRENT_BINARY_DIR}/demo-orders.csv)
    orders_one_process_test(one_process_agrees_on_${kind}_with_a_dirty_file ${kind}
                            ${CMAKE_CURRENT_LIST_DIR}/data/dirty-orders.csv)
  endforeach()
endif()

# The public headers in C++.
if(TARGET crier_embed_shared AND NOT CRIER_SANITIZE AND NOT CRIER_COVERAGE)
  add_test(NAME headers_compile_as_cplusplus
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/cplusplus.sh ${CMAKE_SOURCE_DIR} $<TARGET_FILE_DIR:crier_embed_shared>)
  set_tests_properties(headers_compile_as_cplusplus PROPERTIES TIMEOUT 300 LABELS integration)
endif()
