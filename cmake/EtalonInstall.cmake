# One shared library of all rooms but the program's own, its headers and a
# pkg-config file. The rooms are static libraries for the tests' sake; here
# their objects are taken.
include(GNUInstallDirs)

set(objects)
foreach(room quant simd core ops io text layer model quantize profile
    reference golden capi)
  if(NOT TARGET etalon_${room})
    continue()
  endif()
  get_target_property(type etalon_${room} TYPE)
  if(type STREQUAL STATIC_LIBRARY)
    list(APPEND objects $<TARGET_OBJECTS:etalon_${room}>)
  endif()
endforeach()
add_library(etalon_library SHARED ${objects})
target_link_libraries(etalon_library PRIVATE
  hwy::hwy fmt::fmt etalon_openmp PkgConfig::PCRE2)
set_target_properties(etalon_library PROPERTIES
  OUTPUT_NAME etalon
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

# Public headers include <tl/expected.hpp> (libexpected-dev); that package has
# no pkg-config file to require.
file(RELATIVE_PATH ETALON_PC_TO_PREFIX
     /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(${CMAKE_SOURCE_DIR}/cmake/etalon.pc.in
               ${CMAKE_BINARY_DIR}/etalon.pc @ONLY)

# `cmake --install` builds nothing, and `./dev run` leaves a folder with the
# program only: make what is missing rather than install half of it.
install(CODE "
  if(NOT EXISTS \"$<TARGET_FILE:etalon>\" OR
     NOT EXISTS \"$<TARGET_FILE:etalon_library>\")
    execute_process(COMMAND \"${CMAKE_COMMAND}\" --build
      \"${CMAKE_BINARY_DIR}\" --target etalon etalon_library
      COMMAND_ERROR_IS_FATAL ANY)
  endif()")
install(TARGETS etalon etalon_library)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/etalon
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/models
        DESTINATION ${CMAKE_INSTALL_DATADIR}/etalon
        FILES_MATCHING PATTERN "*.gguf" PATTERN "*.md")
install(FILES ${CMAKE_BINARY_DIR}/etalon.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
