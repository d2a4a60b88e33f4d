# Rules nobody runs decay: these run with every test run.
set(tidy /usr/bin/env python3 -B)
add_test(NAME tidy.source COMMAND ${tidy} ${CMAKE_CURRENT_SOURCE_DIR}/tidy/source.py ${PROJECT_SOURCE_DIR})
add_test(NAME tidy.self_test COMMAND ${tidy} ${CMAKE_CURRENT_SOURCE_DIR}/tidy/source.py --self-test)
if(TARGET hakmem)
  foreach(library hakmem hakmem-secure)
    add_test(NAME tidy.lib${library} COMMAND ${tidy} ${CMAKE_CURRENT_SOURCE_DIR}/tidy/libraries.py
      $<TARGET_FILE:${library}> ${CMAKE_CURRENT_SOURCE_DIR}/tidy/libhakmem.symbols)
  endforeach()
endif()
if(TARGET hakmem-trace-preload)
  add_test(NAME tidy.libhakmem_trace
    COMMAND ${tidy} ${CMAKE_CURRENT_SOURCE_DIR}/tidy/libraries.py $<TARGET_FILE:hakmem-trace-preload> ${CMAKE_CURRENT_SOURCE_DIR}/tidy/libhakmem-trace.symbols)
endif()

set(commands "")
foreach(command hakmem-trace hakmem-run hakmem-report hakmem-replay hakmem-policy)
  if(TARGET ${command})
    list(APPEND commands ${command})
  endif()
endforeach()
if(commands)
  add_test(NAME tidy.commands COMMAND ${tidy} ${CMAKE_CURRENT_SOURCE_DIR}/tidy/commands.py
    ${PROJECT_BINARY_DIR}/bin ${PROJECT_SOURCE_DIR} ${PROJECT_VERSION} ${commands})
endif()
