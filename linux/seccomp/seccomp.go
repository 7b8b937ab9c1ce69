// Package seccomp compiles system call filters of the OCI runtime spec into
// classic BPF that searches a tree, not a list.
package seccomp

import (
	"encoding/json"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Filter is a program for seccomp(2), SECCOMP_SET_MODE_FILTER.
type Filter struct {
	Program []byte   // array of struct sock_filter, at most 4096 of them
	Flags   uint     // SECCOMP_FILTER_FLAG_*
	Unknown []string // system calls that the profile names and no architecture here has, sorted
}

// Compile makes the filter for profile p on this machine's architecture.
//
// It decides as libseccomp does for docker, with runc's addition:
//
//   - A system call of an architecture that p does not list kills the thread.
//     The machine's own architecture is always included.
//   - A rule without argument conditions overrides those with conditions, the first
//     of several wins; of the rules with conditions the first whose conditions all
//     hold wins. A rule whose action is the default action is as good as absent.
//   - Two conditions on the same argument in one rule are alternatives.
//   - A masked comparison looks at the bits of the mask alone, of both sides.
//   - A system call newer than all that p names fails with ENOSYS where the default
//     action is not permissive, so that programs fall back to older calls.
//   - On 32-bit x86 a rule for a socket or System V IPC call without conditions also
//     holds for the call made through socketcall or ipc.
//
// Without p.Flags, SECCOMP_FILTER_FLAG_SPEC_ALLOW is set.
func Compile(p *specs.LinuxSeccomp) (Filter, error) { return compile(p, native) }

func compile(p *specs.LinuxSeccomp, native specs.Arch) (Filter, error) {
	if p.ListenerPath != "" {
		return Filter{}, fault.New(fault.Invalid, "the seccomp profile asks for a listener at %q: handing system calls to an agent (SCMP_ACT_NOTIFY) is not supported", p.ListenerPath)
	}
	flags, err := flagBits(p.Flags)
	if err != nil {
		return Filter{}, err
	}
	r, err := readRules(p)
	if err != nil {
		return Filter{}, err
	}
	abis, err := abisOf(p.Architectures, native)
	if err != nil {
		return Filter{}, err
	}
	var a assembler
	a.program(abis, r)
	if len(a.code) > unix.BPF_MAXINSNS {
		return Filter{}, fault.New(fault.Invalid, "the seccomp profile needs %d BPF instructions, the kernel takes at most %d", len(a.code), unix.BPF_MAXINSNS)
	}
	return Filter{Program: a.bytes(), Flags: flags, Unknown: r.unknown(abis)}, nil
}

func flagBits(flags []specs.LinuxSeccompFlag) (bits uint, err error) {
	if flags == nil {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	for _, f := range flags {
		switch f {
		case specs.LinuxSeccompFlagLog:
			bits |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			bits |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case "SECCOMP_FILTER_FLAG_TSYNC": // the container has one thread when the filter is installed
		case specs.LinuxSeccompFlagWaitKillableRecv:
			return 0, fault.New(fault.Invalid, "the seccomp flag %s needs a listener, which is not supported", f)
		default:
			return 0, fault.New(fault.Invalid, "unknown seccomp flag %q", f)
		}
	}
	return bits, nil
}

// Default is docker's default profile for a container whose bounding set is caps, on this kernel.
func Default(caps []string) (*specs.LinuxSeccomp, error) {
	return seccomp.GetDefaultProfile(withBounding(caps))
}

// Parse reads a profile in docker's file format for a container whose bounding set is
// caps. The profile may be nil: an empty one asks for no filter.
func Parse(profile []byte, caps []string) (*specs.LinuxSeccomp, error) {
	// The library follows a null entry of the list.
	var shape struct{ Syscalls []*json.RawMessage }
	if json.Unmarshal(profile, &shape) == nil && slices.Contains(shape.Syscalls, nil) {
		return nil, fault.New(fault.Invalid, "cannot read seccomp profile: an entry of syscalls is null")
	}
	p, err := seccomp.LoadProfile(string(profile), withBounding(caps))
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read seccomp profile: %w", err)
	}
	return p, nil
}

func withBounding(caps []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}
