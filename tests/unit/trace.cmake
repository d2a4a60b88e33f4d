# unit tests of trace
hak_unit(trace_file unit/trace_file.c hak_base hak_trace)
