# bench_program: a real program under several allocators (scripts/demo, scripts/compare).
add_executable(bench_program bench/bench_program.c)
target_link_libraries(bench_program PRIVATE hak_flags)
