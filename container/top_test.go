package container

import (
	"strings"
	"testing"
	"time"

	"hoy/linux/proc"
)

// TestTopColumns reads ps' options and shows one process by them.
func TestTopColumns(t *testing.T) {
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.Local)
	s := &psScene{now: now, boot: now.Add(-48 * time.Hour), memory: 1000 << 10, names: map[uint32]string{0: "root", 7: "lp"}}
	p := &proc.Process{PID: 42, PPID: 1, PGID: 42, SID: 42, UID: 7, Name: "sh", Command: []string{"sh", "-c", "x y"}, State: 'S', TTY: 136<<8 | 3,
		Foreground: 42, Priority: 20, Threads: 2, CPU: 3661 * time.Second, Started: 46 * time.Hour, VSize: 8 << 20, RSS: 100 << 10}
	for options, want := range map[string]string{
		"":                                "UID PID PPID C STIME TTY TIME CMD | root 42 1 50 10:00 pts/3 01:01:01 sh -c x y",
		"-ef":                             "UID PID PPID C STIME TTY TIME CMD | root 42 1 50 10:00 pts/3 01:01:01 sh -c x y",
		"-e":                              "PID TTY TIME CMD | 42 pts/3 01:01:01 sh -c x y",
		"aux":                             "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND | root 42 50.8 10.0 8192 100 pts/3 Ssl+ 10:00 61:01 sh -c x y",
		"-aux":                            "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND | root 42 50.8 10.0 8192 100 pts/3 Ssl+ 10:00 61:01 sh -c x y",
		"ax":                              "PID TTY STAT TIME COMMAND | 42 pts/3 Ssl+ 61:01 sh -c x y",
		"-ejww":                           "PID PGID SID TTY TIME CMD | 42 42 42 pts/3 01:01:01 sh -c x y",
		"axj":                             "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND | 1 42 42 42 pts/3 42 Ssl+ 0 61:01 sh -c x y",
		"-eo pid,comm":                    "PID COMMAND | 42 sh",
		"-o pid -o ruser=WHO,etime,state": "PID WHO ELAPSED S | 42 lp 02:00:00 S",
		"opid,nlwp,ni,pri,sz,etimes":      "PID NLWP NI PRI SZ ELAPSED | 42 2 0 19 2048 7200",
	} {
		c, err := parsePS(options)
		if err != nil {
			t.Errorf("%q: %v", options, err)
		} else if got := strings.Join(c.titles(), " ") + " | " + strings.Join(c.row(s, p), " "); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", options, got, want)
		}
	}
	for options, want := range map[string]string{
		"-o comm":         "Couldn't find PID field in ps output",
		"-o pid,nope":     `unknown user-defined format specifier "nope"`,
		"-o":              "needs a list of columns",
		"-o pid=X":        "Couldn't find PID field",
		"-o pid,args=PID": `specifying "args=PID" is not allowed`,
		"-C sh":           `option "C" is not supported`,
		"--sort=pid":      `option "-" is not supported`,
		"-L":              `option "L" is not supported`,
	} {
		if _, err := parsePS(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", options, err, want)
		}
	}
}

// FuzzTop: any options are columns with a PID, or an error.
func FuzzTop(f *testing.F) {
	for _, s := range []string{"", "-ef", "aux", "-eo pid,comm", "-o pid=,x", "o", "-o -o", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, options string) {
		c, err := parsePS(options)
		if err != nil {
			return
		}
		s := &psScene{now: time.Now(), names: map[uint32]string{0: "root"}}
		if row := c.row(s, &proc.Process{State: 'R'}); len(row) != len(c.titles()) || len(row) == 0 {
			t.Errorf("%q: %q", options, row)
		}
	})
}

func TestTerminalName(t *testing.T) {
	for tty, want := range map[uint64]string{0: "?", 136 << 8: "pts/0", 137<<8 | 1: "pts/257", 136<<8 | 1<<20: "pts/256", 4<<8 | 1: "tty1", 4<<8 | 65: "ttyS1", 5<<8 | 1: "console", 3<<8 | 9: "3,9"} {
		if got := terminalName(tty); got != want {
			t.Errorf("%d: %s, want %s", tty, got, want)
		}
	}
}
