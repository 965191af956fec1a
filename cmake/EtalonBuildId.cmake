# Names the commit in src/profile/build_id.cc. Read when CMake runs, which a new
# commit causes (git's log of HEAD grows).
function(etalon_build_id source)
  set(commit unknown)
  set(number 0)
  execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} rev-parse --short=9 HEAD
    OUTPUT_VARIABLE found RESULT_VARIABLE failed
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(failed EQUAL 0)
    set(commit ${found})
    execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} rev-list --count HEAD
      OUTPUT_VARIABLE number OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(EXISTS ${CMAKE_SOURCE_DIR}/.git/logs/HEAD)
    set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY
      CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/.git/logs/HEAD)
  endif()
  set_source_files_properties(${source} PROPERTIES COMPILE_DEFINITIONS
    "ETALON_BUILD_COMMIT=\"${commit}\";ETALON_BUILD_NUMBER=${number}")
endfunction()
