#!/bin/sh
# dockercli.sh DIR: docker's own command line into DIR, of the release that the transcripts
# of test/docker are recorded with, from its Go module: distributions have others, which say
# things in other words. What is there already stays.
set -eu
version=28.2.2
[ -e "$1/docker" ] && exit 0
mkdir -p "$1"
dir=$(cd "$1" && pwd)
if command -v docker >/dev/null 2>&1 && [ "$(docker --version | cut -d' ' -f3)" = "$version," ]; then
	ln -s "$(command -v docker)" "$dir/docker"
	exit 0
fi
src=$(mktemp -d)
trap 'rm -rf "$src"' EXIT
# The module has no go.mod, but one for its vendor folder by another name.
module=$(cd / && go mod download -json "github.com/docker/cli@v$version+incompatible" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$module/." "$src"
chmod -R u+w "$src"
cd "$src"
rm -rf vendor
mv vendor.mod go.mod
mv vendor.sum go.sum
# The commit of docker/docker that it names is the one that was released.
go mod edit -require "github.com/docker/docker@v$version+incompatible"
export CGO_ENABLED=0 GOFLAGS="-trimpath -mod=mod"
nice go build -ldflags "-s -w -X github.com/docker/cli/cli/version.Version=$version" -o "$dir/docker" ./cmd/docker
