# unit tests of callsite
hak_unit(callsite_walk unit/callsite_walk.c hak_base hak_callsite PkgConfig::UNWIND Threads::Threads)
target_compile_options(test_callsite_walk PRIVATE -O2 -fomit-frame-pointer -fno-optimize-sibling-calls)
