package image

import (
	"encoding/json"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	stopsignal "github.com/moby/sys/signal"

	"hoy/lib/fault"
)

// changes is a configuration that instructions change one after another.
type changes struct {
	config dockerspec.DockerOCIImageConfig
	cmdSet bool // by one of the instructions
}

func (c *changes) apply(line string) error {
	word, rest := cutSpace(strings.TrimSpace(line))
	do, ok := map[string]func(string) error{
		"CMD": c.cmd, "ENTRYPOINT": c.entrypoint, "ENV": c.env, "EXPOSE": c.expose,
		"HEALTHCHECK": c.healthcheck, "LABEL": c.label, "ONBUILD": c.onbuild,
		"STOPSIGNAL": c.stopsignal, "USER": c.user, "VOLUME": c.volume, "WORKDIR": c.workdir,
	}[strings.ToUpper(word)]
	if !ok {
		return fault.New(fault.Invalid, "%s is not a valid change command", word)
	}
	if rest == "" {
		return fault.New(fault.Invalid, "%s requires at least one argument", strings.ToUpper(word))
	}
	if err := do(rest); err != nil {
		return fault.New(fault.Invalid, "%s: %w", strings.ToUpper(word), err)
	}
	return nil
}

func cutSpace(s string) (first, rest string) {
	i := strings.IndexAny(s, " \t\n\r")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// command reads the exec form, a JSON array, or makes the shell form of the rest.
func command(rest string) (args []string, shell bool) {
	if json.Unmarshal([]byte(rest), &args) == nil && args != nil {
		return args, false
	}
	return []string{"/bin/sh", "-c", rest}, true
}

func (c *changes) cmd(rest string) error {
	c.config.Cmd = first(command(rest))
	c.cmdSet = len(c.config.Cmd) != 0
	return nil
}

func (c *changes) entrypoint(rest string) error {
	c.config.Entrypoint = first(command(rest))
	if !c.cmdSet {
		c.config.Cmd = nil // docker: an entrypoint drops the command that it was not given
	}
	return nil
}

func first(args []string, _ bool) []string { return args }

func (c *changes) env(rest string) error {
	pairs, err := pairs(rest, c.lookup)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if p.key == "" {
			return fault.New(fault.Invalid, "variable names can not be blank")
		}
		kv := p.key + "=" + p.value
		for i, e := range c.config.Env {
			if k, _, _ := strings.Cut(e, "="); k == p.key {
				c.config.Env[i], kv = kv, ""
			}
		}
		if kv != "" {
			c.config.Env = append(c.config.Env, kv)
		}
	}
	return nil
}

// lookup finds a variable that an earlier ENV has set.
func (c *changes) lookup(name string) string {
	for _, e := range c.config.Env {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return v
		}
	}
	return ""
}

func (c *changes) label(rest string) error {
	pairs, err := pairs(rest, c.lookup)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if p.key == "" {
			return fault.New(fault.Invalid, "label names can not be blank")
		}
		if c.config.Labels == nil {
			c.config.Labels = map[string]string{}
		}
		c.config.Labels[p.key] = p.value
	}
	return nil
}

func (c *changes) expose(rest string) error {
	words, err := words(rest, c.lookup)
	if err != nil {
		return err
	}
	sort.Strings(words)
	for _, w := range words {
		ports, err := portRange(w)
		if err != nil {
			return err
		}
		for _, p := range ports {
			if c.config.ExposedPorts == nil {
				c.config.ExposedPorts = map[string]struct{}{}
			}
			c.config.ExposedPorts[p] = struct{}{}
		}
	}
	return nil
}

// portRange reads "80", "80/udp" or "8000-8010/tcp".
func portRange(s string) ([]string, error) {
	span, proto, ok := strings.Cut(s, "/")
	if proto = strings.ToLower(proto); !ok {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, fault.New(fault.Invalid, "invalid containerPort: %s: unknown protocol %q", s, proto)
	}
	lo, hi, isRange := strings.Cut(span, "-")
	if !isRange {
		hi = lo
	}
	a, err1 := strconv.ParseUint(lo, 10, 16)
	b, err2 := strconv.ParseUint(hi, 10, 16)
	if err1 != nil || err2 != nil || b < a {
		return nil, fault.New(fault.Invalid, "invalid containerPort: %s", s)
	}
	var ports []string
	for p := a; p <= b; p++ {
		ports = append(ports, strconv.FormatUint(p, 10)+"/"+proto)
	}
	return ports, nil
}

