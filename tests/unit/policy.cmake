# unit tests of policy
hak_unit(policy_format unit/policy_format.c hak_base hak_policy hak_policy_text)
hak_unit(policy_live unit/policy_live.c hak_base hak_callsite hak_policy hak_policy_live hak_policy_text)
target_compile_options(test_policy_live PRIVATE -fno-omit-frame-pointer -fno-optimize-sibling-calls)
target_link_options(test_policy_live PRIVATE -Wl,--build-id=sha1)
hak_unit(trainer_pareto unit/trainer_pareto.c hak_base hak_code hak_policy hak_policy_text hak_feed hak_trace hak_replay hak_import hak_trainer_core hak_trainer)
hak_unit(trainer_search unit/trainer_search.c hak_base hak_policy hak_policy_text hak_trace hak_trainer_core)
hak_unit(trainer_sites unit/trainer_sites.c hak_base hak_policy hak_policy_text hak_trace hak_trainer_core)
