package keeper_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/failpoint"
)

// killKeeper kills the keeper and waits until the client has another.
func (b *bed) killKeeper() {
	b.t.Helper()
	pid, err := b.pid()
	if err == nil {
		err = unix.Kill(pid, unix.SIGKILL)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.waitLost()
}

func (b *bed) waitLost() {
	b.t.Helper()
	select {
	case <-b.c.Lost():
	case <-time.After(20 * time.Second):
		b.t.Fatalf("the client has not found another keeper\n%s", b.keeperLog())
	}
}

// checkNumbered fails unless s is the lines 1, 2, … n.
func checkNumbered(t *testing.T, s string, n int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i, l := range lines {
		if strings.TrimSuffix(l, "\r") != strconv.Itoa(i+1) {
			t.Errorf("line %d is %q; before it %q", i+1, l, lines[max(0, i-2):i])
			return
		}
	}
	if len(lines) != n {
		t.Errorf("%d lines, want %d", len(lines), n)
	}
}

const counting = "i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; [ $((i%%%d)) = 0 ] && usleep 1000; done; exit 7"

func TestKeeperKilledLosesNoLine(t *testing.T) {
	for _, tc := range []struct {
		name        string
		lines, each int
	}{{"a line every millisecond", 600, 1}, {"as quick as it can", 100000, 1000}} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBed(t)
			b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, fmt.Sprintf(counting, tc.lines, tc.each)), Log: b.logConfig("c")})
			kills := 0
			var e keeper.Exit
			for done := false; !done; {
				select {
				case e = <-b.c.Exits():
					done = true
				case <-time.After(time.Duration(5+kills%17) * time.Millisecond):
					b.killKeeper()
					kills++
				}
			}
			if err := b.c.Ack(b.ctx(), e.ID, e.Generation); err != nil {
				t.Error(err)
			}
			if e.Code != 7 {
				t.Errorf("%+v", e)
			}
			t.Logf("killed %d times", kills)
			checkNumbered(t, b.logged("c", "stdout"), tc.lines)
			if l := b.keeperLog(); l != "" {
				t.Errorf("the keeper complains: %s", l)
			}
		})
	}
}

func TestKilledAtEachPoint(t *testing.T) {
	for _, tc := range []struct {
		at failpoint.Point
	}{
		{failpoint.KeeperSpawnReceived}, {failpoint.KeeperSpawnState}, {failpoint.KeeperSpawnCloned},
		{failpoint.KeeperLogWritten}, {failpoint.KeeperExitReaped}, {failpoint.KeeperExitRecorded},
	} {
		t.Run(string(tc.at), func(t *testing.T) {
			t.Setenv("HOY_FAILPOINT", string(tc.at)+"=kill")
			b := newBed(t)
			script := fmt.Sprintf(counting, 20, 1)
			if tc.at == failpoint.KeeperSpawnCloned {
				script = "usleep 1000000; " + script // or it has ended before a successor finds it
			}
			p := b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, script), Log: b.logConfig("c")})
			if p.Pid <= 0 {
				t.Errorf("%+v", p)
			}
			if e := b.exit(); e.ID != "c" || e.Code != 7 {
				t.Errorf("%+v", e)
			}
			b.waitLost()
			checkNumbered(t, b.logged("c", "stdout"), 20)
		})
	}
}

func TestErrorAtEachPoint(t *testing.T) {
	for at, fails := range map[failpoint.Point]bool{
		failpoint.KeeperSpawnReceived: true, failpoint.KeeperSpawnState: true, failpoint.KeeperSpawnCloned: true,
		failpoint.KeeperLogWritten: false, failpoint.KeeperExitReaped: false, failpoint.KeeperExitRecorded: false,
	} {
		t.Run(string(at), func(t *testing.T) {
			t.Setenv("HOY_FAILPOINT", string(at)+"=error")
			b := newBed(t)
			_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "c", Generation: 1, Plan: shell(t, "echo 1; exit 7"), Log: b.logConfig("c")})
			if fails != (err != nil) {
				t.Errorf("spawn: %v", err)
			}
			if !fails {
				if e := b.exit(); e.Code != 7 {
					t.Errorf("%+v", e)
				}
			}
			if held, err := b.c.List(b.ctx()); err != nil || len(held) != 0 {
				t.Errorf("held: %+v, %v", held, err)
			}
		})
	}
}

// TestTerminalKilledAtEachPoint is the same for a process that only its terminal leads to.
func TestTerminalKilledAtEachPoint(t *testing.T) {
	for _, at := range []failpoint.Point{failpoint.KeeperSpawnState, failpoint.KeeperSpawnCloned, failpoint.KeeperExitReaped} {
		t.Run(string(at), func(t *testing.T) {
			t.Setenv("HOY_FAILPOINT", string(at)+"=kill")
			b := newBed(t)
			plan, master := terminal(t, "usleep 1000000; "+fmt.Sprintf(counting, 20, 1))
			b.spawn(keeper.SpawnRequest{ID: "c", Plan: plan, Console: master, Log: b.logConfig("c")})
			master.Close()
			if e := b.exit(); e.ID != "c" || e.Code != 7 {
				t.Errorf("%+v", e)
			}
			b.waitLost()
			checkNumbered(t, b.logged("c", "stdout"), 20)
		})
	}
}
