#!/bin/sh
# Collects the image's files: rootfs.sh PROGRAM FOLDER
#
# The program, the libraries that it is linked with (a static program has none), and an empty /srv.
set -eu
program=$1 root=$2
mkdir -p "$root/srv"
cp "$program" "$root/multiclient"
ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
