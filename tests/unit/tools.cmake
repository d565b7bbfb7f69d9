# The parts of tools/ that need no broker.
foreach(part bench_check exec format from history line_reader text)
  crier_test(test_tools_${part} unit/test_tools_${part}.c LIBS tools_parts LABELS unit tools)
endforeach()
