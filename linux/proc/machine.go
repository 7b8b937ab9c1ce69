package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the time that all processors have spent since boot, idle or not, and
// how many are online. Time of virtual machines is within the others'.
func CPU() (total time.Duration, online int, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	total, online = parseCPU(string(b))
	return total, online, nil
}

func parseCPU(text string) (total time.Duration, online int) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) < 8 || !strings.HasPrefix(f[0], "cpu"):
		case f[0] == "cpu":
			for _, s := range f[1:8] { // user nice system idle iowait irq softirq
				n, _ := strconv.ParseUint(s, 10, 63)
				total += time.Duration(n) * Tick
			}
		default:
			online++
		}
	}
	return total, online
}

// Interface is what went through a network interface.
type Interface struct {
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// Interfaces lists the interfaces of the network namespace that a process is in.
func Interfaces(pid int) ([]Interface, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return nil, err
	}
	return parseInterfaces(string(b)), nil
}

// parseInterfaces reads lines such as "  eth0: 90 1 0 0 0 0 0 0 126 2 0 0 0 0 0 0":
// bytes, packets, errors, drops of both directions and more in between.
func parseInterfaces(text string) []Interface {
	var l []Interface
	for line := range strings.Lines(text) {
		name, counts, ok := strings.Cut(line, ":")
		f := strings.Fields(counts)
		if !ok || len(f) < 12 {
			continue
		}
		n := func(i int) uint64 {
			v, _ := strconv.ParseUint(f[i], 10, 64)
			return v
		}
		l = append(l, Interface{strings.TrimSpace(name), n(0), n(1), n(2), n(3), n(8), n(9), n(10), n(11)})
	}
	return l
}

// Memory is the machine's memory in bytes, 0 if the kernel does not say.
func Memory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return uint64(s.Totalram) * uint64(s.Unit)
}
