# libcrier against the real crierd.
if(TARGET crierd) # with it comes broker_fixture
  set(CLIENT_PROBE ${CMAKE_CURRENT_LIST_DIR}/client_probe.c)
  foreach(subject atomic basics restart groups flow loop network futures ephemeral request schedule shared presence)
    crier_test(test_client_${subject} ${CMAKE_CURRENT_LIST_DIR}/test_client_${subject}.c ${CLIENT_PROBE}
               LIBS client broker_fixture LABELS integration)
  endforeach()
  crier_test(test_client_addresses ${CMAKE_CURRENT_LIST_DIR}/test_client_addresses.c LIBS client broker_fixture LABELS integration)
  target_link_options(test_client_addresses PRIVATE -Wl,--wrap=getaddrinfo,--wrap=freeaddrinfo)
  add_test(NAME reminders_come_unless_paid
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/reminder.sh $<TARGET_FILE:crierd> $<TARGET_FILE:cart_reminder>)
  set_tests_properties(reminders_come_unless_paid PROPERTIES LABELS integration TIMEOUT 120)
  if(TARGET copy_tables)
    add_test(NAME tables_go_through_a_topic_and_back
             COMMAND ${CMAKE_CURRENT_LIST_DIR}/tables.sh $<TARGET_FILE:crierd> $<TARGET_FILE:copy_tables>)
    set_tests_properties(tables_go_through_a_topic_and_back PROPERTIES LABELS integration TIMEOUT 120)
  endif()
  if(TARGET crier)
    add_test(NAME payments_are_made_or_given_up
             COMMAND ${CMAKE_CURRENT_LIST_DIR}/payments.sh $<TARGET_FILE:crierd> $<TARGET_FILE:crier>
                     $<TARGET_FILE:flaky_payments>)
    set_tests_properties(payments_are_made_or_given_up PROPERTIES LABELS integration TIMEOUT 180)
  endif()
  target_sources(test_client_groups PRIVATE ${CMAKE_CURRENT_LIST_DIR}/group_members.c)
  if(TARGET exactly_once)
    crier_test(test_exactly_once ${CMAKE_CURRENT_LIST_DIR}/test_exactly_once.c ${CLIENT_PROBE}
               LIBS client broker_fixture LABELS integration)
    target_compile_definitions(test_exactly_once PRIVATE EXACTLY_ONCE="$<TARGET_FILE:exactly_once>")
    add_dependencies(test_exactly_once exactly_once)
  endif()
  crier_test(test_client_pool ${CMAKE_CURRENT_LIST_DIR}/test_client_pool.c PLAIN
             LIBS client broker_fixture LABELS integration tsan)
  crier_test(test_client_iterator ${CMAKE_CURRENT_LIST_DIR}/test_client_iterator.c PLAIN
             LIBS client broker_fixture LABELS integration tsan)
  crier_test(test_client_stream ${CMAKE_CURRENT_LIST_DIR}/test_client_stream.c PLAIN
             LIBS client broker_fixture LABELS integration tsan)
  crier_test(test_client_threads ${CMAKE_CURRENT_LIST_DIR}/test_client_threads.c PLAIN
             LIBS client broker_fixture LABELS integration tsan)
  add_test(NAME public_calls_are_tested_and_explained
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/public_calls.sh $<TARGET_FILE:crier_shared>)
  set_tests_properties(public_calls_are_tested_and_explained PROPERTIES LABELS integration)
  if(NOT CRIER_SANITIZE AND NOT CRIER_COVERAGE) # an application outside knows nothing of such flags
    crier_test(test_client_install ${CMAKE_CURRENT_LIST_DIR}/test_client_install.c PLAIN
               LIBS broker_fixture LABELS integration)
    target_compile_definitions(test_client_install PRIVATE
      CMAKE="${CMAKE_COMMAND}" BUILD="${CMAKE_BINARY_DIR}" SOURCE="${CMAKE_CURRENT_LIST_DIR}/install"
      LIBDIR="${CMAKE_INSTALL_LIBDIR}" COMPILER="${CMAKE_C_COMPILER}")
    add_dependencies(test_client_install crierd crier crier_shared crier_static crier_embed_shared crier_embed_static)
  endif()
endif()
