package engine

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// obeys is a script that ends by SIGTERM, and not well.
const obeys = "trap 'exit 3' TERM; while :; do usleep 10000; done"

// pids returns the process ids of containers.
func (e *Engine) pids(names ...string) (l []int) {
	e.t.Helper()
	for s := range strings.FieldsSeq(e.Hoy(append([]string{"inspect", "-f", "{{.State.Pid}}"}, names...)...)) {
		pid, err := strconv.Atoi(s)
		if err != nil || pid == 0 {
			e.t.Fatalf("one of %v has pid %q", names, s)
		}
		l = append(l, pid)
	}
	return l
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

// TestWithoutLiveRestore: an engine's end stops its containers as each of them wants to be
// stopped, and gives back what they had; of one that is killed the next engine does it.
// Then policies say what runs, as if nobody had stopped anything.
func TestWithoutLiveRestore(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--live-restore=false")
	e.ImportBusybox()
	run := func(name string, args ...string) {
		e.Hoy(append([]string{"run", "-d", "--name", name}, args...)...)
	}
	for name, policy := range map[string]string{"always": "always", "unless": "unless-stopped", "onfail": "on-failure", "paused": "always", "told": "unless-stopped", "once": "no"} {
		run(name, "--restart", policy, "busybox", "sh", "-c", obeys)
	}
	run("published", "-p", "127.0.0.1:5099:80", "busybox", "sh", "-c", obeys)
	run("stubborn", "--stop-signal", "CONT", "--stop-timeout", "1", "busybox", "sleep", "1000")
	run("fails", "--restart", "always", "busybox", "sh", "-c", "exit 1")
	e.Hoy("stop", "told")
	ran := []string{"always", "unless", "onfail", "paused", "once", "published", "stubborn"}

	for _, by := range []string{"end", "kill", "kill amid the end"} {
		run("goes", "--rm", "busybox", "sh", "-c", obeys)
		if by != "end" {
			e.Hoy("start", "once", "published", "stubborn")
		}
		e.Hoy("pause", "paused")
		before := e.pids(append(ran, "goes")...)
		began := time.Now()
		switch by {
		case "end":
			e.endGently()
			if slices.ContainsFunc(before, alive) {
				t.Errorf("containers outlive the end")
			}
			if l, err := net.Listen("tcp", "127.0.0.1:5099"); err != nil {
				t.Errorf("the published port is still held: %v", err)
			} else {
				l.Close()
			}
		case "kill":
			e.Kill()
			if !slices.ContainsFunc(before, alive) {
				t.Errorf("containers do not outlive a kill")
			}
		default: // while it waits for the stubborn one
			unix.Kill(e.Pid(), unix.SIGTERM)
			e.Eventually("one has ended", func() bool { return !alive(before[0]) })
			e.Kill()
		}
		e.Up()
		// One after the other they would take longer than the one that is killed after a second.
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("%s and start took %v", by, took)
		}
		if slices.ContainsFunc(before, alive) {
			t.Errorf("after %s and start there are old containers", by)
		}
		for name, want := range map[string]string{"always": "running 0", "unless": "running 0", "onfail": "running 0", "paused": "running 0",
			"told": "exited 3", "once": "exited 3", "published": "exited 3", "stubborn": "exited 137"} {
			e.Eventually(by+": "+name+" is "+want, func() bool {
				return e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name) == want
			})
		}
		if r := e.Try("inspect", "goes"); r.Code == 0 {
			t.Errorf("after %s what is to be removed at its end is there: %s", by, r.Stdout)
		}
		if got := e.Hoy("inspect", "-f", "{{.NetworkSettings.SandboxID}}{{.NetworkSettings.Ports}}", "published"); got != "map[]" {
			t.Errorf("after %s it has %q of networks", by, got)
		}
		if s := e.Hoy("inspect", "-f", "{{.State.Status}}", "fails"); s != "restarting" && s != "running" {
			t.Errorf("after %s what waited for its restart is %s", by, s)
		}
	}
}

