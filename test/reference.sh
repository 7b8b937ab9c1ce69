#!/bin/sh
# reference.sh DIR: builds the engine that docker's behaviour is read off, with all it
# runs, into DIR/bin: dockerd, docker-proxy, containerd, its shim, and runc. Nothing but
# Go modules and Debian packages. Takes minutes; what is there already stays.
set -eu
dir=$1
moby=github.com/moby/moby/v2@v2.0.0-beta.24
containerd=github.com/containerd/containerd/v2@v2.4.2
runc=github.com/opencontainers/runc@v1.5.2

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need gcc 'gcc libc6-dev'
need pkg-config pkg-config
need iptables iptables
need nsenter util-linux
need tini-static tini
[ -e /usr/include/seccomp.h ] || missing="$missing libseccomp-dev"
if [ -n "$missing" ]; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of package names
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

mkdir -p "$dir/bin"
bin=$(cd "$dir/bin" && pwd)
export CGO_ENABLED=1 GOFLAGS=-trimpath GOBIN="$bin"
# folder MODULE prints where Go has unpacked it; from outside of any module.
folder() { (cd / && go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
# program NAME FOLDER PACKAGE
program() { [ -e "$bin/$1" ] || (cd "$2" && nice go build -ldflags '-s -w' -o "$bin/$1" "$3"); }

src=$(folder $moby)
program dockerd "$src" ./cmd/dockerd
program docker-proxy "$src" ./cmd/docker-proxy
src=$(folder $containerd)
program containerd "$src" ./cmd/containerd
program containerd-shim-runc-v2 "$src" ./cmd/containerd-shim-runc-v2
[ -e "$bin/runc" ] || (cd / && nice go install -ldflags '-s -w' -tags seccomp $runc)
ln -sf "$(command -v tini-static)" "$bin/docker-init"
