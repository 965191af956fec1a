#!/usr/bin/env bash
# usage: check_install.sh BUILD_DIR COMPILER CONSUMER_SOURCE
set -euo pipefail
build=$1 compiler=$2 source=$3
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

cmake --install "$build" --prefix "$prefix" >/dev/null
pc=$(find "$prefix" -name etalon.pc)
[[ -n $pc ]] || { echo "no etalon.pc was installed" >&2; exit 1; }
export PKG_CONFIG_PATH=${pc%/*}
read -ra flags <<<"$(pkg-config --cflags --libs etalon)"
libdir=$(pkg-config --variable=libdir etalon)

"$compiler" -std=c++20 -Wall -Wextra -Werror "$source" -o "$prefix/consumer" \
  "${flags[@]}"
LD_LIBRARY_PATH=$libdir "$prefix/consumer"
LD_LIBRARY_PATH=$libdir ldd "$prefix/consumer" | grep -F "$libdir/libetalon.so"
if LD_LIBRARY_PATH=$libdir ldd "$prefix/consumer" | grep libgomp; then
  echo "two OpenMP runtimes in one program" >&2
  exit 1
fi
"$prefix/bin/etalon" --version
