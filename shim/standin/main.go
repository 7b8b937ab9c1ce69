// Package standin is the program that stands for a container's first process, or an
// exec's, where the engine's keeper expects that process: it has the standard streams,
// ends when it ends, with its code, and in between speaks the shim protocol (package
// shim).
//
//	keeper ── hoy-shim run ───┬─ starts ── containerd-shim-NAME-vN ── the container
//	   |       (mount and     |                     |
//	   |        streams)      └── ttrpc: task API ──┘
//	   └───── hoy-shim exec ─────────── ttrpc ──────┘
//	engine ── hoy-shim kill, pause … ── ttrpc ──────┘
//
// It has a mount namespace of its own, in which the shim is started too: the root file
// system is mounted there, and goes with the last of both, whatever becomes of them.
package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/containerd/containerd/api/runtime/task/v3"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/anypb"

	"hoy/shim"
)

const usage = "usage: hoy-shim run|pause|paused|resume|update|clean BUNDLE, hoy-shim exec BUNDLE ID, hoy-shim kill BUNDLE SIGNAL [ID]"

// Main runs a command and returns the exit code: of run and exec that of the process.
func Main(args []string) int {
	for _, a := range args {
		if a == "publish" { // by a shim, which tells of an event: the others come by ttrpc
			io.Copy(io.Discard, os.Stdin)
			return 0
		}
	}
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		return 2
	}
	bundle, rest := shim.Bundle(args[1]), args[2:]
	switch {
	case args[0] == "run" && len(rest) == 0:
		return run(bundle)
	case args[0] == "exec" && len(rest) == 1:
		return execute(bundle, rest[0])
	case args[0] == "clean" && len(rest) == 0:
		return exitCode(clean(bundle))
	}
	err := withTask(bundle, func(ctx context.Context, t *client) error { return t.command(ctx, args[0], rest) })
	return exitCode(err)
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case isGone(err):
		return shim.CodeGone
	case errors.Is(err, errRuns):
		return shim.CodeRuns
	}
	fmt.Fprintln(os.Stderr, words(err))
	if isRefusal(err) {
		return shim.CodeRefused
	}
	return 1
}

// withTask connects to the shim of a bundle. A shim that ends before it has answered has no
// container any more: a signal was the container's end, or it was killed itself.
func withTask(b shim.Bundle, f func(ctx context.Context, t *client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	t, err := reach(b)
	if err != nil {
		return err
	}
	defer t.close()
	if err = f(ctx, t); errors.Is(err, ttrpc.ErrClosed) {
		return errGone
	}
	return err
}

// command does one of the things that are a call.
func (t *client) command(ctx context.Context, name string, args []string) error {
	switch {
	case name == "pause" && len(args) == 0:
		return t.call(ctx, "Pause", &task.PauseRequest{ID: t.id}, nil)
	case name == "paused" && len(args) == 0:
		var s task.StateResponse
		if err := t.call(ctx, "State", &task.StateRequest{ID: t.id}, &s); err != nil {
			return err
		}
		if s.Status != tasktypes.Status_PAUSED && s.Status != tasktypes.Status_PAUSING {
			return errRuns
		}
		return nil
	case name == "resume" && len(args) == 0:
		return t.call(ctx, "Resume", &task.ResumeRequest{ID: t.id}, nil)
	case name == "update" && len(args) == 0:
		limits, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		return t.call(ctx, "Update", &task.UpdateTaskRequest{ID: t.id, Resources: &anypb.Any{TypeUrl: resourcesType, Value: limits}}, nil)
	case name == "kill" && (len(args) == 1 || len(args) == 2):
		number, err := strconv.ParseUint(args[0], 10, 32)
		if err != nil {
			return err
		}
		r := &task.KillRequest{ID: t.id, Signal: uint32(number)}
		if len(args) == 2 {
			r.ExecID = args[1]
		}
		return t.call(ctx, "Kill", r, nil)
	}
	return errors.New(usage)
}

var errRuns = errors.New("the container is not paused")

// Types of what the task API carries as JSON, as containerd registers them.
const (
	specType      = "types.containerd.io/opencontainers/runtime-spec/1/"
	resourcesType = specType + "LinuxResources"
	processType   = specType + "Process"
)
