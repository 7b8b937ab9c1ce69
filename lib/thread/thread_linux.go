// Package thread runs functions on threads of their own.
package thread

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Run runs f on a thread that nothing else uses and that ends with f, so that f may
// change what belongs to the thread: its namespaces, its table of descriptors, its
// root directory. It returns when f has.
func Run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		// The main thread never ends: Go would keep it for good, with what f changed,
		// and /proc/PID shows what is the main thread's. It waits here, so that f gets
		// another one.
		Run(f)
		runtime.UnlockOSThread()
	}()
	<-done
}
