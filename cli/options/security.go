package options

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// security returns --security-opt as the engine takes it: seccomp profiles read in,
// systempaths=unconfined told apart.
func (o *Create) security(e Env) (opts []string, unconfinedPaths bool, err error) {
	for _, s := range o.securityOpt.v {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			k, v, ok = strings.Cut(s, ":") // docker's old way
		}
		if !ok && k != "no-new-privileges" && k != "writable-cgroups" {
			return nil, false, fmt.Errorf("invalid --security-opt: %q: write one like seccomp=unconfined, apparmor=PROFILE, label=disable or no-new-privileges", s)
		}
		switch k {
		case "systempaths":
			if v != "unconfined" {
				return nil, false, fmt.Errorf("invalid --security-opt: %q: write systempaths=unconfined", s)
			}
			unconfinedPaths = true
			continue
		case "seccomp":
			if v != "unconfined" && v != "builtin" {
				profile, err := e.readProfile(v)
				if err != nil {
					return nil, false, fmt.Errorf("opening seccomp profile (%s) failed: %w", v, err)
				}
				s = "seccomp=" + profile
			}
		case "apparmor", "label", "no-new-privileges", "writable-cgroups", "credentialspec":
		default:
			return nil, false, fmt.Errorf("invalid --security-opt: %q: known are seccomp, apparmor, label, no-new-privileges, systempaths, writable-cgroups", s)
		}
		opts = append(opts, s)
	}
	return opts, unconfinedPaths, nil
}

func (e Env) readProfile(name string) (string, error) {
	f, err := e.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return "", fmt.Errorf("it is no JSON: %w", err)
	}
	return out.String(), nil
}

// mode checks a namespace mode: one of known, or container:NAME where that is allowed.
func mode(flag, v string, shared bool, known ...string) error {
	if v == "" {
		return nil
	}
	for _, k := range known {
		if v == k {
			return nil
		}
	}
	if shared {
		if name, ok := strings.CutPrefix(v, "container:"); ok && name != "" {
			return nil
		}
		known = append(known, "container:NAME")
	}
	return fmt.Errorf("--%s: invalid %s mode %q: it is one of %s", flag, strings.ToUpper(flag), v, strings.Join(known, ", "))
}

func (o *Create) namespaces() error {
	for _, err := range []error{
		mode("pid", o.pid, true, "host"),
		mode("ipc", o.ipc, true, "none", "private", "shareable", "host"),
		mode("uts", o.uts, false, "host"),
		mode("userns", o.userns, false, "host"),
		mode("cgroupns", o.cgroupns, false, "host", "private"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
