package keeper

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/keeper/jsonlog"
)

// FuzzState reads arbitrary state files and exit records, of a keeper that was killed
// or of a disk that lost something: each is a process with a harmless id, or goes.
func FuzzState(f *testing.F) {
	f.Fuzz(func(t *testing.T, content []byte) {
		root := t.TempDir()
		if err := makeDirs(root); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"keeper", "exits"} {
			if err := os.WriteFile(filepath.Join(root, dir, "c.json"), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		states, err := loadStates(root)
		if err != nil {
			t.Fatal(err)
		}
		exits, err := loadExits(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			if s.ID != "c" || string(s.head()) == "" {
				t.Errorf("%+v", s)
			}
		}
		for _, e := range exits {
			if e.ID != "c" {
				t.Errorf("%+v", e)
			}
		}
		for dir, n := range map[string]int{"keeper": len(states), "exits": len(exits)} {
			if es, _ := os.ReadDir(filepath.Join(root, dir)); len(es) != n {
				t.Errorf("%s: %d files for %d records", dir, len(es), n)
			}
		}
	})
}

// FuzzBequest reads what an earlier program left in the form of arbitrary bytes.
func FuzzBequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, j []byte) {
		b, err := parseBequest(j)
		if err != nil {
			return
		}
		seen := map[int]bool{}
		for _, fd := range b.descriptors() {
			if fd >= 0 && (fd <= readyFD || seen[fd]) {
				t.Errorf("descriptor %d: %+v", fd, b)
			}
			seen[fd] = true
		}
	})
}

// FuzzJournal settles arbitrary journals with a log and with a FIFO that holds a line.
func FuzzJournal(f *testing.F) {
	f.Fuzz(func(t *testing.T, page []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal"), page[:min(len(page), consoleSize)], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(filepath.Join(dir, "journal"), consoleSize)
		if err != nil {
			t.Fatal(err)
		}
		defer j.close()
		w, err := jsonlog.Append(jsonlog.Config{Path: filepath.Join(dir, "log")})
		if err != nil {
			t.Fatal(err)
		}
		l := &logger{w: w, id: "c"}
		defer w.Close()
		fifo, err := makeFIFO(filepath.Join(dir, "1"))
		if err != nil {
			t.Fatal(err)
		}
		defer fifo.Close()
		if _, err := fifo.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
		p := newProcess(&server{root: dir}, config{ID: "c"})
		p.log, p.journal = l, j
		st, err := newStream(p, 1, fifo)
		if err != nil {
			t.Fatal(err)
		}
		st.recover()
		if st.entry.phase.Load() != journalIdle {
			t.Errorf("phase %d", st.entry.phase.Load())
		}
		if st.seen < 0 || st.seen > st.waiting() {
			t.Errorf("seen %d of %d", st.seen, st.waiting())
		}
		c := j.console()
		c.recoverRead()
		if c.used() > consoleHalf {
			t.Errorf("%d bytes in a half", c.used())
		}
	})
}

// FuzzDelivery goes on with arbitrary journals of clients.
func FuzzDelivery(f *testing.F) {
	f.Fuzz(func(t *testing.T, head []byte) {
		path := filepath.Join(t.TempDir(), "clients")
		if err := os.WriteFile(path, head[:min(len(head), deliverySize)], 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := openDelivery(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.close()
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(pair[1:])
		sock, err := fileOfSocket(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		defer sock.Close()
		p := newProcess(&server{}, config{ID: "c"})
		v, err := newViewer(p, sock, attachBody{Client: 1, Stdout: true, Stderr: true, Mux: true})
		if err != nil {
			t.Fatal(err)
		}
		v.mark, _ = d.take(1)
		v.cut()
		v.hurry()
		for stream := range 2 {
			if frame, number := d.last(stream); number != 0 && len(frame) > frameHead {
				v.write(stream+1, frame, number)
			}
		}
		d.keepOnly(nil)
	})
}
