// Package caps turns Docker's capability options into capability lists and the
// lists into the bit sets that capset(2) takes.
package caps

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"hoy/lib/fault"
)

// Set is a set of capabilities: bit n stands for the capability number n of
// linux/capability.h.
type Set uint64

// all is Docker's word for every capability.
const all = "ALL"

// names lists the capabilities by number.
var names = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// Default returns the capabilities that a container has when nobody says otherwise:
// Docker's fourteen.
func Default() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD",
		"CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP",
		"CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// Tweak applies Docker's --cap-add, --cap-drop and --privileged to base. Names come
// with or without CAP_ and in any case; ALL stands for what this process may give
// away. A name that the kernel does not know, or that this process does not hold, is
// an error: the container could not get it.
func Tweak(base, add, drop []string, privileged bool) ([]string, error) {
	if !privileged && len(add) == 0 && len(drop) == 0 {
		return base, nil
	}
	held, err := Held()
	if err != nil {
		return nil, err
	}
	return tweak(base, add, drop, privileged, held)
}

func tweak(base, add, drop []string, privileged bool, held Set) ([]string, error) {
	add, err := normalize(add, held)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid CapAdd: %w", err)
	}
	drop, err = normalize(drop, ^Set(0))
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid CapDrop: %w", err)
	}
	switch {
	case privileged:
		return held.Names(), nil
	case slices.Contains(add, all):
		return without(held.Names(), drop), nil
	case slices.Contains(drop, all):
		return unique(add), nil
	}
	return unique(append(without(base, drop), add...)), nil
}

// normalize brings names into the form CAP_X and checks them against held.
func normalize(list []string, held Set) ([]string, error) {
	var out []string
	for _, name := range list {
		n := strings.ToUpper(name)
		if n == all {
			out = append(out, n)
			continue
		}
		if !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		i := slices.Index(names[:], n)
		if i < 0 {
			return nil, fault.New(fault.Invalid, "unknown capability: %q", n)
		}
		if held>>i&1 == 0 {
			return nil, fault.New(fault.Invalid, "capability not supported by your kernel or not available in the current environment: %q", n)
		}
		out = append(out, n)
	}
	return out, nil
}

func without(list, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(c string) bool { return slices.Contains(drop, c) })
}

func unique(list []string) []string {
	var out []string
	for _, c := range list {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// Parse returns the set of the named capabilities (CAP_X, as in an OCI spec).
func Parse(list []string) (Set, error) {
	var s Set
	for _, name := range list {
		i := slices.Index(names[:], name)
		if i < 0 {
			return 0, fault.New(fault.Invalid, "unknown capability: %q", name)
		}
		s |= 1 << i
	}
	return s, nil
}

// Names returns the names of the members that have one, by number.
func (s Set) Names() []string {
	var out []string
	for i, n := range names {
		if s>>i&1 != 0 {
			out = append(out, n)
		}
	}
	return out
}

// Has reports whether s holds the named capability (CAP_X).
func (s Set) Has(name string) bool {
	i := slices.Index(names[:], name)
	return i >= 0 && s>>i&1 != 0
}

// Held returns what this process can give to a container: its bounding set.
func Held() (Set, error) {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return 0, fmt.Errorf("cannot read own capabilities: %w", err)
	}
	_, rest, found := strings.Cut(string(b), "\nCapBnd:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseUint(hex, 16, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("cannot read own capabilities: /proc/thread-self/status has no CapBnd")
	}
	return Set(v), nil
}

// Last returns the number of the kernel's last capability.
func Last() (int, error) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, fmt.Errorf("cannot read the kernel's last capability: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
