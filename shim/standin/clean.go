package standin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"

	"hoy/shim"
)

// clean ends a container and its shim, in whatever state they are: by the shim, if it
// answers, else without it, by what its program can do for one that is dead.
func clean(b shim.Bundle) error {
	if !b.Has("shim.json") {
		return nil
	}
	var t shim.Task
	var a shim.Address
	if err := b.Read("task.json", &t); err != nil {
		return err
	}
	b.Read("shim.json", &a)
	orderly := a.Address != "" && endByShim(&t, a)
	var err error
	if !orderly || left(b) {
		for _, p := range inside(b) {
			unix.Kill(p, unix.SIGKILL)
		}
		ctx, cancel := context.WithTimeout(context.Background(), settling)
		err = endDead(ctx, b, &t)
		cancel()
	}
	if path, found := strings.CutPrefix(a.Address, "unix://"); found {
		os.Remove(path)
	}
	if err == nil {
		os.Remove(b.Path("shim.json"))
	}
	return err
}

// endByShim kills the container and lets the shim end.
func endByShim(t *shim.Task, a shim.Address) bool {
	c, err := dial(t.ID, a)
	if err != nil {
		return false
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(context.Background(), settling/2)
	defer cancel()
	c.call(ctx, "Resume", &task.ResumeRequest{ID: t.ID}, nil) // one that is paused does not die
	c.call(ctx, "Kill", &task.KillRequest{ID: t.ID, Signal: uint32(unix.SIGKILL), All: true}, nil)
	c.call(ctx, "Wait", &task.WaitRequest{ID: t.ID}, nil)
	if err := c.call(ctx, "Delete", &task.DeleteRequest{ID: t.ID}, nil); err != nil && !isGone(err) {
		return false
	}
	c.call(ctx, "Shutdown", &task.ShutdownRequest{ID: t.ID}, nil)
	select {
	case <-c.closed:
		return true
	case <-ctx.Done():
		return false
	}
}

// endDead has the shim's program remove what a dead shim has left. One that hangs must not
// keep the stand-in: its end is the container's.
func endDead(ctx context.Context, b shim.Bundle, t *shim.Task) error {
	c := command(ctx, b, t, "", "-bundle", string(b), "delete")
	c.Cancel = func() error { return unix.Kill(-c.Process.Pid, unix.SIGKILL) } // with what it has started
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s delete: %s: %w", filepath.Base(t.Program), strings.TrimSpace(string(out)), err)
	}
	return nil
}

// left tells whether something of the shim is still there, after a moment.
func left(b shim.Bundle) bool {
	for deadline := time.Now().Add(time.Second); len(inside(b)) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return true
		}
	}
	return false
}

// inside lists the processes whose working directory is the bundle, which are the shim's:
// this is how one is found that was killed before it could say where it answers. A
// stand-in is none of them.
func inside(b shim.Bundle) (pids []int) {
	self, _ := os.Readlink("/proc/self/exe")
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink("/proc/" + e.Name() + "/cwd")
		if err != nil || cwd != string(b) {
			continue
		}
		if exe, _ := os.Readlink("/proc/" + e.Name() + "/exe"); exe != self {
			pids = append(pids, pid)
		}
	}
	return pids
}
