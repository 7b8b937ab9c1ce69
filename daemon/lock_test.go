package daemon

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hoy/lib/fault"
)

func TestRootsHaveOneEngine(t *testing.T) {
	o := Options{DataRoot: filepath.Join(t.TempDir(), "d"), ExecRoot: filepath.Join(t.TempDir(), "e")}
	unlock, err := lockRoots(&o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockRoots(&Options{DataRoot: o.DataRoot, ExecRoot: t.TempDir()}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("the data root: %v", err)
	}
	if _, err := lockRoots(&Options{DataRoot: t.TempDir(), ExecRoot: o.ExecRoot}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the exec root: %v", err)
	}
	unlock()
	again, err := lockRoots(&o)
	if err != nil {
		t.Fatalf("after the end of the first: %v", err)
	}
	again()
}

func TestForeignDataRootIsRefused(t *testing.T) {
	root := t.TempDir()
	o := Options{DataRoot: root, ExecRoot: t.TempDir()}
	for _, name := range []string{"lost+found", "containers"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
		unlock, err := lockRoots(&o)
		if name == "containers" {
			if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "containers") {
				t.Errorf("a data root of another program: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("an empty file system: %v", err)
		}
		unlock()
		os.Remove(filepath.Join(root, lockName)) // as if it had never been ours
	}
}

func TestPidfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "pid")
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	// Of an engine that has ended, of a program that is no engine, of nobody.
	for _, old := range []string{"", strconv.Itoa(dead.Process.Pid), "1", "x", "-1"} {
		if old != "" {
			os.WriteFile(path, []byte(old), 0o644)
		}
		if err := writePidfile(path); err != nil {
			t.Errorf("%q: %v", old, err)
		}
		if b, _ := os.ReadFile(path); string(b) != strconv.Itoa(os.Getpid()) {
			t.Errorf("%q: %q", old, b)
		}
	}
}

func TestSplitHost(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///a/b": "unix /a/b", "/a": "unix /a", "unix://": "unix /var/run/docker.sock", "tcp://1.2.3.4:5": "tcp 1.2.3.4:5",
		"tcp://:5/": "tcp :5", "1.2.3.4:5": "tcp 1.2.3.4:5", "fd://": "fd ", "fd://x": "fd x", "[::1]:5": "tcp [::1]:5",
		"tcp://": "tcp localhost:2375", "tcp://x": "tcp x:2375", "tcp://[::1]": "tcp [::1]:2375", "tcp://x:": "tcp x:2375",
		"unix://x": "", "npipe:////x": "", "": "",
	} {
		scheme, rest, err := (&Options{}).splitHost(host)
		if got := scheme + " " + rest; (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: %q, %v", host, got, err)
		}
	}
}

func TestListenUnix(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, which gives the socket its group: run it by 'make test'")
	}
	path := filepath.Join(t.TempDir(), "sub", "s.sock")
	l, err := listenUnix(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o660 {
		t.Error(fi.Mode())
	}
	if _, err := listenUnix(path, ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("somebody listens there: %v", err)
	}
	// A socket that an engine left when it was killed is replaced.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = listenUnix(path, "root")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := listenUnix(path, "no-such-group"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

// TestListenLeavesUmask: containers that are being started meanwhile get their files as ever.
func TestListenLeavesUmask(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, which gives the socket its group: run it by 'make test'")
	}
	dir := t.TempDir()
	done, made := make(chan struct{}), make(chan fs.FileMode, 1)
	go func() {
		narrowest := fs.FileMode(0o777)
		for {
			select {
			case <-done:
				made <- narrowest
				return
			default:
			}
			if f, err := os.Create(filepath.Join(dir, "f")); err == nil {
				if fi, err := f.Stat(); err == nil {
					narrowest &= fi.Mode()
				}
				f.Close()
				os.Remove(f.Name())
			}
		}
	}()
	for range 300 {
		l, err := listenUnix(filepath.Join(dir, "s"), "root")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	close(done)
	if got := <-made; got&0o044 != 0o044 {
		t.Errorf("a file was made with the mode %v", got)
	}
}

// A host that is named twice, by a flag and by a file as it were, is one.
func TestHostsAreOpenedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := (&Options{Hosts: []string{"unix://" + path, path}}).listen()
	if err != nil || len(l) != 1 {
		t.Errorf("%d listeners, %v", len(l), err)
	}
	for _, one := range l {
		one.Close()
	}
}
