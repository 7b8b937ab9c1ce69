package standin

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"time"

	"github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"

	"hoy/shim"
)

// killed is the exit code of a container whose shim has died.
const killed = 128 + int(unix.SIGKILL)

// settling is how long a shim may take for what it does at the end.
const settling = 10 * time.Second

// run starts a container and stands for it until it ends.
func run(b shim.Bundle) int {
	keepReport()
	c, err := begin(b)
	if err != nil {
		clean(b) // or the engine does, which can say why it fails
		report(shim.Report{Error: words(err)})
		return 1
	}
	if report(shim.Report{Pid: c.pid}) != nil {
		// Nobody has learned of the start: the engine has died, and the next one will
		// not know of it.
		clean(b)
		return killed
	}
	return c.stand()
}

// standin is what stands for a process.
type standin struct {
	*client
	bundle  shim.Bundle
	exec    string // id; "": the container's first process
	pid     int
	streams *streams
	exited  chan *task.WaitResponse // closed without a value: the shim has died
	signals chan os.Signal
}

// keepReport keeps the report's descriptor from the shim, which may hold what it is given
// for as long as it runs: the engine waits for the last end of that pipe to be closed.
func keepReport() { unix.CloseOnExec(shim.ReportFD) }

// report says how the start went. It can be done once.
func report(r shim.Report) error {
	f := os.NewFile(shim.ReportFD, "report")
	defer f.Close()
	data, err := json.Marshal(r)
	if err == nil {
		_, err = f.Write(data)
	}
	return err
}

// begin starts the shim, and by it the container.
func begin(b shim.Bundle) (*standin, error) {
	var t shim.Task
	if err := b.Read("task.json", &t); err != nil {
		return nil, err
	}
	opts, err := options(&t)
	if err != nil {
		return nil, err
	}
	s := &standin{bundle: b}
	if s.client, err = connect(b, &t, opts); err != nil {
		return nil, err
	}
	if s.streams, err = openStreams(b, "", t.Terminal, t.Stdin); err != nil {
		return nil, err
	}
	var created task.CreateTaskResponse
	err = s.call(context.Background(), "Create", &task.CreateTaskRequest{
		ID: t.ID, Bundle: string(b), Terminal: t.Terminal, Stdin: s.streams.in, Stdout: s.streams.out, Stderr: s.streams.err, Options: opts,
	}, &created)
	if err != nil {
		return nil, errors.New("failed to create shim task: " + words(err))
	}
	s.pid = int(created.Pid)
	return s, s.start()
}

// connect starts the shim and connects to it.
func connect(b shim.Bundle, t *shim.Task, options *anypb.Any) (*client, error) {
	if err := os.Chdir(string(b)); err != nil {
		return nil, err
	}
	events, err := listen(b)
	if err != nil {
		return nil, err
	}
	if err := b.Write("shim.json", shim.Address{}); err != nil {
		return nil, err
	}
	a, err := launch(b, t, options, events)
	if err != nil {
		return nil, err
	}
	if err := b.Write("shim.json", a); err != nil {
		return nil, err
	}
	return dial(t.ID, a)
}

// execute starts a further process in a container and stands for it until it ends.
func execute(b shim.Bundle, id string) int {
	keepReport()
	s, err := beginExec(b, id)
	if err != nil {
		said := words(err)
		os.Stdout.WriteString(said + "\r\n") // for whoever is attached, as docker has it
		report(shim.Report{Error: said})
		return min(shim.ExitCode(said), 127)
	}
	if report(shim.Report{Pid: s.pid}) != nil {
		s.call(context.Background(), "Kill", &task.KillRequest{ID: s.id, ExecID: id, Signal: uint32(unix.SIGKILL)}, nil)
	}
	return s.stand()
}

