package container

import (
	"context"
	"io"
	"net"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/keeper"
	"hoy/linux/pidfd"
)

// probe runs the command of a health check once, as an exec that nobody can see when
// it has ended. nil: there is no result, because the container or the engine ends, or
// was paused.
func (c *Containers) probe(k *Container, p *process, check *checkup) *apicontainer.HealthcheckResult {
	r := &apicontainer.HealthcheckResult{Start: time.Now(), ExitCode: neverProbed}
	output, x, err := c.startProbe(k, p, check)
	if err != nil {
		r.End, r.Output = time.Now(), err.Error()
		return c.ifAlive(p, r)
	}
	defer output.close()
	t := time.NewTimer(check.timeout)
	defer t.Stop()
	select {
	case <-x.done:
		r.ExitCode, r.Output = *x.code, shortened(output.read())
	case <-t.C:
		paused := k.rec().isPaused()
		x.kill()
		if paused {
			return nil // it dies when it is thawed
		}
		ended(&process{done: x.done}, patience) // so that dying probes do not pile up
		r.Output = check.tooSlow(shortened(output.read()))
	case <-p.done:
		return nil
	case <-c.closing:
		x.kill()
		return nil
	}
	r.End = time.Now()
	return c.ifAlive(p, r)
}

// ifAlive forgets the result of a probe whose container has died under it.
func (c *Containers) ifAlive(p *process, r *apicontainer.HealthcheckResult) *apicontainer.HealthcheckResult {
	if pidfd.Signal(p.Pidfd, 0) != nil {
		return nil
	}
	return r
}

// startProbe starts a probe's process.
func (c *Containers) startProbe(k *Container, p *process, check *checkup) (*probeOutput, *exec, error) {
	x := &exec{id: newID(), container: k, generation: p.Generation, started: true, probe: true, done: make(chan struct{})}
	x.config = apicontainer.ExecCreateRequest{Cmd: check.command, AttachStdout: true, AttachStderr: true}
	near, far, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	c.index.addExec(x)
	c.event(k, events.Action("exec_create: "+strings.Join(check.command, " ")), "execID", x.id)
	err = c.execStart(context.Background(), x, p, ExecStartOptions{}, []keeper.Attachment{{Conn: far, Stdout: true, Stderr: true}})
	if err != nil {
		near.Close()
		far.Close()
		c.index.removeExec(x.id)
		return nil, nil, err
	}
	return readProbe(near), x, nil
}

// kill ends the exec's process, if it runs.
func (x *exec) kill() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.process == nil:
	case x.task != nil:
		x.task.killExec(x.id)
	default:
		kill(x.process.Pidfd)
	}
}

// probeOutput keeps the beginning of what a probe prints.
type probeOutput struct {
	conn net.Conn
	kept []byte
	done chan struct{} // closed when nothing more comes
}

func readProbe(conn net.Conn) *probeOutput {
	o := &probeOutput{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.kept, _ = io.ReadAll(io.LimitReader(conn, healthOutput+1))
		io.Copy(io.Discard, conn)
	}()
	return o
}

// read returns what has come. The keeper closes its side when the process has ended;
// until then this waits a moment only.
func (o *probeOutput) read() []byte {
	o.conn.SetReadDeadline(time.Now().Add(time.Second))
	<-o.done
	return o.kept
}

func (o *probeOutput) close() { o.conn.Close() }
