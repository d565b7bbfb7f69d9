# Tests of storage/.
set(STORE_FIXTURE ${CMAKE_CURRENT_LIST_DIR}/store_fixture.c)

crier_test(test_store_contract ${CMAKE_CURRENT_LIST_DIR}/test_store_contract.c ${STORE_FIXTURE} LIBS storage proto LABELS unit)
