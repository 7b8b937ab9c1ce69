//go:build !windows

package terminal

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usual are the signals that people and programs send to end or to direct a process.
var usual = [...]os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// rare is when the others are caught, too. Go needs two switches between threads to
// catch one signal: for all 64 that takes longer than to run a short container.
const rare = 50 * time.Millisecond

// Signals returns a channel of the signals to be passed on to a container, and how
// to stop it.
func Signals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 128)
	signal.Notify(c, usual[:]...)
	t := time.AfterFunc(rare, func() { signal.Notify(c) })
	return c, func() {
		if t.Stop() {
			signal.Stop(c)
			return
		}
		go signal.Stop(c) // nobody waits for this, least of all our end
	}
}

// Forwarded returns the name or number by which the engine knows a signal, "" for those
// that are our own: of our children, of our pipes, of Go's scheduler.
func Forwarded(s os.Signal) string {
	switch s {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG:
		return ""
	}
	n := s.(syscall.Signal)
	if name := unix.SignalName(n); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(int(n)) // of the realtime signals
}

// Resized returns a channel that receives when the window's size changed.
func Resized() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGWINCH)
	return c, func() { signal.Stop(c) }
}

// Fatal returns a channel of the signals that end us, for restoring the terminal.
func Fatal() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	return c, func() { signal.Stop(c) }
}

// ExitCode is the code of a process that a signal ended.
func ExitCode(s os.Signal) int { return 128 + int(s.(syscall.Signal)) }
