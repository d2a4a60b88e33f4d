# unit tests of trace
hak_unit(trace_file unit/trace_file.c hak_base hak_trace)
hak_unit(trace_slots unit/trace_slots.c hak_base hak_trace)

# Test helper: text to a trace file; used by the command-line tests and to make the seeds of the fuzzers.
add_executable(make_trace tools/make_trace.c)
target_link_libraries(make_trace PRIVATE hak_flags hak_base hak_trace)
