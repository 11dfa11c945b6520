#!/bin/sh
# Builds gopher.wasm, or another file: build.sh [FILE [FLAG FOR CLANG...]]
#
# Needs clang and the C library for WASI (Debian: clang, wasi-libc), the bindings' generator
# (cargo install wit-bindgen-cli@0.63.0), and Rust with the target wasm32-wasip2, of which only the linker is
# used: it makes a component of what it links.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-gopher.wasm}
[ $# = 0 ] || shift
bindings=$(mktemp -d)
trap 'rm -rf "$bindings"' EXIT

wit-bindgen c --world guest --out-dir "$bindings" "$here/../../../wit" 2>/dev/null
for source in "$here/gopher.c" "$bindings/guest.c"; do
    clang --target=wasm32-wasi -Os -Wall -Wextra -I "$bindings" "$@" -c "$source" -o "$bindings/$(basename "$source").o"
done

bin=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
libc=$(rustc --print target-libdir --target wasm32-wasip2)/self-contained
PATH=$bin/gcc-ld:$bin:$PATH "$bin/wasm-component-ld" --wasm-ld-path "$bin/gcc-ld/wasm-ld" \
    --no-entry --gc-sections --strip-debug -z stack-size=32768 -L "$libc" \
    "$bindings"/*.o -lc -o "$out"
