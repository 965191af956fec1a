# All from Debian packages; ./dev installs them.
find_package(PkgConfig REQUIRED)
find_package(hwy 1.0.3 REQUIRED CONFIG)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(fmt 9 REQUIRED CONFIG)
find_package(CLI11 2.1 REQUIRED CONFIG)
find_package(tl-expected REQUIRED CONFIG)
find_package(nlohmann_json 3.11 REQUIRED CONFIG)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# OpenMP by LLVM's runtime under every compiler: libgomp stalls for
# milliseconds per region on a shared CPU and hangs after fork().
find_library(LIBOMP_LIBRARY NAMES omp
  PATHS /usr/lib/llvm-14/lib REQUIRED)
find_path(LIBOMP_INCLUDE_DIR NAMES omp.h
  PATHS /usr/lib/llvm-14/lib/clang/14.0.6/include REQUIRED NO_DEFAULT_PATH)
add_library(etalon_openmp INTERFACE)
target_compile_options(etalon_openmp INTERFACE -fopenmp)
target_include_directories(etalon_openmp SYSTEM INTERFACE
  ${CMAKE_BINARY_DIR}/libomp-include)
# omp.h alone: its folder also holds clang 14's intrinsics headers.
configure_file(${LIBOMP_INCLUDE_DIR}/omp.h
               ${CMAKE_BINARY_DIR}/libomp-include/omp.h COPYONLY)
target_link_libraries(etalon_openmp INTERFACE ${LIBOMP_LIBRARY})
