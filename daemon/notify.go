package daemon

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// notify tells systemd, if that started us, how we are: sd_notify(3). Nobody waits
// for it, and a machine without systemd has nothing to be told.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // abstract
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("cannot notify systemd: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("cannot notify systemd: %w", err)
	}
	return nil
}

// The states that are told.
const (
	stateReady    = "READY=1"
	stateStopping = "STOPPING=1"
)

// stateReloading carries the time by which systemd tells this reload from others.
func stateReloading() string {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

// tell notifies systemd; that it cannot be told is no reason to stop.
func (d *Daemon) tell(state string) {
	if err := notify(state); err != nil {
		d.log.Warn(err.Error())
	}
}
