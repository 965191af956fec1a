#!/usr/bin/env bash
# usage: plugin_check.sh ETALON PORT.so
# A golden check of a port that has add, attention over f32, and no more.
set -euo pipefail
etalon=$1 port=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$etalon" golden make --suite smoke -o "$work/pack"
"$etalon" golden check "$work/pack" --profile cuda-f32 --backend "$port" |
  tee "$work/out"

# want PATTERN: the output has such a line.
want() {
  grep -qE "$1" "$work/out" || { echo "no line matches: $1"; exit 1; }
}
want '^PASS: test-port .*, 0 fail, 0 error, '
want '^skipped [0-9]+ of attention_variant: attention: variants are not part of'
want '^skipped [0-9]+ of attention: backend test-port: attention: caches of f32'
want '^skipped [0-9]+ of gemm: backend test-port has no gemm$'
want '^skipped [0-9]+ of quantize_q8_k: '
"$etalon" golden check "$work/pack" --profile cuda-f32 --backend "$port" --all \
  >"$work/out" 2>&1
want '^pass  *attention-'
