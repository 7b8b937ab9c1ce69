package idmap

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// As runs f, on a thread of its own, as the given user and group as far as file
// systems see it: what f creates belongs to them. On an id-mapped mount root can
// create files only this way, because it has no number there itself. All of root's
// capabilities stay.
func As(uid, gid int, f func() error) error {
	if uid == 0 && gid == 0 {
		return f()
	}
	runtime.LockOSThread()
	if err := setFileIDs(uid, gid); err != nil {
		return err // the thread stays locked, and ends with this goroutine
	}
	done := f()
	if err := setFileIDs(0, 0); err != nil {
		return err
	}
	runtime.UnlockOSThread()
	return done
}

// setFileIDs changes the thread's ids for file access. The kernel then takes the
// capabilities about files away (capabilities(7)); the thread takes them back.
func setFileIDs(uid, gid int) error {
	if err := unix.Setfsgid(gid); err != nil {
		return fmt.Errorf("cannot access files as group %d: setfsgid: %w", gid, err)
	}
	if err := unix.Setfsuid(uid); err != nil {
		return fmt.Errorf("cannot access files as user %d: setfsuid: %w", uid, err)
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return fmt.Errorf("cannot access files as user %d: capget: %w", uid, err)
	}
	d[0].Effective, d[1].Effective = d[0].Permitted, d[1].Permitted
	if err := unix.Capset(&h, &d[0]); err != nil {
		return fmt.Errorf("cannot access files as user %d: capset: %w", uid, err)
	}
	return nil
}
