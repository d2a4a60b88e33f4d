# Fuzzers: one per parser. hak_fuzz(NAME fuzz/NAME.c ROOMS…); seeds live in fuzz/corpus/NAME.
hak_fuzz(wire fuzz/wire.c hak_base)
hak_fuzz(trace_file fuzz/trace_file.c hak_base hak_trace)
hak_fuzz(trace_payload fuzz/trace_payload.c hak_base hak_trace)
