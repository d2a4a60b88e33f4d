# Fuzzers: one per parser. hak_fuzz(NAME fuzz/NAME.c ROOMS…); seeds live in fuzz/corpus/NAME.
hak_fuzz(wire fuzz/wire.c hak_base)
hak_fuzz(trace_file fuzz/trace_file.c hak_base hak_trace)
hak_fuzz(trace_payload fuzz/trace_payload.c hak_base hak_trace)
hak_fuzz(policy_binary fuzz/policy_binary.c hak_base hak_policy hak_policy_text)
hak_fuzz(policy_text fuzz/policy_text.c hak_base hak_policy hak_policy_text)
hak_fuzz(import_file fuzz/import_file.c hak_base hak_trace hak_import)