// TestEndTellsClients: who is attached to a container that the engine's end stops sees its
// end, as with dockerd.
func TestEndTellsClients(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--live-restore=false")
	e.ImportBusybox()
	c := e.Command("run", "--rm", "--name", "attached", "busybox", "sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do usleep 10000; done")
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	e.Eventually("it runs", func() bool { return strings.Contains(e.Try("logs", "attached").Stdout, "ready") })
	e.endGently()
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 3 || out.String() != "ready\nbye\n" {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// TestEndAmidRestart ends the engine while containers are being restarted by hand: the next
// one starts those whose policy wants them up, as with dockerd.
func TestEndAmidRestart(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--live-restore=false")
	e.ImportBusybox()
	policies := map[string]string{"always": "running 0", "unless-stopped": "running 0", "on-failure": "running 0", "no": "exited 137"}
	var restarts []*exec.Cmd
	for policy := range policies {
		e.Hoy("run", "-d", "--name", policy, "--restart", policy, "busybox", "sh", "-c", "trap 'echo told' TERM; while :; do usleep 10000; done")
	}
	for policy := range policies {
		c := e.Command("restart", "-t", "2", policy)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		restarts = append(restarts, c)
	}
	for policy := range policies {
		e.Eventually(policy+" is told to end", func() bool { return strings.Contains(e.Try("logs", policy).Stdout, "told") })
	}
	e.endGently()
	for _, c := range restarts {
		c.Wait()
	}
	e.Up()
	for policy, want := range policies {
		e.stateIs(policy, want+" 0")
	}
	e.Hoy("rm", "-f", "always", "unless-stopped", "on-failure", "no")
}

// TestShutdownTimeout: a container that was given longer than the engine has its time, as
// with dockerd, and is killed then.
func TestShutdownTimeout(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--live-restore=false", "--shutdown-timeout=1")
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "--stop-signal", "CONT", "--stop-timeout", "3", "busybox", "sleep", "1000")
	began := time.Now()
	e.endGently()
	if took := time.Since(began); took < 3*time.Second || took > 8*time.Second {
		t.Errorf("the engine ended after %v", took)
	}
	e.Up()
	e.stateIs("con", "exited 137 0")
}

// TestReloadLiveRestore: what the end of the engine does follows daemon.json while it runs.
func TestReloadLiveRestore(t *testing.T) {
	rootful.Check(t)
	config := filepath.Join(t.TempDir(), "daemon.json")
	write(t, config, `{}`)
	e := Start(t, "--config-file", config)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", obeys)
	pid := e.pids("con")[0]
	for i, live := range []bool{false, true} {
		write(t, config, `{"live-restore": `+strconv.FormatBool(live)+`}`)
		unix.Kill(e.Pid(), unix.SIGHUP)
		e.Eventually("the reload", func() bool { return len(e.reloads()) == i+1 })
		if got := e.reloads()[i]["live-restore"]; got != strconv.FormatBool(live) {
			t.Errorf("the event says %s", got)
		}
		if got := e.Hoy("info", "--format", "{{.LiveRestoreEnabled}}"); got != strconv.FormatBool(live) {
			t.Errorf("info says %s", got)
		}
	}
	e.endGently()
	if !alive(pid) {
		t.Error("the container does not outlive an engine that was told to let it")
	}
	e.Up()
	write(t, config, `{"live-restore": false}`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the reload", func() bool { return e.Hoy("info", "--format", "{{.LiveRestoreEnabled}}") == "false" })
	e.endGently()
	if alive(pid) {
		t.Error("the container outlives an engine that was told to stop it")
	}
}

// TestNamedDockerd: by the name dockerd the engine has dockerd's ways where hoyd's are
// others: its end stops the containers, and a bridge that is named has to be there.
func TestNamedDockerd(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	dockerd := filepath.Join(t.TempDir(), "dockerd")
	if err := os.Symlink(e.flags[0], dockerd); err != nil {
		t.Fatal(err)
	}
	hoyd := e.flags
	e.flags = append([]string{dockerd}, hoyd[2:]...)
	defer func() { e.flags = hoyd }()
	e.endGently()

	out, err := exec.Command(dockerd, append(slices.Clip(e.flags[1:]), "--bridge", "nosuchbridge")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "bridge device with non default name nosuchbridge must be created manually") {
		t.Errorf("%v: %s", err, out)
	}
	e.flags = append(e.flags, "--bridge", "docker0")
	e.Up()
	if got := e.Hoy("info", "--format", "{{.LiveRestoreEnabled}}"); got != "false" {
		t.Errorf("live restore is %s", got)
	}
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", obeys)
	pid := e.pids("con")[0]
	e.endGently()
	if alive(pid) {
		t.Error("the container outlives the end")
	}
}
