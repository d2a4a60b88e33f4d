# bats files of the commands
add_executable(make_program tools/make_program.c)
target_link_libraries(make_program PRIVATE hak_flags hak_base hak_trace)
hak_bats(replay cli/replay.bats TOOLS_ONLY)
hak_bats(bench cli/bench.bats TOOLS_ONLY)
hak_bats(report cli/report.bats TOOLS_ONLY)
hak_bats(policy cli/policy.bats TOOLS_ONLY)
