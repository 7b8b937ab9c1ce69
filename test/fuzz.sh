#!/bin/sh
# Runs every fuzz target of the project for FUZZTIME (default a minute) each, also behind
# one that fails. FROM is the target to begin with.
set -u
cd "$(dirname "$0")/.."
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# fuzz runs one target. Without the limit most of the time would go into making inputs small.
fuzz() {
	go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-1m}" -fuzzminimizetime 1s "$1" </dev/null >"$said" 2>&1 && return
	# Go's fuzzer may take the end of FUZZTIME for a failure (go.dev/issue/75804): then
	# there is no input that fails.
	grep -q '^    context deadline exceeded$' "$said" && ! grep -q 'Failing input' "$said"
}

failed=
for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		[ "${FROM:-$target}" = "$target" ] || continue
		FROM=
		echo "== $(dirname "$file") $target"
		if fuzz "$(dirname "$file")" "$target"; then
			tail -n 3 "$said"
		else
			cat "$said"
			failed="$failed $target"
		fi
	done
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
