package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// OOMKills counts the processes of the group that were killed for lack of memory.
func (g *Group) OOMKills() (uint64, error) {
	r := &reader{g: g}
	n := r.table("memory", g.host.oomFile())["oom_kill"]
	return n, r.err
}

func (h *Host) oomFile() string {
	if h.mode == V2 {
		return "memory.events"
	}
	return "memory.oom_control"
}

// WatchOOM calls changed when a process of the group may have been killed for lack of
// memory: OOMKills knows, on v1 a moment later. Also when there is nothing: on v2 at
// any event of memory.events, on v1 when the group is removed. changed must not block
// and is not called any more once stop has returned.
//
// All groups share one epoll instance and one goroutine. On v2 its descriptors are the
// files themselves (cgroup-v2.rst, "memory.events": POLLPRI), on v1 eventfds that
// cgroup.event_control ties to memory.oom_control (cgroup-v1/memory.rst, section 9).
func (g *Group) WatchOOM(changed func()) (stop func(), err error) {
	v := g.host.find("memory")
	if v == nil {
		return nil, fmt.Errorf("cannot watch cgroup %s: no memory controller", g.path)
	}
	fd, events := -1, uint32(unix.EPOLLPRI)
	if g.host.mode == V2 {
		fd, err = unix.Openat(v.fd(), path.Join(g.rel, g.host.oomFile()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	} else {
		events = unix.EPOLLIN
		fd, err = oomEventfd(v, g.rel)
	}
	if err == nil {
		stop, err = g.host.oom.add(fd, events, changed)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot watch cgroup %s for lack of memory: %w", g.path, err)
	}
	return stop, nil
}

// oomEventfd returns an eventfd that counts the group's out-of-memory events.
func oomEventfd(v *hierarchy, rel string) (int, error) {
	control, err := openAt(v, path.Join(rel, "memory.oom_control"), unix.O_RDONLY)
	if err != nil {
		return -1, err
	}
	defer control.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("eventfd2", err)
	}
	tie := strconv.Itoa(fd) + " " + strconv.Itoa(int(control.Fd()))
	if err := writeFile(v.fd(), path.Join(rel, "cgroup.event_control"), tie); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// oomWatcher waits for the descriptors of all groups that are watched.
type oomWatcher struct {
	mu      sync.Mutex
	epoll   *os.File // nil until the first group, and after close
	watched map[int32]func()
	done    chan struct{} // closed when the goroutine has ended
}

// add takes fd over, also when it fails.
func (w *oomWatcher) add(fd int, events uint32, changed func()) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	read(fd) // v2: what has been so far is no news
	e := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(int(w.epoll.Fd()), unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	w.watched[e.Fd] = changed
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watched, e.Fd)
		unix.Close(fd) // which takes it out of the epoll instance
	}), nil
}

func (w *oomWatcher) open() error {
	if w.epoll != nil {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	// Go's own poller waits for it: the goroutine holds no thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "epoll:oom")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return err
	}
	w.epoll, w.watched, w.done = f, map[int32]func(){}, make(chan struct{})
	go w.run(raw, fd, w.done)
	return nil
}

func (w *oomWatcher) run(raw syscall.RawConn, epoll int, done chan struct{}) {
	defer close(done)
	events := make([]unix.EpollEvent, 16)
	for {
		n := 0
		err := raw.Read(func(uintptr) bool {
			var err error
			n, err = unix.EpollWait(epoll, events, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err != nil {
			return // closed
		}
		w.tell(events[:max(n, 0)])
	}
}

func (w *oomWatcher) tell(events []unix.EpollEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if changed := w.watched[e.Fd]; changed != nil {
			read(int(e.Fd)) // or it would be ready again at once
			changed()
		}
	}
}

// read takes note of what a descriptor has to say: an eventfd's count, or what of
// memory.events has changed.
func read(fd int) {
	var buf [512]byte
	if _, err := unix.Pread(fd, buf[:], 0); errors.Is(err, unix.ESPIPE) {
		unix.Read(fd, buf[:8])
	}
}

func (w *oomWatcher) close() {
	w.mu.Lock()
	epoll, done := w.epoll, w.done
	w.epoll = nil
	w.mu.Unlock()
	if epoll != nil {
		epoll.Close()
		<-done
	}
}
