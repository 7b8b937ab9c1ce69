package spec

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

// security is what --security-opt says.
type security struct {
	noNewPrivileges *bool
	writableCgroups *bool
	seccomp         string // "", "unconfined", "builtin" or a profile's JSON
	apparmor        string
	labels          []string // SELinux: "type:…", "level:…", "user:…", "role:…", "disable"
}

// labelsDisabled reports label=disable.
func (s security) labelsDisabled() bool {
	for _, l := range s.labels {
		if l == "disable" {
			return true
		}
	}
	return false
}

func parseSecurity(h *container.HostConfig) (security, error) {
	var s security
	for _, o := range h.SecurityOpt {
		key, value, set := strings.Cut(o, "=")
		if !set {
			key, value, set = strings.Cut(o, ":") // docker's form before 1.11, still accepted
		}
		var err error
		switch {
		case key == "no-new-privileges":
			if s.noNewPrivileges, err = boolean(value, set); err != nil {
				return s, fault.New(fault.Invalid, "invalid --security-opt 2: %q", o)
			}
		case key == "writable-cgroups":
			if s.writableCgroups, err = boolean(value, set); err != nil {
				return s, fault.New(fault.Invalid, "invalid --security-opt 2: %q", o)
			}
		case o == "disable":
			s.labels = append(s.labels, "disable")
		case !set:
			return s, fault.New(fault.Invalid, "invalid --security-opt 1: %q", o)
		case key == "label":
			s.labels = append(s.labels, value)
		case key == "apparmor":
			s.apparmor = value
		case key == "seccomp":
			s.seccomp, err = value, checkProfile(value)
		default:
			return s, fault.New(fault.Invalid, "invalid --security-opt 2: %q", o)
		}
		if err != nil {
			return s, fault.New(fault.Invalid, "invalid --security-opt: %q: %w", shorten(o), err)
		}
	}
	return s, nil
}

// boolean reads an option that means true when it has no value.
func boolean(value string, set bool) (*bool, error) {
	if !set {
		value = "true"
	}
	b, err := strconv.ParseBool(value)
	return &b, err
}

func checkProfile(profile string) error {
	if profile == "unconfined" || profile == "builtin" {
		return nil
	}
	var shape struct{ Syscalls []json.RawMessage }
	return json.Unmarshal([]byte(profile), &shape)
}

// shorten keeps a profile of 10 kB out of an error message.
func shorten(o string) string {
	if len(o) > 64 {
		return o[:64] + "…"
	}
	return o
}

// secure sets what the security options, the engine's defaults and Privileged
// decide together.
func secure(s *specs.Spec, in *Input, opt security, held []string) error {
	s.Process.NoNewPrivileges = in.Host.NoNewPrivileges
	if opt.noNewPrivileges != nil {
		s.Process.NoNewPrivileges = *opt.noNewPrivileges
	}
	if in.Host.AppArmor {
		s.Process.ApparmorProfile = in.AppArmorProfile
		if in.HostConfig.Privileged {
			s.Process.ApparmorProfile = "unconfined"
		}
		if opt.apparmor != "" {
			s.Process.ApparmorProfile = opt.apparmor
		}
	}
	if in.Host.SELinux {
		s.Process.SelinuxLabel, s.Linux.MountLabel = selinuxLabels(in, opt)
	}
	profile := opt.seccomp
	if profile == "" {
		profile = in.SeccompProfile
	}
	switch {
	case in.Seccomp == nil, !in.Host.Seccomp, profile == "unconfined", opt.seccomp == "" && in.HostConfig.Privileged:
		return nil
	case profile == "builtin":
		profile = ""
	}
	filter, err := in.Seccomp(profile, held)
	s.Linux.Seccomp = filter
	return err
}

// FileLabel is the SELinux context of files that a container with this configuration
// uses, of the given level; "" where its labels are disabled.
func FileLabel(h *container.HostConfig, level string) (string, error) {
	opt, err := parseSecurity(h)
	if err != nil {
		return "", err
	}
	_, file := selinuxLabels(&Input{HostConfig: h, SELinuxLevel: level}, opt)
	return file, nil
}

// selinuxLabels are the process's and the files' contexts. A privileged
// container, and one in the host's PID or IPC namespace, runs unconfined, as with
// docker, unless it names a label.
func selinuxLabels(in *Input, opt security) (process, file string) {
	h := in.HostConfig
	free := h.Privileged || h.PidMode.IsHost() || h.IpcMode.IsHost()
	if opt.labelsDisabled() || len(opt.labels) == 0 && free {
		return "", ""
	}
	part := map[string]string{"user": "system_u", "role": "system_r", "type": "container_t", "level": in.SELinuxLevel}
	files := "container_file_t"
	for _, l := range opt.labels {
		key, value, _ := strings.Cut(l, ":")
		if key == "filetype" {
			files = value
		} else {
			part[key] = value
		}
	}
	process = strings.Join([]string{part["user"], part["role"], part["type"], part["level"]}, ":")
	return process, strings.Join([]string{part["user"], "object_r", files, part["level"]}, ":")
}

// maskedPaths and readonlyPaths are docker's lists. A missing path is no failure
// for the runtime, but costs it a call: thermal holds those that are there.
func maskedPaths(thermal []string) []string {
	return append([]string{
		"/proc/acpi", "/proc/asound",
		"/proc/interrupts", // GHSA-6fw5-f8r9-fgfm, as are the thermal files
		"/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", // GHSA-jq35-85cj-fj4p
		"/sys/firmware",
	}, thermal...)
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
