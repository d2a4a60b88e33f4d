# The installed tree, used as a stranger would.
if(TARGET hakmem)
  add_test(NAME install COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/install.sh ${PROJECT_BINARY_DIR})
  set_tests_properties(install PROPERTIES TIMEOUT 300)
endif()
