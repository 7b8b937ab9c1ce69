package cdi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const gpu = `
cdiVersion: 0.6.0
kind: vendor.com/gpu
annotations: {a: b}
devices:
- name: "0"
  containerEdits:
    env: [GPU=0]
    deviceNodes: [{path: /dev/gpu0, hostPath: /dev/null, permissions: rw}]
- name: all
  containerEdits:
    env: [GPU=all]
    additionalGids: [44, 0, 44]
containerEdits:
  env: [COMMON=1]
  mounts: [{hostPath: /usr/lib/gpu.so, containerPath: /usr/lib/gpu.so, options: [ro, nosuid, bind]}]
`

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRegistry(t *testing.T) {
	etc, run := t.TempDir(), t.TempDir()
	r := Registry{etc, run, filepath.Join(run, "missing")}
	write(t, etc, "gpu.yaml", gpu)
	write(t, etc, "disk.json", "{\n\t\"cdiVersion\": \"1.1.0\", \"kind\": \"vendor.com/disk\", \"devices\": [{\"name\": \"a\", \"containerEdits\": {\"env\": [\"DISK=etc\"]}}]}")
	write(t, run, "disk.json", `{"cdiVersion": "0.3.0", "kind": "vendor.com/disk", "devices": [{"name": "a", "containerEdits": {"env": ["DISK=run"]}}]}`)
	write(t, etc, "notes.txt", "not read")
	names, warnings := r.Devices()
	if !slices.Equal(names, []string{"vendor.com/disk=a", "vendor.com/gpu=0", "vendor.com/gpu=all"}) || warnings != nil {
		t.Errorf("%q, %q", names, warnings)
	}
	if !r.Has("vendor.com/gpu") || r.Has("vendor.com/g") {
		t.Error("Has")
	}
	list, err := r.Edits("vendor.com/gpu=0", "vendor.com/gpu=all", "vendor.com/gpu=0", "vendor.com/disk=a")
	var env []string
	for _, e := range list {
		env = append(env, e.Env...)
	}
	if err != nil || strings.Join(env, " ") != "COMMON=1 GPU=0 GPU=all DISK=run" {
		t.Errorf("%q, %v", env, err)
	}
	// What is wrong is told, and who needs it does not get something else.
	write(t, run, "again.json", `{"cdiVersion": "0.3.0", "kind": "vendor.com/disk", "devices": [{"name": "a", "containerEdits": {}}]}`)
	write(t, run, "broken.yaml", "kind: [")
	if names, warnings = r.Devices(); slices.Contains(names, "vendor.com/disk=a") || len(warnings) != 2 || !strings.Contains(warnings[1], `conflicting device "vendor.com/disk=a"`) {
		t.Errorf("%q, %q", names, warnings)
	}
	if _, err := r.Edits("vendor.com/disk=a"); err == nil || !strings.Contains(err.Error(), "unresolvable CDI devices vendor.com/disk=a (CDI: Error associated with spec file") {
		t.Error(err)
	}
}

func TestApply(t *testing.T) {
	f, err := parse([]byte(gpu), true)
	if err != nil {
		t.Fatal(err)
	}
	s := &specs.Spec{
		Process: &specs.Process{Env: []string{"GPU=none", "A=1"}, User: specs.User{UID: 7}},
		Linux:   &specs.Linux{Resources: &specs.LinuxResources{}},
		Mounts:  []specs.Mount{{Destination: "/usr/lib/gpu.so", Source: "/mine"}, {Destination: "/proc"}},
	}
	node := func(path string) (specs.LinuxDevice, error) {
		return specs.LinuxDevice{Path: path, Type: "c", Major: 1, Minor: 3}, nil
	}
	if err := Apply(s, []Edits{f.Edits, f.Devices[0].Edits, f.Devices[1].Edits}, node); err != nil {
		t.Fatal(err)
	}
	uid := uint32(7)
	want := specs.LinuxDevice{Path: "/dev/gpu0", Type: "c", Major: 1, Minor: 3, UID: &uid}
	if !reflect.DeepEqual(s.Linux.Devices, []specs.LinuxDevice{want}) {
		t.Errorf("devices %+v", s.Linux.Devices)
	}
	if r := s.Linux.Resources.Devices; len(r) != 1 || !r[0].Allow || *r[0].Minor != 3 || r[0].Access != "rw" {
		t.Errorf("rules %+v", r)
	}
	if got := strings.Join(s.Process.Env, " "); got != "A=1 COMMON=1 GPU=all" {
		t.Errorf("environment %s", got)
	}
	if len(s.Mounts) != 2 || s.Mounts[1].Source != "/usr/lib/gpu.so" || s.Mounts[1].Type != "bind" || !slices.Equal(s.Process.User.AdditionalGids, []uint32{44}) {
		t.Errorf("mounts %+v, groups %v", s.Mounts, s.Process.User.AdditionalGids)
	}
	if err := Apply(s, []Edits{{Hooks: []Hook{{Name: "createContainer", Path: "/x", Args: []string{"x", "y"}}}}}, node); err != nil || len(s.Hooks.CreateContainer) != 1 || s.Hooks.CreateContainer[0].Args[1] != "y" {
		t.Errorf("hooks %+v, %v", s.Hooks, err)
	}
	for want, e := range map[string]Edits{
		`hooks named "poststop" are not supported`: {Hooks: []Hook{{Name: "poststop", Path: "/x"}}},
		"Intel RDT": {IntelRdt: json.RawMessage("{}")}, "network devices": {NetDevices: []any{1}},
		"is of type c, not b": {DeviceNodes: []DeviceNode{{Path: "/dev/x", Type: "b"}}},
	} {
		if err := Apply(s, []Edits{e}, node); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const head = `cdiVersion: "1.0.0"` + "\nkind: vendor.com/class\n"
	for text, want := range map[string]string{
		"kind: vendor.com/class":                                      `version ""`,
		"cdiVersion: 2.0.0\nkind: vendor.com/class":                   "version",
		`{cdiVersion: "0.6.0", kind: vendor}`:                         "invalid kind",
		head:                                                          "describes no device",
		head + "devices: [{name: a}, {name: a}]":                      "repeated",
		head + "devices: [{name: a/b}]":                               "invalid or repeated",
		head + "devices: [{name: a, colour: blue}]":                   "unknown field",
		head + "devices: [{name: a, containerEdits: {env: [A]}}]":     "invalid environment variable",
		head + "devices: [{name: a}]\ncontainerEdits: {mounts: [{}]}": "invalid mount",
		head + "devices: [{name: a, containerEdits: {mounts: [{hostPath: /x, containerPath: /}]}}]": "invalid mount",
		head + "devices: [{name: a, containerEdits: {deviceNodes: [{path: x}]}}]":                   "invalid device node",
		head + "devices: [{name: a, containerEdits: {hooks: [{path: x}]}}]":                         "invalid hook",
	} {
		if _, err := parse([]byte(text), true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(gpu), true)
	f.Add([]byte(`{"cdiVersion":"0.6.0","kind":"a/b","devices":[{"name":"x","containerEdits":{"hooks":[{"hookName":"createContainer","path":"/x"}]}}]}`), false)
	f.Add([]byte("a: &a [*a]"), true)
	f.Fuzz(func(t *testing.T, b []byte, isYAML bool) {
		if got, err := parse(b, isYAML); err == nil && (got.Kind == "" || len(got.Devices) == 0) {
			t.Errorf("%q: %+v", b, got)
		}
	})
}
