package engine

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/registry/registrytest"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// counter prints a numbered line about every millisecond until it gets SIGTERM, and
// then ends with exit code 7.
const counter = `trap 'exit 7' TERM; i=0; while :; do echo $i; i=$((i+1)); usleep 1000; done`

// crashes are the ways in which a part of hoy disappears.
var crashes = map[string]func(e *Engine){
	"engine": func(e *Engine) { e.Kill(); e.Up() },
	"keeper": func(e *Engine) {
		old := e.KeeperPid()
		e.KillKeeper()
		e.Eventually("a new keeper", func() bool { p := e.KeeperPid(); return p != 0 && p != old })
	},
	"both": func(e *Engine) { e.Kill(); e.KillKeeper(); e.Up() },
}

// numbered fails unless out is the numbers from 0 on, one a line, none missing or
// twice, and returns how many there are.
func numbered(t *testing.T, out string) int {
	t.Helper()
	n := 0
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); n++ {
		if s.Text() != strconv.Itoa(n) {
			t.Fatalf("line %d is %q", n, s.Text())
		}
	}
	return n
}

func TestNoLineIsLostInACrash(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", counter)
			lines := func() int { return strings.Count(e.Try("logs", "con").Stdout, "\n") }
			for range 5 {
				was := lines()
				e.Eventually("more output", func() bool { return lines() > was+20 })
				crash(e)
			}
			was := lines()
			e.Eventually("output after the last crash", func() bool { return lines() > was+20 })
			e.Hoy("stop", "con")
			numbered(t, e.Try("logs", "con").Stdout)
			// The status of a process whose parent was killed comes from the kernel (6.15)
			// or is unknown: then the code is 255 and the error says why.
			code, why := e.Hoy("inspect", "-f", "{{.State.ExitCode}}", "con"), e.Hoy("inspect", "-f", "{{.State.Error}}", "con")
			if code != "7" && (code != "255" || why == "" || name == "engine") {
				t.Errorf("exit code %s, error %q; want 7", code, why)
			}
		})
	}
}

func TestEngineGoneContainersGoOn(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "echo up; httpd -f -h /etc -v 2>&1")
	ip := e.Hoy("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "con")
	log := e.Hoy("inspect", "-f", "{{.LogPath}}", "con")
	get := func() error { return httpGet("http://" + ip + "/passwd") }
	e.Eventually("the server answers", func() bool { return get() == nil })
	e.Kill()
	before, _ := os.ReadFile(log)
	if err := get(); err != nil {
		t.Errorf("not reachable without the engine: %v", err)
	}
	e.Eventually("a log line without the engine", func() bool { now, _ := os.ReadFile(log); return len(now) > len(before) })
	e.Up()
	if s := e.Hoy("inspect", "-f", "{{.State.Running}}", "con"); s != "true" {
		t.Errorf("running: %s", s)
	}
}

func TestAttachedTerminalSurvivesCrashes(t *testing.T) {
	for name, crash := range crashes {
		if name == "both" {
			continue // with engine and keeper gone nobody holds the terminal: it hangs up
		}
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("run", "-dit", "--name", "con", "busybox", "sh")
			crash(e)
			if s := e.Hoy("inspect", "-f", "{{.State.Running}} {{.State.Pid}}", "con"); !strings.HasPrefix(s, "true ") {
				t.Fatalf("after the crash: %s", s)
			}
			out, code := e.Terminal("echo still $((40+2))\nexit 3\n", "attach", "con")
			if !strings.Contains(out, "still 42") || code != 3 {
				t.Errorf("attached after the crash: exit code %d, %q", code, out)
			}
		})
	}
}

func TestExecAcrossCrashes(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
			e.Hoy("exec", "-d", "con", "sh", "-c", "sleep 1; echo done >/tmp/f; sleep 1000")
			crash(e)
			e.Eventually("the exec'ed command's file", func() bool { return e.Try("exec", "con", "cat", "/tmp/f").Stdout == "done\n" })
			if r := e.Try("exec", "con", "sh", "-c", "exit 9"); r.Code != 9 {
				t.Errorf("exec after the crash: %+v", r)
			}
		})
	}
}

