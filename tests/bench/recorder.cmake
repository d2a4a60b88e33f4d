# bench_threads: the threaded programs of tests/bench/recorder.
add_executable(bench_threads bench/bench_threads.c)
target_link_libraries(bench_threads PRIVATE hak_flags_plain Threads::Threads)
target_compile_options(bench_threads PRIVATE -O2 -fno-optimize-sibling-calls)
