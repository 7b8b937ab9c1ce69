package thread_test

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/thread"
)

// TestRun has many functions change what is the thread's, and sees the process's own
// threads, the main one among them, as they were.
func TestRun(t *testing.T) {
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			thread.Run(func() {
				if unix.Gettid() == os.Getpid() {
					t.Error("it runs on the main thread")
				}
				if err := unix.Unshare(unix.CLONE_FS); err != nil {
					t.Error(err)
				}
				if err := unix.Chdir("/"); err != nil {
					t.Error(err)
				}
			})
			if wd, err := os.Readlink("/proc/thread-self/cwd"); err != nil || wd == "/" {
				t.Errorf("the directory is %q, %v", wd, err)
			}
		})
	}
	wg.Wait()
	if wd, err := os.Readlink("/proc/self/cwd"); err != nil || wd == "/" {
		t.Errorf("the main thread's directory is %q, %v", wd, err)
	}
}