func TestStopAcrossACrash(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.1; done")
			e.Eventually("the trap", func() bool { return strings.Contains(e.Try("logs", "con").Stdout, "ready") })
			stop := e.Command("stop", "-t", "3", "con")
			if err := stop.Start(); err != nil {
				t.Fatal(err)
			}
			e.Eventually("the stop signal", func() bool { return strings.Contains(e.Try("logs", "con").Stdout, "ignored") })
			crash(e)
			stop.Wait() // its connection may have ended with the engine
			e.Hoy("stop", "-t", "1", "con")
			if s := e.Hoy("inspect", "-f", "{{.State.Status}}", "con"); s != "exited" {
				t.Errorf("after stop: %s", s)
			}
		})
	}
}

// TestEveryFailpoint breaks engine and keeper at every point, by an error and by
// SIGKILL, during a whole life of a container. Whatever happens to that life, the
// next one on the same engine works, and nothing of the first is left.
func TestEveryFailpoint(t *testing.T) {
	for _, mode := range []string{"error", "kill"} {
		for _, p := range failpoint.All {
			t.Run(mode+" "+string(p), func(t *testing.T) {
				rootful.Check(t)
				e := Start(t)
				e.ImportBusybox()
				pulled := ""
				if strings.HasPrefix(string(p), "engine.fetch.") || strings.HasPrefix(string(p), "engine.pull.") {
					pulled = e.inRegistry(registrytest.Start(t, registrytest.Options{}), 1<<20)
				}
				e.breaking(p, mode)
				if strings.HasPrefix(string(p), "keeper.upgrade.") {
					e.Hoy("run", "-d", "--name", "held", "busybox", "sleep", "1000")
					e.upgradeKeeper("x")
					e.Hoy("rm", "-f", "held")
				}
				e.revived(func() {
					if pulled != "" {
						e.pull(pulled, "1")
					}
					life(e, "first")
				})
				e.mended(p)
				e.Try("rm", "-f", "first")
				if left := e.Hoy("ps", "-aq"); left != "" {
					t.Errorf("cannot remove %s", left)
				}
				if r := e.Try("run", "--name", "second", "busybox", "sh", "-c", "echo out; exit 5"); r.Code != 5 || r.Stdout != "out\n" {
					t.Errorf("the next container: %+v", r)
				}
				e.Hoy("rm", "second")
				if pulled != "" {
					if status, said := e.pull(pulled, "1"); status != http.StatusOK || !strings.Contains(said, "Status: ") {
						t.Errorf("the next pull: %d %s", status, said)
					}
				}
				e.nothingLeft()
			})
		}
	}
}

// breaking starts engine and keeper anew with a failpoint, and waits until they answer or
// have died of it.
func (e *Engine) breaking(p failpoint.Point, mode string) {
	e.t.Helper()
	e.endGently()
	e.endKeeper() // or it would go on, without failpoints
	e.Setenv(fmt.Sprintf("HOY_FAILPOINT=%s=%s", p, mode), "HOY_FAILPOINT_TRACE="+filepath.Join(e.Dir, "reached"))
	e.Launch()
	e.Eventually("an answer, or the end", func() bool { return e.Ping() == nil || e.exited() })
}

// mended starts engine and keeper anew without the failpoint, which is reached, if only
// after the last command has its answer.
func (e *Engine) mended(p failpoint.Point) {
	e.t.Helper()
	e.Eventually("the failpoint", func() bool {
		trace, _ := os.ReadFile(filepath.Join(e.Dir, "reached"))
		return slices.Contains(strings.Fields(string(trace)), string(p))
	})
	e.Setenv()
	e.endGently()
	if p := e.KeeperPid(); p != 0 {
		e.KillKeeper() // it may still have the failpoint in its environment
	}
	e.Up()
}

