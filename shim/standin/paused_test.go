package standin

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/api/runtime/task/v3"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"

	"hoy/shim"
)

// stateful is a shim that knows nothing but a state.
type stateful struct {
	task.TTRPCTaskService
	status tasktypes.Status
}

func (s *stateful) State(context.Context, *task.StateRequest) (*task.StateResponse, error) {
	return &task.StateResponse{Status: s.status}, nil
}

// TestPaused: the shim is asked, since not every runtime pauses by the cgroup.
func TestPaused(t *testing.T) {
	b := shim.Bundle(filepath.Join(t.TempDir(), "b"))
	if err := b.Make(&shim.Task{ID: "c"}, nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", b.Path("s"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	s := &stateful{}
	task.RegisterTTRPCTaskService(server, s)
	go server.Serve(t.Context(), l)
	defer server.Close()
	if err := b.Write("shim.json", shim.Address{Address: "unix://" + b.Path("s"), Version: 3}); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[tasktypes.Status]int{tasktypes.Status_PAUSED: 0, tasktypes.Status_RUNNING: shim.CodeRuns, tasktypes.Status_STOPPED: shim.CodeRuns} {
		s.status = status
		if code := Main([]string{"paused", string(b)}); code != want {
			t.Errorf("%s: code %d, want %d", status, code, want)
		}
	}
	os.Remove(b.Path("shim.json"))
	if code := Main([]string{"paused", string(b)}); code != shim.CodeGone {
		t.Errorf("gone: code %d", code)
	}
}
