# Flags every target of ours gets. Numerics are part of the contract: no
# contraction (an fma appears only where the source says so), no fast-math, no
# -march: kernels choose their target at run time.
add_library(etalon_flags INTERFACE)
target_compile_options(etalon_flags INTERFACE
  -ffp-contract=off -fno-math-errno
  -Wall -Wextra -Wconversion -Wshadow
  $<$<BOOL:${ETALON_WERROR}>:-Werror>)
if(ETALON_WERROR AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 reports these inside its own std::string and std::vector (GCC bug
  # 105651 and its kin); clang and the sanitizers look for the real ones.
  target_compile_options(etalon_flags INTERFACE -Wno-error=restrict
    -Wno-error=stringop-overflow -Wno-error=array-bounds)
  if(ETALON_SANITIZE)
    # Instrumentation hides initialisations from this one (gcc's own manual).
    target_compile_options(etalon_flags INTERFACE
      -Wno-error=maybe-uninitialized)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  # libstdc++ 12's own std::stable_sort calls a function it deprecates; g++'s
  # -Wconversion does not include sign conversions, so neither does clang's.
  target_compile_options(etalon_flags INTERFACE
    -Wno-deprecated-declarations -Wno-sign-conversion)
endif()
target_include_directories(etalon_flags INTERFACE
  ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/src)
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")

if(ETALON_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(ETALON_TSAN)
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(ETALON_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined
                      -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

# The one place that sets Highway's target list: scalar, AVX2, AVX3. SSE4 and
# SSSE3 have no fused multiply-add; EMU128 would differ between compilers.
add_library(etalon_simd_flags INTERFACE)
target_compile_definitions(etalon_simd_flags INTERFACE
  "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4)" HWY_BROKEN_EMU128=1)
target_link_libraries(etalon_simd_flags INTERFACE etalon_flags)
