#!/bin/sh
# runcshim.sh DIR: containerd's shim for OCI runtimes, from its Go module, into DIR. What is
# there already stays.
set -eu
[ -e "$1/containerd-shim-runc-v2" ] && exit 0
mkdir -p "$1"
GOBIN=$(cd "$1" && pwd)
export GOBIN CGO_ENABLED=0 GOFLAGS=-trimpath
cd / # outside of any module
exec nice go install -ldflags '-s -w' github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@v2.4.2
