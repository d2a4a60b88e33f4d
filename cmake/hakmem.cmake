# What every room shares: warnings, include roots, sanitizers.

# hak_flags_plain: without sanitizers, for what other people's libraries are preloaded into.
add_library(hak_flags_plain INTERFACE)
target_compile_definitions(hak_flags_plain INTERFACE _GNU_SOURCE HAKMEM_VERSION="${PROJECT_VERSION}")
target_include_directories(hak_flags_plain INTERFACE
  ${PROJECT_SOURCE_DIR}/src
  ${PROJECT_SOURCE_DIR}/src/core/include)
target_compile_options(hak_flags_plain INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings -Wvla -Wundef -Wformat=2
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition>
  $<$<BOOL:${HAKMEM_WERROR}>:-Werror>)
add_library(hak_flags INTERFACE)
target_link_libraries(hak_flags INTERFACE hak_flags_plain)
if(HAKMEM_SANITIZE)
  target_compile_options(hak_flags INTERFACE -fsanitize=${HAKMEM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(hak_flags INTERFACE -fsanitize=${HAKMEM_SANITIZE})
endif()
if(HAKMEM_FUZZ)
  target_compile_options(hak_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# A library that is preloaded into a stranger's program cannot carry the run-time of a sanitizer that wants to be
# the allocator itself. Such builds hold the tools, the unit tests and the fuzzers only: ask HAK_PRELOADS before
# adding a preload library or a test that needs one.
if(HAKMEM_SANITIZE)
  set(HAK_PRELOADS OFF)
else()
  set(HAK_PRELOADS ON)
endif()

# hak_room(NAME SOURCES…): one object library per room.
function(hak_room name)
  add_library(${name} OBJECT ${ARGN})
  target_link_libraries(${name} PUBLIC hak_flags)
endfunction()

# hak_command(NAME FILES file… ROOMS target…): a program, its man page NAME.1 beside it and its completion: built, linked
# and installed. A page that is missing stops the installation.
function(hak_command name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "FILES;ROOMS")
  add_executable(${name} ${arg_FILES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}) # "cli/x.h"
  target_link_libraries(${name} PRIVATE hak_flags ${arg_ROOMS})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
  install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/${name}.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tools)
  install(FILES ${PROJECT_SOURCE_DIR}/scripts/completion/hakmem.bash RENAME ${name}
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tools)
endfunction()
