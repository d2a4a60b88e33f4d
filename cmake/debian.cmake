# What Debian asks of a package beyond its files; cpack runs it when these are laid out, one folder for each component:
# manual pages are compressed, there is a change log, and what lintian would say of things that are meant is answered.

find_program(GZIP gzip REQUIRED)
set(docs_library libhakmem)
set(docs_tools hakmem-tools)
set(docs_dev libhakmem-dev)
# A name in LD_PRELOAD carries no version, there is no address to write to yet, and cpack writes scripts that call ldconfig
# beside our trigger.
set(meant_always bogus-mail-host bogus-mail-host-in-debian-changelog)
set(meant_library shared-library-lacks-version maintscript-calls-ldconfig)
set(meant_tools shared-library-lacks-version package-name-doesnt-match-sonames maintscript-calls-ldconfig)
set(meant_dev pkg-config-unavailable-for-cross-compilation)

string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # of SOURCE_DATE_EPOCH where it is set
foreach(component library tools dev)
  set(root ${CPACK_TEMPORARY_DIRECTORY}/${component}/usr/share)
  if(NOT IS_DIRECTORY ${root})
    continue()
  endif()
  set(package ${docs_${component}})
  file(WRITE ${root}/doc/${package}/changelog
    "${package} (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n\n  * What changed is told in CHANGELOG.md of hakmem-tools.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
  set(overrides "")
  foreach(tag ${meant_${component}} ${meant_always})
    string(APPEND overrides "${package}: ${tag}\n")
  endforeach()
  file(WRITE ${root}/lintian/overrides/${package} "${overrides}")
  file(GLOB pages ${root}/man/man*/*.[1-8])
  execute_process(COMMAND ${GZIP} -9nf ${pages} ${root}/doc/${package}/changelog COMMAND_ERROR_IS_FATAL ANY)
  file(CHMOD_RECURSE ${root}/doc ${root}/lintian
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ
    DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endforeach()
