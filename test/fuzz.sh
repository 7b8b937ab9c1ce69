#!/bin/sh
# Runs every fuzz target of the project for FUZZTIME (default a minute) each.
# Without the limit most of the time would go into making inputs small.
set -eu
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $(dirname "$file") $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" -fuzzminimizetime 1s "$(dirname "$file")" </dev/null
	done
done
