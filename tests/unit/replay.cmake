# unit tests of replay
hak_unit(replay_loop unit/replay_loop.c hak_base hak_trace hak_feed hak_replay hak_policy hak_replay_loop m)
hak_unit(replay_best unit/replay_best.c hak_base hak_trace hak_feed hak_replay hak_policy m)
hak_unit(replay_names unit/replay_names.c hak_base hak_trace hak_feed hak_profile)