func (c *changes) onbuild(rest string) error {
	word, _ := cutSpace(rest)
	switch strings.ToUpper(word) {
	case "ONBUILD", "FROM", "MAINTAINER":
		return fault.New(fault.Invalid, "%s isn't allowed as an ONBUILD trigger", strings.ToUpper(word))
	}
	c.config.OnBuild = append(c.config.OnBuild, rest)
	return nil
}

func (c *changes) one(rest string) (string, error) {
	w, err := words(rest, c.lookup)
	if err != nil {
		return "", err
	}
	if len(w) != 1 {
		return "", fault.New(fault.Invalid, "requires exactly one argument")
	}
	return w[0], nil
}

func (c *changes) stopsignal(rest string) (err error) {
	if c.config.StopSignal, err = c.one(rest); err == nil {
		_, err = stopsignal.ParseSignal(c.config.StopSignal) // or no container could be made of the image
	}
	return err
}

func (c *changes) user(rest string) (err error) {
	c.config.User, err = c.one(rest)
	return err
}

func (c *changes) workdir(rest string) error {
	dir, err := expand(rest, c.lookup)
	if err != nil {
		return err
	}
	if !path.IsAbs(dir) {
		dir = path.Join("/", c.config.WorkingDir, dir)
	}
	c.config.WorkingDir = path.Clean(dir)
	return nil
}

func (c *changes) volume(rest string) error {
	var list []string
	if json.Unmarshal([]byte(rest), &list) != nil {
		var err error
		if list, err = words(rest, c.lookup); err != nil {
			return err
		}
	}
	for _, v := range list {
		if v = strings.TrimSpace(v); v == "" {
			return fault.New(fault.Invalid, "VOLUME specified can not be an empty string")
		}
		if c.config.Volumes == nil {
			c.config.Volumes = map[string]struct{}{}
		}
		c.config.Volumes[v] = struct{}{}
	}
	return nil
}

func (c *changes) healthcheck(rest string) error {
	h := &dockerspec.HealthcheckConfig{}
	for {
		word, more := cutSpace(rest)
		if !strings.HasPrefix(word, "--") {
			break
		}
		if err := healthOption(h, strings.TrimPrefix(word, "--")); err != nil {
			return err
		}
		rest = more
	}
	word, rest := cutSpace(rest)
	switch strings.ToUpper(word) {
	case "NONE":
		if rest != "" {
			return fault.New(fault.Invalid, "HEALTHCHECK NONE takes no arguments")
		}
		h = &dockerspec.HealthcheckConfig{Test: []string{"NONE"}}
	case "CMD":
		args, shell := command(rest)
		switch {
		case rest == "" || len(args) == 0:
			return fault.New(fault.Invalid, "missing command after HEALTHCHECK CMD")
		case shell:
			h.Test = []string{"CMD-SHELL", rest}
		default:
			h.Test = append([]string{"CMD"}, args...)
		}
	default:
		return fault.New(fault.Invalid, "unknown type %q in HEALTHCHECK (try CMD)", word)
	}
	c.config.Healthcheck = h
	return nil
}

func healthOption(h *dockerspec.HealthcheckConfig, opt string) error {
	name, value, _ := strings.Cut(opt, "=")
	if name == "retries" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fault.New(fault.Invalid, "--retries cannot be %q", value)
		}
		h.Retries = n
		return nil
	}
	to, ok := map[string]*time.Duration{
		"interval": &h.Interval, "timeout": &h.Timeout,
		"start-period": &h.StartPeriod, "start-interval": &h.StartInterval,
	}[name]
	if !ok {
		return fault.New(fault.Invalid, "unknown flag: %s", name)
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > 0 && d < time.Millisecond {
		return fault.New(fault.Invalid, "Interval %q cannot be less than 1ms", name)
	}
	*to = d
	return nil
}
