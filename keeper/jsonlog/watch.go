package jsonlog

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher tells followers that something happened in a directory, by one inotify
// instance for all of the process: a user may have 128 (fs.inotify.max_user_instances in
// inotify(7)), and logs have more followers than that.
//
// It tells once for each arm (IN_ONESHOT): while all who follow a busy log rest, nobody
// is woken, this goroutine neither.
type watcher struct {
	mu   sync.Mutex
	file *os.File // nil: none yet, or none to be had
	dirs map[string]*watched
	told map[int32]*watched // those that the kernel watches, by its descriptors
}

// watched is a directory.
type watched struct {
	path  string
	wd    int32 // the kernel's descriptor; 0: it does not watch
	woken map[chan struct{}]bool
}

var watches = watcher{dirs: map[string]*watched{}, told: map[int32]*watched{}}

// watch is one follower's.
type watch struct {
	w     *watcher
	d     *watched
	woken chan struct{}
}

// follow returns a watch for a directory, which is to be armed.
func (w *watcher) follow(dir string) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dirs[dir]
	if d == nil {
		d = &watched{path: dir, woken: map[chan struct{}]bool{}}
		w.dirs[dir] = d
	}
	h := &watch{w, d, make(chan struct{}, 1)}
	d.woken[h.woken] = true
	return h
}

// arm has woken get a value when something happens from now on. Where that cannot be had
// it gets none.
func (h *watch) arm() {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.d.wd != 0 || !w.open() {
		return
	}
	wd, err := w.add(h.d.path)
	if err != nil {
		return
	}
	h.d.wd = int32(wd)
	w.told[h.d.wd] = h.d
}

func (h *watch) stop() {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(h.d.woken, h.woken)
	if len(h.d.woken) > 0 {
		return
	}
	delete(w.dirs, h.d.path)
	if h.d.wd != 0 {
		delete(w.told, h.d.wd)
		w.control(func(fd int) error { _, err := unix.InotifyRmWatch(fd, uint32(h.d.wd)); return err })
	}
}

// open makes the instance, which stays.
func (w *watcher) open() bool {
	if w.file == nil {
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			return false
		}
		w.file = os.NewFile(uintptr(fd), "inotify")
		go w.read(w.file)
	}
	return true
}

func (w *watcher) add(dir string) (wd int, err error) {
	err = w.control(func(fd int) error {
		wd, err = unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONESHOT)
		return err
	})
	return wd, err
}

func (w *watcher) control(f func(fd int) error) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// read wakes whom the kernel's notices are for.
func (w *watcher) read(f *os.File) {
	buf := make([]byte, 16<<10)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			w.wake(int32(binary.NativeEndian.Uint32(b)))
			b = b[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(b[12:]):] // wd, mask, cookie, length of the name
		}
	}
}

func (w *watcher) wake(wd int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if wd == -1 { // notices were lost: anybody's
		for wd := range w.told {
			w.tell(wd)
		}
	}
	w.tell(wd)
}

func (w *watcher) tell(wd int32) {
	d := w.told[wd]
	if d == nil { // the kernel's farewell to a watch
		return
	}
	d.wd = 0
	delete(w.told, wd)
	for woken := range d.woken {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
}
