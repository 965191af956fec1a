#!/usr/bin/env bash
# usage: compare.sh BUILD_DIR [BUILD_DIR...]
# One answer: `etalon logits` writes the same bytes for every thread count,
# SIMD tier, chunk size and build (compiler), on every model that
# make_test_models of the first build writes.
set -euo pipefail
(($# > 0)) || { echo "usage: compare.sh BUILD_DIR [BUILD_DIR...]" >&2; exit 1; }
first=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$first/make_test_models" "$work"
read -ra tiers <<<"$("$first/etalon" info | sed -n 's/^tiers: //p' | tr -d ,)"
((${#tiers[@]} > 0)) || { echo "etalon info names no tiers" >&2; exit 1; }
echo "builds: $*; tiers: ${tiers[*]}"

# Longer than one chunk of 256 positions would be slow on the scalar tier.
tokens=$(seq -s, 1 70)
configurations=("-t 1" "-t 2" "-t 4" "-b 1" "-b 7" "-b 64")
for tier in "${tiers[@]}"; do configurations+=("--isa $tier"); done

differences=0 runs=0
for model in "$work"/*.gguf; do
  want=
  for build in "$@"; do
    for configuration in "${configurations[@]}"; do
      # shellcheck disable=SC2086  # two words on purpose
      "$build/etalon" logits -m "$model" --tokens "$tokens" \
        -o "$work/out.npy" $configuration 2>"$work/err" || {
        cat "$work/err" >&2
        exit 1
      }
      sum=$(sha256sum <"$work/out.npy")
      want=${want:-$sum}
      runs=$((runs + 1))
      if [[ $sum != "$want" ]]; then
        echo "DIFFERS: ${model##*/} $configuration in $build"
        differences=$((differences + 1))
      fi
    done
  done
done
echo "$runs runs, $differences differ"
((differences == 0))
