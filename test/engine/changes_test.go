package engine

import (
	"testing"

	"hoy/lib/failpoint"
	"hoy/test/rootful"
)

// TestChangeCutShort kills the engine in the middle of a change to a running container, when
// the kernel has it and the record does not. The next engine says what is, and so does the
// container's next start.
func TestChangeCutShort(t *testing.T) {
	for name, tc := range map[string]struct {
		point  failpoint.Point
		change []string
		shows  string
		want   string
	}{
		"limits":  {failpoint.ContainerLimited, []string{"update", "--pids-limit", "77", "--restart", "always", "con"}, "{{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}", "77 always"},
		"connect": {failpoint.ContainerMoved, []string{"network", "connect", "net", "con"}, "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}", "bridge net"},
		"publish": {failpoint.ContainerMoved, []string{"update", "--publish-add", "18081:81", "con"}, "{{json .HostConfig.PortBindings}}", `{"81/tcp":[{"HostIp":"","HostPort":"18081"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("network", "create", "net")
			e.breaking(tc.point, "kill")
			e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
			e.Try(tc.change...)
			e.Eventually("the engine's end", e.exited)
			e.Wait()
			e.Setenv()
			e.Up()
			for _, when := range []string{"by the next engine", "when it is started again", "by the one after that"} {
				if got := e.Hoy("inspect", "-f", tc.shows, "con"); got != tc.want {
					t.Errorf("%s inspect shows %q, want %q", when, got, tc.want)
				}
				if got := e.kernel("con", "pids", "pids.max", "pids.max"); name == "limits" && got != "77" {
					t.Errorf("%s the kernel has %s", when, got)
				}
				if when == "by the next engine" {
					e.Hoy("restart", "-t", "0", "con")
				} else {
					e.Kill()
					e.Up()
				}
			}
			e.Hoy("rm", "-f", "con")
			e.Hoy("network", "rm", "net")
			e.nothingLeft()
		})
	}
}
