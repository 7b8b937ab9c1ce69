//go:build !windows

package terminal

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signals returns a channel of the signals to be passed on to a container, and how
// to stop it.
func Signals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 128)
	signal.Notify(c)
	return c, func() { signal.Stop(c) }
}

// Forwarded returns the name by which the engine knows a signal, "" for those that
// are our own: of our children, of our pipes, of our window, of Go's scheduler.
func Forwarded(s os.Signal) string {
	switch s {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGWINCH:
		return ""
	}
	return strings.TrimPrefix(unix.SignalName(s.(syscall.Signal)), "SIG")
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
