#!/bin/sh
# Installs what the tests and benchmarks need and is not there: Debian packages only.
set -eu
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need busybox busybox-static
need debootstrap debootstrap
need qemu-system-x86_64 qemu-system-x86
need qemu-aarch64-static qemu-user-static
need gcc 'gcc libc6-dev'
need xz xz-utils
need zstd zstd
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "the tests need$missing and this system has no apt-get to install them" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
