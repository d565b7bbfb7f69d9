# The whole order example: five processes and the comparison; it fails if a total differs or a child does.
if(TARGET order_demo AND TARGET crierd)
  set(dirty ${CMAKE_CURRENT_LIST_DIR}/data/dirty-orders.csv)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/demo-orders.csv)

  add_test(NAME demo_orders_file COMMAND sh -c "$<TARGET_FILE:make_orders> --lines 6000 --seed 3 >${generated}")
  set_tests_properties(demo_orders_file PROPERTIES FIXTURES_SETUP demo_orders LABELS integration)

  # name, then what follows the folder
  function(demo_test name)
    add_test(NAME ${name} COMMAND order_demo --dir ${CMAKE_CURRENT_BINARY_DIR}/${name} ${ARGN})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS "integration;tsan" FIXTURES_REQUIRED demo_orders)
  endfunction()
  demo_test(demo_agrees_on_a_generated_file --data ${generated})
  demo_test(demo_agrees_on_a_dirty_file --data ${dirty})
  demo_test(demo_agrees_although_services_are_killed --data ${generated} --crash)
  demo_test(demo_agrees_in_chaos --data ${generated} --chaos --seed 2 --kills 10)
  demo_test(demo_agrees_in_another_chaos --data ${dirty} --chaos --seed 7 --kills 5)
endif()
