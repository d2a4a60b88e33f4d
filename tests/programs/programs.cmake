# Real programs under our libraries: what they print, write and return must not change. One test per mode, so that they
# run side by side.
set(same ${CMAKE_CURRENT_SOURCE_DIR}/programs/same)
if(TARGET hakmem)
  foreach(mode minimal fast balanced learning research)
    # These two print their counters at exit.
    set(chatty "")
    if(mode STREQUAL learning OR mode STREQUAL research)
      set(chatty --chatty)
    endif()
    add_test(NAME programs.${mode}
      COMMAND ${same} --preload $<TARGET_FILE:hakmem> --env HAKMEM_MODE=${mode} ${chatty})
    set_tests_properties(programs.${mode} PROPERTIES TIMEOUT 600)
  endforeach()
endif()
if(TARGET hakmem-trace)
  add_test(NAME programs.trace
    COMMAND ${same} --wrap "$<TARGET_FILE:hakmem-trace> -q -o @OUT@/trace.%e.%p.gz --"
      --after "ls trace.*.gz >/dev/null && gzip -t trace.*.gz && ! ls *.part >/dev/null 2>&1")
  set_tests_properties(programs.trace PROPERTIES TIMEOUT 600)
endif()
