# unit tests of core: programs that run on the allocator's own objects
if(HAK_PRELOADS)
  set(core_rooms hak_base hak_callsite hak_policy hak_policy_live)
  hak_unit(core_sizes unit/core_sizes.c hak_core ${core_rooms})
  hak_unit(core_options unit/core_options.c hak_core ${core_rooms})
  hak_unit(core_pool unit/core_pool.c hak_core ${core_rooms})
  hak_unit(core_pool_secure unit/core_pool.c hak_core_secure ${core_rooms})
  target_compile_definitions(test_core_pool_secure PRIVATE HAKMEM_SECURE=1)
endif()
