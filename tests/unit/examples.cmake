# The parts of examples/order-processing that can be tested without a broker.
if(TARGET order_parts)
  set(orders ${CMAKE_SOURCE_DIR}/examples/order-processing)
  crier_test(test_orders_csv ${CMAKE_CURRENT_LIST_DIR}/test_orders_csv.c LIBS order_csv PkgConfig::JANSSON LABELS unit)
  crier_test(test_orders_order ${CMAKE_CURRENT_LIST_DIR}/test_orders_order.c LIBS order_parts LABELS unit)
  crier_test(test_orders_check_totals ${CMAKE_CURRENT_LIST_DIR}/test_orders_check_totals.c LIBS PkgConfig::JANSSON
             LABELS unit)
  target_compile_definitions(test_orders_check_totals PRIVATE CHECK_TOTALS="$<TARGET_FILE:check_totals>"
                             MAKE_ORDERS="$<TARGET_FILE:make_orders>"
                             DIRTY_ORDERS="${CMAKE_SOURCE_DIR}/tests/integration/data/dirty-orders.csv")
  add_dependencies(test_orders_check_totals check_totals make_orders)
endif()
if(TARGET order_chaos_plan)
  crier_test(test_orders_chaos ${CMAKE_CURRENT_LIST_DIR}/test_orders_chaos.c LIBS order_chaos_plan LABELS unit)
endif()
if(TARGET order_service_parts)
  crier_test(test_orders_ledger ${CMAKE_CURRENT_LIST_DIR}/test_orders_ledger.c LIBS order_service_parts LABELS unit)
endif()
