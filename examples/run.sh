#!/usr/bin/env bash
# usage: run.sh PACK [BUILD_DIR]
# Builds the example ports whose tools are here, runs each on a golden pack and
# says which were skipped and why. Exit status 1 when a port fails.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/..
(($# >= 1)) || { echo "usage: run.sh PACK [BUILD_DIR]" >&2; exit 1; }
pack=$1 out=${2:-$root/build-examples}
mkdir -p "$out"
failed=0
cc=(cc -std=c99 -O2 -Wall -Wextra -Wno-missing-field-initializers "-I$root")

# judge NAME PROGRAM PROFILE: 77 says that there is no device.
judge() {
  local status=0
  "$2" "$pack" "$3" || status=$?
  if ((status == 77)); then
    echo "$1: skipped, no device"
  elif ((status != 0)); then
    echo "$1: FAILED ($status)"
    failed=1
  else
    echo "$1: ok"
  fi
}

if [[ -e /usr/include/CL/cl.h ]]; then
  "${cc[@]}" "$here/opencl/main.c" -o "$out/opencl_port" -lOpenCL -lm
  cp "$here/opencl/kernels.cl" "$out"
  judge OpenCL "$out/opencl_port" "$here/opencl/opencl.json"
else
  echo "OpenCL: skipped, no headers (Debian: ocl-icd-opencl-dev," \
    "pocl-opencl-icd)"
fi

if [[ -e /usr/include/vulkan/vulkan.h ]] &&
  command -v glslangValidator >/dev/null; then
  "${cc[@]}" "$here/vulkan/main.c" -o "$out/vulkan_port" -lvulkan -lm
  for shader in sdpa q4k_gemv; do
    glslangValidator -V --target-env vulkan1.1 "$here/vulkan/$shader.comp" \
      -o "$out/$shader.spv" >/dev/null
  done
  judge Vulkan "$out/vulkan_port" "$pack/profiles/vulkan.json"
else
  echo "Vulkan: skipped, no headers or no compiler (Debian: libvulkan-dev," \
    "glslang-tools, mesa-vulkan-drivers)"
fi

nvcc=$(command -v nvcc || true)
if [[ -n $nvcc ]]; then
  "$nvcc" -O2 --fmad=false "-I$root" "$here/cuda/main.cu" -o "$out/cuda_port"
  judge CUDA "$out/cuda_port" "$pack/profiles/cuda-f32.json"
else
  echo "CUDA: skipped, no nvcc"
fi
exit $failed