// life creates, starts, uses, stops and removes a container, and runs one that is
// removed at its end; every step may fail.
func life(e *Engine, name string) {
	e.Try("create", "--name", name, "busybox", "sh", "-c", "echo hello; trap 'exit 0' TERM; while :; do sleep 0.05; done")
	e.Try("start", name)
	e.Try("exec", name, "touch", "/new")
	e.Try("commit", name, "committed")
	e.Try("stop", "-t", "1", name)
	e.Try("rm", "-f", name)
	e.Try("run", "--rm", "--name", name, "busybox", "true")
}

// revived does something and, when the engine dies during it, starts the next one at
// once, without failpoints: the command that is under way may find it.
func (e *Engine) revived(do func()) {
	e.t.Helper()
	over := make(chan struct{})
	go func() { do(); close(over) }()
	for {
		select {
		case <-over:
			return
		case <-time.After(2 * time.Millisecond):
			if e.exited() {
				e.Wait()
				e.Setenv()
				e.Up()
			}
		}
	}
}

// upgradeKeeper starts the engine again with another build of the keeper: bytes after
// its end change nothing else.
func (e *Engine) upgradeKeeper(bytes string) {
	e.t.Helper()
	b, err := os.ReadFile(Bin(e.t, "hoy-keeper"))
	path := filepath.Join(e.t.TempDir(), "hoy-keeper")
	if err == nil {
		err = os.WriteFile(path, append(b, bytes...), 0o755)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	e.endGently()
	e.flags = append(e.flags, "--keeper", path)
	e.Up()
}

// endGently ends the engine by SIGTERM: the containers go on.
func (e *Engine) endGently() {
	e.t.Helper()
	e.cmd.Process.Signal(os.Interrupt)
	e.Wait()
}

// nothingLeft checks the engine's directories when it has no container. What hoy
// keeps for the next container, in names that begin with a dot, is bounded.
func (e *Engine) nothingLeft() {
	e.t.Helper()
	const spares = 16
	for pattern, most := range map[string]int{
		"data/containers/[^.]*": 0, "data/layers/*/upper": 0, "run/io/*": 0, "run/keeper/*": 0, "run/exits/*": 0,
		"run/containers/[^.]*": 0, "run/execs/*": 0, "data/image/partial/*": 0, "data/image/staging/*": 0, "data/containers/.*": spares, "run/containers/.*": spares,
	} {
		e.Eventually(fmt.Sprintf("at most %d of %s", most, pattern), func() bool {
			m, _ := filepath.Glob(filepath.Join(e.Dir, pattern))
			return len(m) <= most
		})
	}
}

// TestExecRootIsDeleted starts an engine where somebody has deleted the exec root under the
// keeper of running containers: it says what to do, and does not take them for ended.
func TestExecRootIsDeleted(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	pid, keeper := e.Hoy("inspect", "-f", "{{.State.Pid}}", "con"), e.KeeperPid()
	e.endGently()
	run := filepath.Join(e.Dir, "run")
	if err := os.RemoveAll(run); err != nil {
		t.Fatal(err)
	}
	e.Launch()
	if err := e.Wait(); err == nil {
		t.Error("the engine starts")
	}
	if want := fmt.Sprintf("the exec root %s was deleted under a keeper that holds containers: process %d, ", run, keeper); strings.Count(e.Log(), want) != 1 {
		t.Errorf("the engine says\n%s\nwant %s", e.Log(), want)
	}
	if now := e.KeeperPid(); now != keeper {
		t.Errorf("another keeper has begun: %d", now)
	}
	// What it says to do.
	for _, p := range []string{pid, strconv.Itoa(keeper)} {
		n, _ := strconv.Atoi(p)
		if err := unix.Kill(n, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		e.Eventually("the end of "+p, func() bool { return unix.Kill(n, 0) != nil })
	}
	e.Up()
	if got := e.state("con"); got != "exited 255 0" {
		t.Errorf("the container is %s", got)
	}
	e.Hoy("rm", "con")
}
