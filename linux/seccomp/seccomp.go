// Package seccomp compiles system call filters of the OCI runtime spec into
// classic BPF that searches a tree, not a list.
package seccomp

import (
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

// Filter is a program for seccomp(2), SECCOMP_SET_MODE_FILTER.
type Filter struct {
	Program []byte   // array of struct sock_filter, at most 4096 of them
	Flags   uint     // SECCOMP_FILTER_FLAG_*
	Unknown []string // system calls the profile names and no architecture here has
}

// Compile makes the filter for profile p and this machine's architecture.
func Compile(p *specs.LinuxSeccomp) (Filter, error) {
	return Filter{}, fault.New(fault.NotImplemented, "not written yet")
}

// Default is docker's default profile for a container whose bounding set is caps, on this kernel.
func Default(caps []string) (*specs.LinuxSeccomp, error) {
	return seccomp.GetDefaultProfile(spec(caps))
}

// Parse reads a profile in docker's file format for a container whose bounding set is caps.
func Parse(json []byte, caps []string) (*specs.LinuxSeccomp, error) {
	return seccomp.LoadProfile(string(json), spec(caps))
}

func spec(caps []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}
