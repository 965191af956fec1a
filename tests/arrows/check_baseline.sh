#!/usr/bin/env bash
# usage: check_baseline.sh LIBRARY...
# Fails if a function outside Highway's per-target namespaces (N_AVX2, N_AVX3,
# and the extension tiers N_AVX3_*) has a VEX or EVEX instruction. All of those
# have mnemonics that start with v; baseline x86-64 has none but verr and verw.
set -euo pipefail
(($# > 0))
objdump -d --no-show-raw-insn "$@" | awk '
  /^[0-9a-f]+ <.*>:$/ {
    name = $2
    checked = name !~ /[0-9]N_AVX/
    functions += checked
    next
  }
  checked && $2 ~ /^v/ && $2 !~ /^ver[rw]$/ && !(name in seen) {
    seen[name] = 1
    print "vector instruction in baseline function " name " " $0
    bad++
  }
  END {
    print functions " baseline functions, " bad + 0 " with vector extensions"
    exit !(functions > 0 && bad == 0)
  }' > >(c++filt) || exit 1
