#!/bin/sh
# debian.sh FILE [PACKAGES [SUITE]]: makes a root file system tar of this Debian, or of
# another suite of it, with nginx and redis in it, for tests of real daemons, or with
# other packages. Takes about two minutes; call it once and keep FILE.
set -eu
out=$1
packages=${2:-nginx-light,redis-server,ca-certificates,procps}
. /etc/os-release
mirror=$(apt-get indextargets --format '$(SITE)' "Codename: $VERSION_CODENAME" | sort -u | head -n 1)
suite=${3:-$VERSION_CODENAME}
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
# No service may start while packages are installed.
debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
cp /etc/apt/sources.list "$work/root/etc/apt/" 2>/dev/null || :
cp /etc/apt/sources.list.d/*.sources "$work/root/etc/apt/sources.list.d/" 2>/dev/null || :
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
tar -C "$work/root" --numeric-owner --one-file-system -cf "$work/tar" .
mv "$work/tar" "$out"
