package terminal

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Signals returns a channel of the signals to be passed on to a container, and how
// to stop it.
func Signals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c, func() { signal.Stop(c) }
}

// Forwarded returns the name by which the engine knows a signal.
func Forwarded(s os.Signal) string {
	if s == os.Interrupt {
		return "INT"
	}
	return "TERM"
}

// Resized returns a channel that receives when the window's size may have changed:
// a console sends no signal for that, so it is looked at four times a second.
func Resized() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	t := time.NewTicker(250 * time.Millisecond)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-t.C:
				select {
				case c <- os.Interrupt:
				default:
				}
			}
		}
	}()
	return c, func() { t.Stop(); close(done) }
}

// Fatal returns a channel of the signals that end us, for restoring the terminal.
func Fatal() (<-chan os.Signal, func()) { return Signals() }

// ExitCode is the code of a process that a signal ended.
func ExitCode(os.Signal) int { return 130 }
