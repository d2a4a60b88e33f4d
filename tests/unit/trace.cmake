# unit tests of trace
hak_unit(trace_file unit/trace_file.c hak_base hak_trace)
hak_unit(collect_clock unit/collect_clock.c hak_base hak_trace)
target_sources(test_collect_clock PRIVATE ../src/trace/collect_clock.c)
hak_unit(collect_merge unit/collect_merge.c hak_base hak_trace)
target_sources(test_collect_merge PRIVATE ../src/trace/collect_clock.c ../src/trace/collect_events.c
  ../src/trace/collect_merge.c ../src/trace/collect_ring.c ../src/trace/collect_run.c ../src/trace/collect_stack.c)
hak_unit(trace_slots unit/trace_slots.c hak_base hak_trace)
hak_unit(trace_reuse unit/trace_reuse.c hak_base hak_trace)

# The recorder's walk without its interposers.
hak_unit(record_seen unit/record_seen.c hak_base hak_callsite PkgConfig::UNWIND ${CMAKE_DL_LIBS})
target_sources(test_record_seen PRIVATE ../src/trace/record_fork.c ../src/trace/record_seen.c
  ../src/trace/record_unwinder.c ../src/trace/record_walk.c)
target_compile_options(test_record_seen PRIVATE -O2 -fomit-frame-pointer -fno-optimize-sibling-calls)

# Test helper: text to a trace file; used by the command-line tests and to make the seeds of the fuzzers.
add_executable(make_trace tools/make_trace.c)
target_link_libraries(make_trace PRIVATE hak_flags hak_base hak_trace)
