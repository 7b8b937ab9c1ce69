package proc

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	p, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	boot, err := Boot()
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(boot.Add(p.Started)); age < -2*time.Second || age > time.Hour {
		t.Errorf("started %s ago", age)
	}
	if p.PID != os.Getpid() || p.PPID != os.Getppid() || p.EUID != uint32(os.Geteuid()) || p.RSS == 0 || p.VSize < p.RSS ||
		p.Threads < 2 || !reflect.DeepEqual(p.Command, os.Args) {
		t.Errorf("%+v", p)
	}
	if _, err := Read(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
}

// TestEndsWhileRead: a process that ends when its file is open is not there, either.
func TestEndsWhileRead(t *testing.T) {
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/" + strconv.Itoa(c.Process.Pid) + "/status")
	c.Process.Kill()
	c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := contents(f); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestHeeds(t *testing.T) {
	const status = "Name:\tx\nSigPnd:\tffffffffffffffff\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t8000000000004000\n"
	for sig, want := range map[syscall.Signal]bool{1: true, 2: false, 13: true, 15: true, 16: false, 64: true} {
		if got := heeds(status, sig); got != want {
			t.Errorf("signal %d: %v", sig, got)
		}
	}
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR2)
	defer signal.Stop(caught)
	if yes, err := Heeds(os.Getpid(), syscall.SIGUSR2); !yes || err != nil {
		t.Errorf("what is caught here: %v, %v", yes, err)
	}
	if _, err := Heeds(1<<30, syscall.SIGUSR2); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 42 42 34816 43 4194560 1 0 0 0 150 50 0 0 20 -5 3 0 1000 4096 2 18446744073709551615 1"
	for _, name := range []string{"sh", "a b", ") R 1 (", "((("} {
		var p Process
		if err := p.parseStat([]byte("42 (" + name + ")" + rest)); err != nil {
			t.Fatal(err)
		}
		want := Process{Name: name, State: 'S', PPID: 1, PGID: 42, SID: 42, TTY: 34816, Foreground: 43, CPU: 2 * time.Second,
			Priority: 20, Nice: -5, Threads: 3, Started: 10 * time.Second, VSize: 4096, RSS: 2 * uint64(os.Getpagesize())}
		if !reflect.DeepEqual(p, want) {
			t.Errorf("%+v", p)
		}
	}
	for _, bad := range []string{"", "1", "1 (sh", "1 (sh) S 2 3", "1 )sh( S"} {
		if err := new(Process).parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseMachine(t *testing.T) {
	total, online := parseCPU("cpu  10 20 30 40 0 0 0 900 0 0\ncpu0 1 2 3 4 5 6 7 8\ncpu3 1 2 3 4 5 6 7 8\nintr 1 2\n")
	if total != time.Second || online != 2 {
		t.Errorf("%s on %d processors", total, online)
	}
	got := parseInterfaces("Inter-|   Receive\n face |bytes packets\n    lo:       0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  eth0:12 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n")
	want := []Interface{{Name: "lo"}, {"eth0", 12, 2, 3, 4, 5, 6, 7, 8}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
