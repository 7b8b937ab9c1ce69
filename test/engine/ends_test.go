package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// TestStopDuringExec stops a container in which execs run, attached and not.
func TestStopDuringExec(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do usleep 10000; done")
	e.Hoy("exec", "-d", "con", "sleep", "1000")
	c := e.Command("exec", "con", "sh", "-c", "touch /begun; exec sleep 1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	e.Eventually("the exec", func() bool { return e.Try("exec", "con", "test", "-e", "/begun").Code == 0 })
	e.Hoy("stop", "-t", "2", "con")
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 137 {
		t.Errorf("the attached exec ended with %d, want 137", code)
	}
	e.Hoy("rm", "con")
	e.nothingLeft()
}

// TestSignalBeforeHandler signals and stops programs that take a while to say what they
// do with a signal, as soon as they are started.
func TestSignalBeforeHandler(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for _, by := range [][]string{{"stop", "-t", "60", "con"}, {"kill", "-s", "TERM", "con"}} {
		e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "usleep 100000; trap 'exit 7' TERM; while :; do usleep 10000; done")
		e.Hoy(by...)
		e.Eventually("its own end", func() bool {
			return e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "con") == "exited 7"
		})
		e.Hoy("rm", "con")
	}
	e.nothingLeft()
}

// TestKillWhatIgnoresSignals ends an init that ignores every signal it can.
func TestKillWhatIgnoresSignals(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for _, by := range [][]string{{"kill", "con"}, {"stop", "-t", "0", "con"}, {"stop", "-t", "1", "con"}, {"rm", "-f", "con"}} {
		e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "trap '' HUP INT QUIT TERM USR1; echo ready; while :; do usleep 10000; done")
		e.Eventually("the trap", func() bool { return strings.Contains(e.Try("logs", "con").Stdout, "ready") })
		for _, s := range []string{"HUP", "INT", "TERM", "USR1"} {
			e.Hoy("kill", "-s", s, "con")
		}
		if s := e.Hoy("inspect", "-f", "{{.State.Running}}", "con"); s != "true" {
			t.Fatalf("%v: ended by a signal that it ignores", by)
		}
		e.Hoy(by...)
		if by[0] != "rm" {
			if s := e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "con"); s != "exited 137" {
				t.Errorf("hoy %v: %s", by, s)
			}
			e.Hoy("rm", "con")
		}
	}
	e.nothingLeft()
}

// TestRemoveManyAtOnce removes running containers by several clients, each of which
// is given all of them.
func TestRemoveManyAtOnce(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	var names []string
	for i := range 24 {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	parallel(len(names), 4, func(i int) { e.Hoy("run", "-d", "--name", names[i], "busybox", "sleep", "1000") })
	parallel(4, 4, func(int) {
		r := e.Try(append([]string{"rm", "-f"}, names...)...)
		for _, l := range strings.Split(strings.TrimSpace(r.Stderr), "\n") {
			if l != "" && !strings.Contains(l, "o such container") && !strings.Contains(l, "already in progress") {
				t.Errorf("rm: %s", l)
			}
		}
	})
	if left := e.Hoy("ps", "-aq"); left != "" {
		t.Errorf("left: %s", left)
	}
	e.nothingLeft()
}

// TestKeeperEndsByItself: a keeper that holds nothing ends soon after its engine,
// one that holds a container when that has ended.
func TestKeeperEndsByItself(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	gone := func() bool { return e.KeeperPid() == 0 }
	e.Kill()
	e.Eventually("a keeper without containers ends", gone)
	e.Up()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	init := 0
	fmt.Sscan(e.Hoy("inspect", "-f", "{{.State.Pid}}", "con"), &init)
	e.Kill()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if gone() {
			t.Fatal("the keeper left its container")
		}
	}
	if err := unix.Kill(init, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.Eventually("a keeper whose last container has ended ends", gone)
	e.Up()
	if s := e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "con"); s != "exited 137" {
		t.Errorf("after the restart: %s", s)
	}
	e.Hoy("rm", "con")
	e.nothingLeft()
}
