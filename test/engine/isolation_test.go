package engine

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// differs lists where hoy knowingly differs from the reference engine, and why. Each
// is at least as strict.
var differs = map[string]string{
	"mount /proc/acpi":             "an empty directory has no size to limit",
	"mount /sys/firmware":          "an empty directory has no size to limit",
	"mount /proc/keys":             "masked by the host's own /dev/null, never by the container's (CVE-2025-31133)",
	"mount /proc/interrupts":       "as /proc/keys",
	"mount /proc/timer_list":       "as /proc/keys",
	"mount /sys/fs/cgroup":         "read-only also at its top",
	"mount /sys/fs/cgroup/freezer": "hoy freezes by cgroup v2 where that is mounted",
	"mount /sys/fs/cgroup/systemd": "hoy makes no groups in systemd's own hierarchy",
	"cgroups seen as":              "hoy gives every container a cgroup namespace, also on cgroup v1",
}

var (
	ids   = regexp.MustCompile(`/[^ ]*/[0-9a-f]{64}`)
	limit = regexp.MustCompile(`^limit .*\(-.\)`)
)

// findings reads the output of isolation.sh: topic to finding.
func findings(s string) map[string]string {
	m := map[string]string{}
	for _, l := range strings.Split(strings.TrimSpace(ids.ReplaceAllString(s, "/PARENT/ID")), "\n") {
		topic, finding, _ := strings.Cut(l, ": ")
		if limit.MatchString(l) {
			topic, finding = limit.FindString(l), "" // the values are the machine's
		}
		m[topic] = finding
	}
	return m
}

// TestDefaultContainerSeesWhatDockersSees holds the whole table of what a container
// sees and may do beside that of the reference engine, recorded from dockerd of
// github.com/moby/moby/v2 v2.0.0-beta.24 with runc 1.5.2 by the same script.
func TestDefaultContainerSeesWhatDockersSees(t *testing.T) {
	rootful.Check(t)
	recorded, err := os.ReadFile("testdata/isolation.docker.txt")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/isolation.sh")
	if err != nil {
		t.Fatal(err)
	}
	e := Start(t)
	e.ImportBusybox()
	r := e.Try("run", "--rm", "-i", "-v", script+":/isolation.sh:ro", "busybox", "sh", "/isolation.sh")
	if r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	want, got := findings(string(recorded)), findings(r.Stdout)
	for topic := range got {
		if _, ok := want[topic]; !ok {
			want[topic] = "(not there)"
		}
	}
	for topic, w := range want {
		g, ok := got[topic]
		if !ok {
			g = "(not there)"
		}
		if strings.HasPrefix(topic, "mount /etc/") { // on the file system of the data root, whichever that is
			_, g, _ = strings.Cut(g, " ")
			_, w, _ = strings.Cut(w, " ")
		}
		if _, known := differs[topic]; g != w && !known {
			t.Errorf("%s: %s\n\tdocker: %s", topic, g, w)
		}
	}
}
