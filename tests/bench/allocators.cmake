# bench_allocators: own workloads under several allocators; its worker carries no sanitizer, as allocators are preloaded
# into it, and calls malloc as written.
add_executable(bench_allocators bench/bench_allocators.c)
target_link_libraries(bench_allocators PRIVATE hak_flags hak_base hak_trace hak_replay hak_policy)
add_executable(bench_worker bench/bench_worker.c)
target_link_libraries(bench_worker PRIVATE hak_flags_plain Threads::Threads)
target_compile_options(bench_worker PRIVATE -O2 -fno-builtin -fno-plt)
add_dependencies(bench_allocators bench_worker)
