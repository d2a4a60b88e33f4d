# What is promised for misuse, each case in a process of its own (misuse.c), in every mode and for the secure library.
if(HAK_PRELOADS AND TARGET hakmem)
  add_executable(misuse misuse/misuse.c misuse/cases_free.c misuse/cases_access.c)
  target_link_libraries(misuse PRIVATE hak_flags Threads::Threads)
  # The compiler must neither know what malloc means nor warn of what is meant.
  target_compile_options(misuse PRIVATE -fno-builtin -O1 -Wno-use-after-free -Wno-free-nonheap-object
    -Wno-mismatched-dealloc -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-deprecated-declarations)

  # hak_misuse(NAME LIBRARY MODE BUILD)
  function(hak_misuse name library mode build)
    add_test(NAME misuse.${name} COMMAND misuse ${build})
    set_tests_properties(misuse.${name} PROPERTIES TIMEOUT 300 LABELS misuse
      ENVIRONMENT "LD_PRELOAD=$<TARGET_FILE:${library}>;HAKMEM_MODE=${mode}")
  endfunction()
  hak_misuse(fast hakmem fast plain)
  hak_misuse(balanced hakmem balanced plain)
  hak_misuse(minimal hakmem minimal minimal)
  hak_misuse(research hakmem research research)
  hak_misuse(secure hakmem-secure balanced secure)
  hak_misuse(secure_fast hakmem-secure fast secure)
endif()
