package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// waiting tells, each time it is asked, whether a process waits for its engine, which then
// has its request: it has a connection, and none of its threads runs, wants to run, or has
// run for a while. A process that has ended, or whose answers never pause, waits too.
func waiting(pid int) func() bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	const quiet, never = 100 * time.Millisecond, 2 * time.Second
	begin, since, last := time.Now(), time.Now(), ""
	return func() bool {
		ran, active := "", false
		threads, _ := filepath.Glob(dir + "/task/*/status")
		for _, t := range threads {
			b, _ := os.ReadFile(t)
			for line := range strings.Lines(string(b)) {
				active = active || strings.HasPrefix(line, "State:\tR")
				if strings.Contains(line, "ctxt_switches") {
					ran += line
				}
			}
		}
		if now := time.Now(); ran != last || active || !connected(dir) {
			since, last = now, ran
		}
		_, err := os.Stat(dir + "/exe")
		return err != nil || time.Since(since) > quiet || time.Since(begin) > never && connected(dir)
	}
}

// connected tells whether a process has a socket.
func connected(dir string) bool {
	files, _ := filepath.Glob(dir + "/fd/*")
	for _, f := range files {
		if to, _ := os.Readlink(f); strings.HasPrefix(to, "socket:") {
			return true
		}
	}
	return false
}
