package standin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/runtime/bootstrap/v1"
	runc "github.com/containerd/containerd/api/types/runc/options"
	generic "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/proto"

	"hoy/shim"
)

// TestAnswer reads the three ways in which shims have said where they answer.
func TestAnswer(t *testing.T) {
	message, err := proto.Marshal(&bootstrap.BootstrapResult{Version: 3, Address: "unix:///s", Protocol: "ttrpc"})
	if err != nil {
		t.Fatal(err)
	}
	grpc, err := proto.Marshal(&bootstrap.BootstrapResult{Version: 3, Address: "unix:///s", Protocol: "grpc"})
	if err != nil {
		t.Fatal(err)
	}
	for said, want := range map[string]shim.Address{
		string(message): {Address: "unix:///s", Version: 3},
		`{"version":3,"address":"unix:///s","protocol":"ttrpc"}`: {Address: "unix:///s", Version: 3},
		"unix:///s\n": {Address: "unix:///s", Version: 2},
	} {
		if got, err := answer([]byte(said)); got != want || err != nil {
			t.Errorf("%q: %+v %v", said, got, err)
		}
	}
	for said, want := range map[string]string{"": "does not say where", string(grpc): "speaks grpc, hoy only ttrpc"} {
		if _, err := answer([]byte(said)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", said, err)
		}
	}
}

// TestLaunch starts a shim that reads the parameters of containerd's bootstrap protocol, and
// one from before it that takes them for its options.
func TestLaunch(t *testing.T) {
	dir := t.TempDir()
	options, err := options(&shim.Task{Type: "io.containerd.runc.v2", Options: map[string]any{"BinaryName": "/b"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ script, want string }{
		"new": {`grep -q events && echo unix:///new`, "unix:///new"},
		"old": {`if grep -q events; then echo 'type with url x: not found' >&2; exit 1; fi; echo unix:///old`, "unix:///old"},
		"bad": {`echo 'no such thing' >&2; exit 3`, "bad: no such thing (exit status 3)"},
	} {
		program := filepath.Join(dir, name)
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		a, err := launch(shim.Bundle(dir), &shim.Task{ID: "id", Program: program}, options, "unix:///events")
		got := a.Address
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestOptions names options as daemon.json does, by the fields of Go.
func TestOptions(t *testing.T) {
	a, err := options(&shim.Task{Type: "io.containerd.runc.v2", Options: map[string]any{"BinaryName": "/b", "SystemdCgroup": true, "IoUid": 7.0}})
	var r runc.Options
	if err != nil || a.TypeUrl != "containerd.runc.v1.Options" || proto.Unmarshal(a.Value, &r) != nil || r.BinaryName != "/b" || !r.SystemdCgroup || r.IoUid != 7 {
		t.Errorf("%v %v", a, err)
	}
	a, err = options(&shim.Task{Type: "io.containerd.runsc.v1", Options: map[string]any{"TypeUrl": "io.containerd.runsc.v1.options", "ConfigPath": "/c"}})
	var g generic.Options
	if err != nil || a.TypeUrl != "runtimeoptions.v1.Options" || proto.Unmarshal(a.Value, &g) != nil || g.ConfigPath != "/c" {
		t.Errorf("%v %v", a, err)
	}
	if a, err := options(&shim.Task{}); a != nil || err != nil {
		t.Errorf("none: %v %v", a, err)
	}
	for text, o := range map[string]map[string]any{"has no option Nope": {"Nope": 1}, "cannot understand": {"BinaryName": 1}} {
		if _, err := options(&shim.Task{Type: "io.containerd.runc.v2", Options: o}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", o, err)
		}
	}
}
