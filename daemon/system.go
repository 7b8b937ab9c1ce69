package daemon

import (
	"bytes"
	"context"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"

	"hoy/lib/filters"
	"hoy/lib/version"
)

// about tells about the engine as a whole. It implements the server's System.
type about struct {
	d        *Daemon
	mode     string // cgroup layout
	initPath string
}

// Events lets clients listen.
func (a *about) Events(ctx context.Context, since, until time.Time, f filters.Filters) ([]events.Message, <-chan events.Message, error) {
	return a.d.bus.Events(ctx, since, until, f)
}

// Version says which engine this is.
func (a *about) Version(ctx context.Context) (system.VersionResponse, error) {
	defer a.d.measures.about.Time("system_version")()
	kernel, o := kernelVersion(), a.d.options()
	return system.VersionResponse{
		Platform: system.PlatformInfo{Name: "hoy"},
		Version:  version.Version, APIVersion: version.API, MinAPIVersion: o.MinAPI,
		Os: goruntime.GOOS, Arch: goruntime.GOARCH,
		GitCommit: version.Commit, GoVersion: goruntime.Version(), KernelVersion: kernel, Experimental: o.Experimental, BuildTime: version.Built,
		Components: []system.ComponentVersion{{
			Name: "Engine", Version: version.Version,
			Details: map[string]string{
				"ApiVersion": version.API, "MinAPIVersion": o.MinAPI, "GitCommit": version.Commit, "BuildTime": version.Built,
				"GoVersion": goruntime.Version(), "Os": goruntime.GOOS, "Arch": goruntime.GOARCH,
				"KernelVersion": kernel, "Experimental": strconv.FormatBool(o.Experimental),
			},
		}},
	}, nil
}

func kernelVersion() string {
	var u unix.Utsname
	unix.Uname(&u)
	return cString(u.Release[:])
}

func architecture() string {
	var u unix.Utsname
	unix.Uname(&u)
	return cString(u.Machine[:])
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func kernelAtLeast(major, minor int) bool {
	part := strings.SplitN(kernelVersion(), ".", 3)
	if len(part) < 2 {
		return false
	}
	a, _ := strconv.Atoi(part[0])
	b, _ := strconv.Atoi(strings.TrimRight(part[1], "-+abcdefghijklmnopqrstuvwxyz"))
	return a > major || a == major && b >= minor
}

func openFiles() int {
	l, _ := os.ReadDir("/proc/self/fd")
	return len(l)
}

// release reads os-release(5).
func release() (name, version string) {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		for line := range strings.Lines(content(path)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch v = strings.Trim(v, `"'`); k {
			case "PRETTY_NAME":
				name = v
			case "VERSION_ID":
				version = v
			}
		}
		if name != "" {
			return name, version
		}
	}
	return "Linux", version
}
