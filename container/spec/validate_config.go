package spec

import (
	"path"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/sys/signal"
)

// maxHostname is the kernel's limit (uts_namespaces(7), __NEW_UTS_LEN).
const maxHostname = 64

func (v *validation) config() error {
	c := v.c
	if len(c.Hostname) > maxHostname {
		return invalid("hostname %q is too long (maximum %d bytes)", c.Hostname, maxHostname)
	}
	if len(c.Domainname) > maxHostname {
		return invalid("domainname %q is too long (maximum %d bytes)", c.Domainname, maxHostname)
	}
	if c.WorkingDir != "" {
		if !path.IsAbs(c.WorkingDir) {
			return invalid("the working directory '%s' is invalid, it needs to be an absolute path", c.WorkingDir)
		}
		c.WorkingDir = path.Clean(c.WorkingDir)
	}
	if c.StopSignal != "" {
		if _, err := signal.ParseSignal(c.StopSignal); err != nil {
			return invalid("%w", err)
		}
	}
	if c.StopTimeout != nil && *c.StopTimeout < -1 {
		return invalid("invalid stop timeout %d: must be -1 (wait for ever) or more seconds", *c.StopTimeout)
	}
	for port := range c.ExposedPorts {
		if !port.IsValid() || port.Num() == 0 {
			return invalid("invalid port specification: %q", port.String())
		}
	}
	if c.ArgsEscaped {
		v.warn("linux does not use ArgsEscaped. ArgsEscaped discarded.")
		c.ArgsEscaped = false
	}
	if c.NetworkDisabled {
		v.h.NetworkMode = "none"
	}
	return v.strings()
}

// strings refuses what no system call could take: a NUL in what becomes a C string.
func (v *validation) strings() error {
	c := v.c
	for _, e := range c.Env {
		if e == "" || e[0] == '=' {
			return invalid("invalid environment variable: %s", e)
		}
	}
	for what, list := range map[string][]string{
		"environment variable": c.Env, "command": c.Cmd, "entrypoint": c.Entrypoint,
		"user": {c.User}, "working directory": {c.WorkingDir}, "hostname": {c.Hostname, c.Domainname},
	} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return invalid("invalid %s: %q contains a NUL byte", what, shorten(s))
			}
		}
	}
	return nil
}

func (v *validation) health() error {
	health := v.c.Healthcheck
	if health == nil {
		return nil
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Interval", health.Interval}, {"Timeout", health.Timeout},
		{"StartPeriod", health.StartPeriod}, {"StartInterval", health.StartInterval},
	} {
		if d.value != 0 && d.value < container.MinimumDuration {
			return invalid("%s in Healthcheck cannot be less than %s", d.name, container.MinimumDuration)
		}
	}
	if health.Retries < 0 {
		return invalid("Retries in Healthcheck cannot be negative")
	}
	if len(health.Test) > 0 {
		switch health.Test[0] {
		case "NONE":
			return nil
		case "CMD", "CMD-SHELL":
		default:
			return invalid("unknown type '%s' in Healthcheck (expected 'NONE', 'CMD' or 'CMD-SHELL')", health.Test[0])
		}
	}
	return nil
}
