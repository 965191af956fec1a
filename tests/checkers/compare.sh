#!/usr/bin/env bash
# usage: compare.sh ETALON C_COMPILER
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
etalon=$1 compiler=$2 checkers=$here/../../checkers
python=/usr/bin/python3
if ! "$python" -c 'import numpy' 2>/dev/null; then
  echo "skipped: no numpy (Debian package python3-numpy)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Everything a reader could be strict about, and memory errors are failures.
"$compiler" -std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Werror \
  -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
  "$checkers/golden_check.c" -o "$work/golden_check" -lm
"$etalon" golden make --suite smoke -o "$work/pack"
"$etalon" golden run "$work/pack" -o "$work/got"
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/compare.py" "$etalon" \
  "$work/golden_check" "$checkers/golden.py" "$work"
