package hostfw

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/nft"
)

// watched are the directories whose files are the configurations.
var watched = []string{"/etc/ufw", "/etc/default", "/etc/firewalld", "/etc/firewalld/zones", "/etc/firewalld/services", "/etc/firewalld/ipsets", "/etc/firewalld/policies"}

// pause is how long changes are collected: tools write several files for one command.
const pause = 50 * time.Millisecond

// Follow calls changed with the present state, and again whenever it has become another
// one: as configurations are written, and as firewalls come, go and load their rules
// anew. After the latter Pass must be called again, so changed is called for those too.
// It returns when ctx ends.
func (h Host) Follow(ctx context.Context, changed func(State)) error {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot follow the host's firewall: inotify: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	watch := func() {
		for _, d := range watched { // one that is not there yet may be at the next change
			unix.InotifyAddWatch(fd, h.path(d), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_DELETE|unix.IN_CREATE)
		}
	}
	watch()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	files, tables := make(chan struct{}, 1), make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() { ended <- nft.WatchRules(ctx, func() { poke(tables) }, firewalldTable, "filter") }()
	defer func() { stop(); <-ended }()
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 16<<10)
		for {
			if _, err := f.Read(b); err != nil {
				return
			}
			poke(files)
		}
	}()
	defer func() { f.Close(); <-read }()
	var last *State
	for {
		loaded := false
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			ended <- err
			return err
		case <-tables:
			loaded = true
		case <-files:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		watch()
		s := h.Read()
		if loaded || last == nil || !reflect.DeepEqual(*last, s) {
			changed(s)
		}
		last = &s
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
