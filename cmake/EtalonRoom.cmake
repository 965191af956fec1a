# etalon_room(<target> <dir> <libraries...>): one static library of all *.cc in
# <dir>, linking only what the room's arrows allow.
function(etalon_room target dir)
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cc)
  if(sources)
    add_library(${target} STATIC ${sources})
    target_link_libraries(${target} PUBLIC
      etalon_flags tl::expected fmt::fmt ${ARGN})
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE
      etalon_flags tl::expected fmt::fmt ${ARGN})
  endif()
endfunction()
