# Installation and packages: three components, library (what a production machine needs), tools and dev.

set(HAK_COMPONENTS library tools dev)
set(HAK_PACKAGES libhakmem hakmem-tools libhakmem-dev)
if(TARGET hakmem)
  include(CMakePackageConfigHelpers)
  # The name is what people write into LD_PRELOAD, so it carries no version; the interface is malloc(3) and hakmem.h.
  install(TARGETS hakmem EXPORT hakmem LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(TARGETS hakmem-secure LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
  install(EXPORT hakmem NAMESPACE hakmem:: FILE hakmem-targets.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hakmem COMPONENT dev)
  file(WRITE ${PROJECT_BINARY_DIR}/hakmem-config.cmake
    "include(\${CMAKE_CURRENT_LIST_DIR}/hakmem-targets.cmake)\n")
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/hakmem-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/hakmem-config.cmake ${PROJECT_BINARY_DIR}/hakmem-config-version.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hakmem COMPONENT dev)
  # Relative, so that an unpacked tree works wherever it is put.
  file(RELATIVE_PATH HAK_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/hakmem.pc.in ${PROJECT_BINARY_DIR}/hakmem.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/hakmem.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
  install(FILES ${PROJECT_SOURCE_DIR}/src/core/include/hakmem.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
endif()
install(FILES README.md CHANGELOG.md LICENSE docs/environment.md docs/architecture.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT tools)
# Debian wants its copyright file in each package.
foreach(component package IN ZIP_LISTS HAK_COMPONENTS HAK_PACKAGES)
  install(FILES LICENSE RENAME copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
endforeach()
# Formats and the library: pages that belong to no one command.
file(GLOB pages RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS src/*/*.[357])
foreach(page IN LISTS pages)
  string(REGEX REPLACE ".*\\." "" section ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT tools)
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME hakmem)
set(CPACK_PACKAGE_CONTACT "the hakmem authors <hakmem@localhost>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENTS_ALL ${HAK_COMPONENTS})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libhakmem)
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME hakmem-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libhakmem (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libhakmem-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libhakmem (= ${PROJECT_VERSION})")
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "memory allocator that follows a policy fitted to the program")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "record, report, replay, fit and deploy memory allocation")
set(CPACK_COMPONENT_DEV_DESCRIPTION "header, pkg-config and CMake files of libhakmem")
# The loader's cache is told of libraries by dpkg's trigger, not by scripts of ours.
file(WRITE ${PROJECT_BINARY_DIR}/debian/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/triggers)
set(CPACK_DEBIAN_TOOLS_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/triggers)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/debian.cmake)
include(CPack)
