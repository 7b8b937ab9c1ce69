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
need mkfs.ext4 e2fsprogs
need bzip2 bzip2
need xz xz-utils
need zstd zstd
need ip iproute2
need nsenter util-linux
need nft nftables
need iptables iptables
need ufw ufw
need firewalld firewalld
need hyperfine hyperfine
need jq jq
need runc runc
need skopeo skopeo
need pgrep procps
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
# The virtual machine's kernel and the Debian userland are fetched by the tests themselves.
if command -v apt-get >/dev/null 2>&1 && [ -z "$(apt-cache search --names-only '^busybox-static$' 2>/dev/null)" ]; then
	apt-get update -qq
fi
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "the tests need$missing and this system has no apt-get to install them" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
