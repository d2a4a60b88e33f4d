# unit tests of core: programs that run on the allocator's own objects
if(HAK_PRELOADS)
  set(core_rooms hak_base hak_callsite hak_policy hak_policy_live)
  hak_unit(core_sizes unit/core_sizes.c hak_core ${core_rooms})
  hak_unit(core_options unit/core_options.c hak_core ${core_rooms})
  hak_unit(core_pool unit/core_pool.c hak_core ${core_rooms})
  hak_unit(core_pool_secure unit/core_pool.c hak_core_secure ${core_rooms})
  target_compile_definitions(test_core_pool_secure PRIVATE HAKMEM_SECURE=1)
endif()
hak_unit(core_remote_model unit/core_remote_model.c)
hak_unit(core_inbox_model unit/core_inbox_model.c)
# The file alone: in hak_core the tree is the allocator's own.
hak_unit(core_first_fit unit/core_first_fit.c hak_base)
target_sources(test_core_first_fit PRIVATE ${PROJECT_SOURCE_DIR}/src/core/first_fit.c)
