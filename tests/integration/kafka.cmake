# The proof that our batches are Kafka's: against librdkafka and the broker it brings for tests.
crier_test(test_kafka_batch ${CMAKE_CURRENT_LIST_DIR}/test_kafka_batch.c
           ${CMAKE_SOURCE_DIR}/tests/support/kafka_wire.c ${CMAKE_SOURCE_DIR}/tests/support/events.c
           LIBS proto PkgConfig::RDKAFKA LABELS integration)
