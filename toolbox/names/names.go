// Package names lists the toolbox's programs, for the engine, which makes a link for
// each, and for the program itself, which implements them.
package names

import "strings"

const all = `[ anatomy base64 basename cat chmod chown clear cp cut date df dirname du
echo env false find free grep gunzip gzcat gzip head hostname httpd id ip kill ln ls
mkdir mktemp mount mv nc nproc nslookup ping printenv printf ps pwd readlink realpath
rm rmdir seq sh sha256sum shasum sleep sort stat sync tail tar tee test touch tr true
umount uname uniq uptime wc wget which whoami xargs yes`

// All returns the names, sorted.
func All() []string { return strings.Fields(all) }
