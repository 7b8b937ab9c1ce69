package engine

import (
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestStandardStreamsByName has programs open their standard streams by name, as root
// and as another user, in a container and in an exec, before and after the end of
// the input.
func TestStandardStreamsByName(t *testing.T) {
	const script = `read a </dev/stdin; echo $a >/dev/stdout; cat /dev/stdin; cat </dev/stdin; cat /proc/self/fd/0; echo err >/dev/stderr; echo end`
	for mode, flags := range map[string][]string{"host's users": nil, "user namespace": {"--userns-remap", "default"}} {
		t.Run(mode, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t, flags...)
			e.ImportBusybox()
			e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
			for _, user := range []string{"0", "1000"} {
				for _, cmd := range [][]string{
					{"run", "-i", "--rm", "-u", user, "busybox", "sh", "-c", script},
					{"exec", "-i", "-u", user, "con", "sh", "-c", script},
				} {
					r := e.TryIn(strings.NewReader("one\n"), cmd...)
					if r.Code != 0 || r.Stdout != "one\nend\n" || r.Stderr != "err\n" {
						t.Errorf("%q: %+v", cmd, r)
					}
				}
			}
			e.Hoy("rm", "-f", "con")
			e.nothingLeft()
		})
	}
}
