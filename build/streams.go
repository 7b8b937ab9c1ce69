package build

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/moby/buildkit/executor"
	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/linux/pidfd"
	"hoy/runtime"
)

// errOOM is what BuildKit takes for a lack of memory.
var errOOM = syscall.ENOMEM

// streams are the standard streams of a process: pipes that this engine holds the other
// ends of, or a terminal. Nobody needs them when the engine is gone.
type streams struct {
	p      executor.ProcessInfo
	theirs [3]*os.File
	ours   [3]*os.File
	copies sync.WaitGroup // of output
}

func newStreams(p executor.ProcessInfo) (_ *streams, err error) {
	s := &streams{p: p}
	if p.Meta.Tty {
		return s, nil
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if p.Stdin != nil {
		if s.theirs[0], s.ours[0], err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	for i := 1; i <= 2; i++ {
		if s.ours[i], s.theirs[i], err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// spawn starts a process with these streams. Its output flows from then on.
func (s *streams) spawn(ctx context.Context, e *stepExecutor, id string, prepared *runtime.Prepared) (*keeper.Process, error) {
	for _, f := range s.theirs {
		if f != nil { // /dev/stdout can be opened by whoever the process is
			if err := f.Chown(prepared.StdioUID, prepared.StdioGID); err != nil {
				return nil, err
			}
		}
	}
	p, err := e.o.Keeper.Spawn(ctx, keeper.SpawnRequest{ID: id, Generation: generation, Plan: prepared.Plan, Tied: true})
	if err != nil {
		return nil, prepared.Explain(err)
	}
	for i, f := range s.theirs {
		f.Close() // on nil it only returns an error
		s.theirs[i] = nil
	}
	if s.p.Meta.Tty {
		fd, err := unix.FcntlInt(prepared.Console.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			pidfd.Signal(p.Pidfd, unix.SIGKILL)
			return nil, os.NewSyscallError("fcntl", err)
		}
		unix.SetNonblock(fd, true)
		s.ours[1] = os.NewFile(uintptr(fd), "console")
	}
	prepared.Close() // the other end of a terminal is in it, and would keep that from ending
	s.flow(1, s.p.Stdout)
	s.flow(2, s.p.Stderr)
	if s.p.Stdin != nil {
		to := s.ours[0]
		if s.p.Meta.Tty {
			to = s.ours[1]
		}
		go func() { // it may wait for its reader for ever: nobody waits for it
			io.Copy(to, s.p.Stdin)
			if !s.p.Meta.Tty {
				to.Close()
			}
		}()
	}
	return p, nil
}

// flow carries output to w until the last one who can write has gone.
func (s *streams) flow(i int, w io.Writer) {
	from := s.ours[i]
	if from == nil {
		return
	}
	if w == nil || w == io.WriteCloser(nil) {
		w = io.Discard
	}
	s.copies.Go(func() { io.Copy(w, from) }) // the end of a terminal is EIO
}

// wait waits for the process's end, passing on signals and sizes, and for its output.
// When ctx ends, kill ends the process.
func (s *streams) wait(ctx context.Context, p *keeper.Process, exit <-chan keeper.Exit, kill func()) keeper.Exit {
	done, signals, sizes := ctx.Done(), s.p.Signal, s.p.Resize
	for {
		select {
		case e := <-exit:
			s.copies.Wait()
			return e
		case <-done:
			done = nil
			pidfd.Signal(p.Pidfd, unix.SIGKILL) // gone already: its exit is on the way
			kill()
		case sig, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			pidfd.Signal(p.Pidfd, sig)
		case size, ok := <-sizes:
			if !ok {
				sizes = nil
				continue
			}
			s.resize(size)
		}
	}
}

func (s *streams) resize(size executor.WinSize) {
	if !s.p.Meta.Tty {
		return
	}
	raw, err := s.ours[1].SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Rows), Col: uint16(size.Cols)})
	})
}

func (s *streams) close() {
	for i := range s.theirs {
		s.theirs[i].Close() // on nil it only returns an error
		s.ours[i].Close()
	}
}

// ack lets the keeper forget an end.
func (e *stepExecutor) ack(p *keeper.Process) {
	if err := e.o.Keeper.Ack(context.Background(), p.ID, p.Generation); err != nil {
		e.o.Log.Warn("cannot acknowledge the end of a build's step", "step", p.ID, "error", err)
	}
}
