package container

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/keeper"
	"hoy/lib/fault"
)

// TestExecIsRememberedFromItsEndOn, however long it has run; one that nobody starts, from its
// creation on.
func TestExecIsRememberedFromItsEndOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "no")
		if err := os.Mkdir(filepath.Join(s.o.ExecRoot, "execs"), 0o700); err != nil {
			t.Fatal(err)
		}
		s.start(t.Context(), s.k)
		create := func() string {
			id, err := s.ExecCreate(t.Context(), "abc", apicontainer.ExecCreateRequest{Cmd: []string{"x"}})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		idle, id := create(), create()
		x, _ := s.index.exec(id)
		if _, err := x.begin(); err != nil {
			t.Fatal(err)
		}
		close(x.begun)
		x.process = &keeper.Process{}
		time.Sleep(execMemory - time.Second)
		s.execExited(x, keeper.Exit{ID: id, Code: 7})
		time.Sleep(execMemory - time.Second)
		if r, err := s.ExecInspect(t.Context(), id); err != nil || *r.ExitCode != 7 || !r.CanRemove {
			t.Errorf("nobody knows how an exec of some minutes has ended: %v", err)
		}
		if _, err := s.ExecInspect(t.Context(), idle); !fault.Is(err, fault.NotFound) {
			t.Errorf("one that nobody has started is there: %v", err)
		}
		time.Sleep(execMemory)
		if _, err := s.ExecInspect(t.Context(), id); !fault.Is(err, fault.NotFound) {
			t.Errorf("it is never forgotten: %v", err)
		}
		if left, _ := os.ReadDir(filepath.Join(s.o.ExecRoot, "execs")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
		s.Close()
	})
}
