// Package netlink makes network namespaces, bridges and the links of containers.
package netlink

import (
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NewNamespace makes a network namespace, which lives as long as the descriptor
// or a process in it. Its links are down.
func NewNamespace() (*os.File, error) {
	var ns *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot make a network namespace: unshare: %w", err)
		}
		var err error
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// In runs f on a thread that is in the network namespace ns.
func In(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot enter the network namespace: setns: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own and puts that back into the caller's
// network namespace. A thread that can't be put back is ended, not reused.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer unix.Close(home)
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// LoopbackUp brings the loopback link of a namespace up.
func LoopbackUp(ns *os.File) error { return inside(ns, loopback) }

// inside runs f in the namespace, with a handle for its links.
func inside(ns *os.File, f func(h *netlink.Handle) error) error {
	return In(ns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("cannot open netlink in the namespace: %w", err)
		}
		defer h.Close()
		return f(h)
	})
}

// loopback brings the loopback link up, which is number 1 in every namespace.
func loopback(h *netlink.Handle) error {
	if err := h.LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}); err != nil {
		return fmt.Errorf("cannot bring lo up: %w", err)
	}
	return nil
}
