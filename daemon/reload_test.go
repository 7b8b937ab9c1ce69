package daemon

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestSettings: what changes while the engine runs are flags that there are, and the
// event's attributes are docker's.
func TestSettings(t *testing.T) {
	flags, o := Flags(), DefaultOptions()
	attributes := map[string]bool{}
	for _, s := range settings() {
		if flags.Lookup(s.flag) == nil {
			t.Errorf("there is no flag %s", s.flag)
		}
		if s.key != "" {
			attributes[s.key] = true
			s.show(&o)
		}
	}
	// Of daemon/reload.go and reload_unix.go of moby v2.0.0-beta.24.
	docker := []string{"debug", "default-cgroupns-mode", "default-ipc-mode", "default-runtime", "default-shm-size", "default-stop-timeout",
		"features", "insecure-registries", "labels", "live-restore", "max-concurrent-downloads", "max-concurrent-uploads",
		"max-download-attempts", "nri-opts", "registry-mirrors", "runtimes", "shutdown-timeout"}
	if got := slices.Sorted(maps.Keys(attributes)); !slices.Equal(got, docker) {
		t.Errorf("attributes %q", got)
	}
}

// TestTake: each setting takes its option, and nothing else.
func TestTake(t *testing.T) {
	old, _, err := Parse([]string{file(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := Parse([]string{file(t, `{"debug": true, "log-level": "warn", "labels": ["a=b"], "shutdown-timeout": 1, "live-restore": false, "default-stop-timeout": 2,
		"default-shm-size": "1m", "default-ipc-mode": "shareable", "default-cgroupns-mode": "host", "mtu": 1400, "bridge": "x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		s.take(&old, &read)
	}
	if !old.Debug || old.LogLevel != "warn" || old.Labels[0] != "a=b" || old.ShutdownTimeout != 1 || old.LiveRestore || old.StopTimeout != 2 ||
		old.ShmSize != 1<<20 || old.IpcMode != "shareable" || old.CgroupnsMode != "host" {
		t.Errorf("not all was taken: %+v", old)
	}
	if old.MTU != 0 || old.Bridge != DefaultBridge {
		t.Errorf("an option was taken that must wait: %+v", old)
	}
	if got := strings.Join(waiting(old.values, read.values), "\n"); !strings.Contains(got, "--mtu has changed") || !strings.Contains(got, "--bridge has changed") || strings.Contains(got, "--debug") {
		t.Error(got)
	}
}

// TestShown: a log has no password.
func TestShown(t *testing.T) {
	o, _, err := Parse([]string{"--http-proxy=http://me:secret@192.0.2.1", "--debug", file(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	got := o.shown()
	delete(got, "config-file")
	if !maps.Equal(got, map[string]string{"debug": "true", "http-proxy": "http://xxxxx:xxxxx@192.0.2.1"}) {
		t.Error(got)
	}
}
