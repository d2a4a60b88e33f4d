# What an allocator must survive: programs that are a table of rows each (rows.h), run under the preload in every mode,
# and under the C library, whose failures would be the test's own. STRESS_SCALE=10 makes a soak of them.
if(HAK_PRELOADS)
  add_library(stress_rows OBJECT stress/rows.c)
  target_link_libraries(stress_rows PUBLIC hak_flags Threads::Threads ${CMAKE_DL_LIBS})
  # The compiler must neither know what malloc means nor pair it with free.
  target_compile_options(stress_rows PUBLIC -fno-builtin -Wno-deprecated-declarations
    -Wno-use-after-free -Wno-mismatched-dealloc -Wno-free-nonheap-object)

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
  hak_stress(model stress/model.c MODES ${every})
endif()
