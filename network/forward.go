package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// forwardPackets lets the kernel route between links, as every bridge network needs.
func forwardPackets(v6 bool) error {
	path := "/proc/sys/net/ipv4/ip_forward"
	if v6 {
		path = "/proc/sys/net/ipv6/conf/all/forwarding"
	}
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 && b[0] == '1' {
		return nil
	}
	var err error
	if v6 {
		err = keepAdvertised()
	}
	if err == nil {
		err = os.WriteFile(path, []byte("1"), 0)
	}
	if err != nil {
		return fmt.Errorf("cannot let the kernel forward packets: %w", err)
	}
	return nil
}

// keepAdvertised makes the machine go on learning its own routes from router
// advertisements where it does: by the value 1 the kernel would stop that as soon as it
// forwards packets (ip-sysctl.rst, accept_ra), and the machine would lose its way out.
func keepAdvertised() error {
	files, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	for _, f := range files {
		b, readErr := os.ReadFile(f)
		if readErr != nil || !bytes.Equal(bytes.TrimSpace(b), []byte("1")) {
			continue // off, or on in any case; or the link has gone
		}
		if writeErr := os.WriteFile(f, []byte("2"), 0); writeErr != nil && !errors.Is(writeErr, os.ErrNotExist) {
			err = errors.Join(err, writeErr)
		}
	}
	return err
}
