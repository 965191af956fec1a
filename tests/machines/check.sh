#!/usr/bin/env bash
# usage: check.sh BUILD_DIR ARM_BUILD_DIR [--update]
# One answer on other machines: logits of small models (make_test_models) from
#   - the program of BUILD_DIR here,
#   - the same program on an x86 CPU without AVX (qemu), scalar kernels,
#   - the strict engine cross-built for AArch64 (qemu), NEON kernels, with
#     other thread counts and prefill chunks,
# all have the SHA-256 that is stored in the repository.
set -euo pipefail
(($# >= 2)) || { echo "usage: check.sh BUILD_DIR ARM_BUILD_DIR" >&2; exit 1; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1 arm_build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n_tokens=24

"$build/make_test_models" "$work"
cmake -S "$here" -B "$arm_build" -G Ninja -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  "-DCMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true)" >/dev/null
ninja -C "$arm_build" >"$arm_build/ninja.log" || {
  tail -n 40 "$arm_build/ninja.log" >&2
  exit 1
}

tokens=$(seq -s, 1 "$n_tokens")
cd "$work"
models=(*.gguf)
failed=0
# compare NAME: the files *.npy of this folder against the stored sums.
compare() {
  if sha256sum --quiet -c "$here/logits.sha256"; then
    echo "$1: ${#models[@]} models, the stored bits"
  else
    echo "$1: DIFFERS"
    failed=1
  fi
  rm -f ./*.npy
}

for model in "${models[@]}"; do
  "$build/etalon" logits -m "$model" --tokens "$tokens" -o "$model.npy"
done
if [[ ${3:-} == --update ]]; then sha256sum ./*.npy >"$here/logits.sha256"; fi
compare "this machine"

for model in "${models[@]}"; do
  # Nehalem: SSE4.2, no AVX, no FMA.
  qemu-x86_64 -cpu Nehalem "$build/etalon" logits -m "$model" \
    --tokens "$tokens" -o "$model.npy" -t 2
done
compare "x86 without AVX"

for configuration in "1 0" "3 7" "2 1"; do
  pairs=()
  for model in "${models[@]}"; do pairs+=("$model" "$model.npy"); done
  # shellcheck disable=SC2086  # two words on purpose
  qemu-aarch64 "$arm_build/logits_files" $configuration "$n_tokens" \
    "${pairs[@]}"
  compare "AArch64, threads and chunk $configuration"
done
exit $failed
