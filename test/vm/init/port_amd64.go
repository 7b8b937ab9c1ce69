package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// debugPort is where package vm puts QEMU's isa-debug-exit: a byte b written to it ends
// QEMU with the status 2b+1.
const debugPort = 0xf4

func outb(port uint16, b uint8)

// debugExit writes to the port itself: Debian's kernels for clouds have no /dev/port.
func debugExit(code byte) error {
	if _, _, e := unix.RawSyscall(unix.SYS_IOPERM, debugPort, 1, 1); e != 0 {
		return fmt.Errorf("ioperm: %w", e)
	}
	outb(debugPort, code)
	return nil
}
