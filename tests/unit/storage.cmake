# Tests of storage/.
set(STORE_FIXTURE ${CMAKE_CURRENT_LIST_DIR}/store_fixture.c)

foreach(name test_store_contract test_store_roll)
  crier_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${STORE_FIXTURE} LIBS storage proto LABELS unit)
endforeach()
