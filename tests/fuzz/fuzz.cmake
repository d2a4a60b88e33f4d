# Fuzzers: one per parser. hak_fuzz(NAME fuzz/NAME.c ROOMS…); seeds live in fuzz/corpus/NAME.
hak_fuzz(wire fuzz/wire.c hak_base)
