package container

import (
	"context"
	"os"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/lib/fault"
	"hoy/linux/pidfd"
)

// ExecInspect describes an exec. A client asks when its stream has ended, which may
// be before the exit has come here: then this waits for it, a moment only.
func (c *Containers) ExecInspect(ctx context.Context, id string) (*apicontainer.ExecInspectResponse, error) {
	x, err := c.index.exec(id)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	begun := x.begun
	x.mu.Unlock()
	if begun != nil {
		select { // the stream of a short one ends while its start is under way
		case <-begun:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	x.mu.Lock()
	p := x.process
	x.mu.Unlock()
	if p != nil && pidfd.Dead(p.Pidfd) {
		ended(&process{done: x.done}, patience/5)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	r := &apicontainer.ExecInspectResponse{
		ID: x.id, ContainerID: x.container.id, Running: x.process != nil, ExitCode: x.code,
		OpenStdin: x.config.AttachStdin, OpenStdout: x.config.AttachStdout, OpenStderr: x.config.AttachStderr,
		DetachKeys: append([]byte{}, x.keys...), // "" rather than null
		CanRemove:  x.code != nil,
		ProcessConfig: &apicontainer.ExecProcessConfig{
			Tty: x.config.Tty, Entrypoint: x.config.Cmd[0], Arguments: x.config.Cmd[1:], Privileged: &x.config.Privileged, User: x.config.User,
		},
	}
	if x.process != nil {
		r.Pid = x.process.Pid
	}
	return r, nil
}

// ExecResize sets the size of an exec's terminal.
func (c *Containers) ExecResize(ctx context.Context, id string, rows, cols uint16) error {
	x, err := c.index.exec(id)
	if err != nil {
		return err
	}
	x.mu.Lock()
	runs := x.process != nil
	x.mu.Unlock()
	if !runs {
		return fault.New(fault.Conflict, "exec %s is not running", id)
	}
	if !x.config.Tty {
		return nil
	}
	return c.o.Keeper.Resize(ctx, id, rows, cols)
}

// forgetIdle forgets an exec that nobody has started, and never will. One that was started
// is remembered for as long from its end on.
func (c *Containers) forgetIdle(x *exec) {
	x.mu.Lock()
	idle := !x.started
	x.started = true
	x.mu.Unlock()
	if idle {
		c.forgetExec(x)
	}
}

// forgetExec forgets an exec that does not run.
func (c *Containers) forgetExec(x *exec) {
	c.index.removeExec(x.id)
	os.Remove(c.execPath(x.id))
}

// endLocked notes the end of an exec. The lock of mu is held.
func (c *Containers) endLocked(x *exec, code int) {
	x.process, x.code = nil, &code
	close(x.done)
	if !x.probe {
		time.AfterFunc(execMemory, func() { c.forgetExec(x) })
	}
}