func beginExec(b shim.Bundle, id string) (*standin, error) {
	name := shim.ExecFile(id)
	var p shim.Process
	if err := b.Read(name, &p); err != nil {
		return nil, err
	}
	os.Remove(b.Path(name))
	s := &standin{bundle: b, exec: id}
	var err error
	if s.client, err = reach(b); err != nil {
		return nil, err
	}
	if s.streams, err = openStreams(b, id+".", p.Terminal, p.Stdin); err != nil {
		return nil, err
	}
	spec, err := json.Marshal(p.Spec)
	if err != nil {
		return nil, err
	}
	err = s.call(context.Background(), "Exec", &task.ExecProcessRequest{
		ID: s.id, ExecID: id, Terminal: p.Terminal, Stdin: s.streams.in, Stdout: s.streams.out, Stderr: s.streams.err,
		Spec: &anypb.Any{TypeUrl: processType, Value: spec},
	}, nil)
	if err != nil {
		s.streams.remove()
		return nil, err
	}
	if err := s.start(); err != nil {
		s.call(context.Background(), "Delete", &task.DeleteRequest{ID: s.id, ExecID: id}, nil)
		s.streams.remove()
		return nil, err
	}
	return s, nil
}

// start starts what was created. Its end is waited for from before that on.
func (s *standin) start() error {
	s.signals = make(chan os.Signal, 16)
	signal.Notify(s.signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGWINCH)
	s.exited = make(chan *task.WaitResponse, 1)
	go func() {
		defer close(s.exited)
		var r task.WaitResponse
		if err := s.call(context.Background(), "Wait", &task.WaitRequest{ID: s.id, ExecID: s.exec}, &r); err == nil {
			s.exited <- &r
		}
	}()
	var started task.StartResponse
	if err := s.call(context.Background(), "Start", &task.StartRequest{ID: s.id, ExecID: s.exec}, &started); err != nil {
		return err
	}
	if started.Pid != 0 {
		s.pid = int(started.Pid)
	}
	s.streams.carry(func() {
		s.call(context.Background(), "CloseIO", &task.CloseIORequest{ID: s.id, ExecID: s.exec, Stdin: true}, nil)
	})
	if s.streams.terminal {
		s.resize()
	}
	return nil
}

// stand waits for the end, and passes on what comes meanwhile: signals of others than the
// engine, such as the machine's when it goes down, and the terminal's size.
func (s *standin) stand() int {
	for {
		select {
		case r, ok := <-s.exited:
			if !ok {
				return s.deserted()
			}
			return s.end(int(r.ExitStatus))
		case n := <-s.signals:
			if n == unix.SIGWINCH {
				s.resize()
				continue
			}
			go s.call(context.Background(), "Kill", &task.KillRequest{ID: s.id, ExecID: s.exec, Signal: uint32(n.(unix.Signal))}, nil)
		}
	}
}

func (s *standin) resize() {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || !s.streams.terminal || size.Row == 0 && size.Col == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settling)
	defer cancel()
	s.call(ctx, "ResizePty", &task.ResizePtyRequest{ID: s.id, ExecID: s.exec, Width: uint32(size.Col), Height: uint32(size.Row)}, nil)
}

// end lets the shim forget the process, and end itself with the container's first one.
// The shim has written all output by the time it answers.
func (s *standin) end(code int) int {
	ctx, cancel := context.WithTimeout(context.Background(), settling)
	defer cancel()
	err := s.call(ctx, "Delete", &task.DeleteRequest{ID: s.id, ExecID: s.exec}, nil)
	s.streams.finish()
	if s.exec != "" {
		s.streams.remove()
		return code
	}
	if err == nil {
		s.shutdown(ctx)
	}
	if err != nil || left(s.bundle) {
		clean(s.bundle)
	}
	os.Remove(s.bundle.Path("shim.json"))
	return code
}

// shutdown ends the shim, and returns when it has.
func (s *standin) shutdown(ctx context.Context) {
	s.call(ctx, "Shutdown", &task.ShutdownRequest{ID: s.id}, nil)
	select {
	case <-s.closed:
	case <-ctx.Done():
	}
}

// deserted is the end of a process whose shim has died.
func (s *standin) deserted() int {
	s.streams.finish()
	if s.exec == "" {
		clean(s.bundle)
	}
	return killed
}
