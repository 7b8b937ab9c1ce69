package container

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hoy/linux/proc"
)

// psScene is what processes are seen against.
type psScene struct {
	now, boot time.Time
	memory    uint64 // of the machine
	names     map[uint32]string
}

// psTitle is ps' title of a column, "" if there is no such keyword.
func psTitle(keyword string) string {
	switch keyword {
	case "pid", "ppid", "pgid", "pgrp", "sid", "sess", "tpgid", "uid", "euid", "ruid", "gid", "user", "euser", "ruser", "tty", "tt",
		"time", "stime", "cmd", "s", "stat", "vsz", "rss", "rsz", "sz", "c", "ni", "pri", "nlwp", "%cpu", "%mem":
		return strings.ToUpper(keyword)
	}
	return map[string]string{
		"uname": "USER", "tname": "TTY", "cputime": "TIME", "bsdtime": "TIME", "times": "TIME", "state": "S",
		"args": "COMMAND", "command": "COMMAND", "comm": "COMMAND", "ucomm": "COMMAND", "ucmd": "CMD",
		"pcpu": "%CPU", "pmem": "%MEM", "vsize": "VSZ", "rssize": "RSS", "nice": "NI", "thcount": "THCNT",
		"start_time": "START", "start": "STARTED", "lstart": "STARTED", "etime": "ELAPSED", "etimes": "ELAPSED",
	}[keyword]
}

// value is what a column shows of a process.
func (s *psScene) value(keyword string, p *proc.Process) string {
	started := s.boot.Add(p.Started)
	age := max(s.now.Sub(started), proc.Tick)
	switch keyword {
	case "user", "euser", "uname":
		return s.userName(p.EUID)
	case "ruser":
		return s.userName(p.UID)
	case "tty", "tt", "tname":
		return terminalName(p.TTY)
	case "time", "cputime":
		return clock(p.CPU)
	case "bsdtime":
		return fmt.Sprintf("%d:%02d", int(p.CPU.Minutes()), int(p.CPU.Seconds())%60)
	case "stime", "start_time":
		return s.startTime(started)
	case "start":
		return started.Format("15:04:05")
	case "lstart":
		return started.Format(time.ANSIC)
	case "etime":
		return elapsed(age)
	case "cmd", "args", "command":
		return psCommand(p)
	case "comm", "ucomm", "ucmd":
		return p.Name
	case "s", "state":
		return string(p.State)
	case "stat":
		return processState(p)
	case "%cpu", "pcpu":
		return fmt.Sprintf("%.1f", 100*p.CPU.Seconds()/age.Seconds())
	case "%mem", "pmem":
		return fmt.Sprintf("%.1f", 100*float64(p.RSS)/float64(max(s.memory, 1)))
	}
	return strconv.FormatInt(number(keyword, p, age), 10)
}

// number is the value of a column of numbers; sizes are kilobytes.
func number(keyword string, p *proc.Process, age time.Duration) int64 {
	switch keyword {
	case "pid":
		return int64(p.PID)
	case "ppid":
		return int64(p.PPID)
	case "pgid", "pgrp":
		return int64(p.PGID)
	case "sid", "sess":
		return int64(p.SID)
	case "tpgid":
		return int64(p.Foreground)
	case "uid", "euid":
		return int64(p.EUID)
	case "ruid":
		return int64(p.UID)
	case "gid":
		return int64(p.GID)
	case "c":
		return min(99, int64(100*p.CPU.Seconds()/age.Seconds()))
	case "vsz", "vsize":
		return int64(p.VSize / 1024)
	case "rss", "rssize", "rsz":
		return int64(p.RSS / 1024)
	case "sz":
		return int64(p.VSize / 4096)
	case "ni", "nice":
		return int64(p.Nice)
	case "pri":
		return int64(39 - p.Priority)
	case "etimes":
		return int64(age.Seconds())
	case "times":
		return int64(p.CPU.Seconds())
	}
	return int64(p.Threads) // nlwp, thcount
}

// terminalName reads a device number: minor bits are 0-7 and 20-31.
func terminalName(tty uint64) string {
	major, minor := tty>>8&0xfff, tty&0xff|tty>>12&0xfff00
	switch {
	case tty == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", minor+256*(major-136))
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	case major == 5 && minor == 1:
		return "console"
	}
	return fmt.Sprintf("%d,%d", major, minor)
}

// clock is [days-]hours:minutes:seconds.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		text = fmt.Sprintf("%d-%s", days, text)
	}
	return text
}

// elapsed is a clock without hours that are none.
func elapsed(d time.Duration) string {
	if d < time.Hour {
		return strings.TrimPrefix(clock(d), "00:")
	}
	return clock(d)
}

func (s *psScene) startTime(t time.Time) string {
	switch {
	case s.now.Sub(t) < 24*time.Hour:
		return t.Format("15:04")
	case t.Year() == s.now.Year():
		return t.Format("Jan02")
	}
	return t.Format("2006")
}

func psCommand(p *proc.Process) string {
	if len(p.Command) == 0 {
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Command, " ")
}

// processState is the state with what ps adds to it.
func processState(p *proc.Process) string {
	s := string(p.State)
	for _, m := range []struct {
		on   bool
		mark string
	}{{p.Nice < 0, "<"}, {p.Nice > 0, "N"}, {p.Locked, "L"}, {p.SID == p.PID, "s"}, {p.Threads > 1, "l"}, {p.Foreground == p.PGID, "+"}} {
		if m.on {
			s += m.mark
		}
	}
	return s
}
