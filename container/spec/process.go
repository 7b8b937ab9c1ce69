package spec

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
	"hoy/linux/caps"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func process(in *Input, held []string) (*specs.Process, error) {
	args := append(slices.Clone(in.Config.Entrypoint), in.Config.Cmd...)
	if len(args) == 0 {
		return nil, fault.New(fault.Invalid, "no command specified")
	}
	user := in.User
	if in.HostConfig.Umask != nil {
		user.Umask = in.HostConfig.Umask
	}
	adj := in.HostConfig.OomScoreAdj
	p := &specs.Process{
		Terminal:     in.Config.Tty,
		User:         user,
		Args:         args,
		Env:          ProcessEnv(in.Config, in.Hostname, in.Home),
		Cwd:          in.Config.WorkingDir,
		Capabilities: capabilities(held),
		Rlimits:      rlimits(in),
		OOMScoreAdj:  &adj,
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	if size := in.HostConfig.ConsoleSize; in.Config.Tty && size != [2]uint{} {
		p.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	return p, nil
}

// UsesInit reports whether the runtime is to put an init before the program
// (runtime.Container.Init): not where the container shares a PID namespace,
// which has an init already.
func UsesInit(h *container.HostConfig, host Host) bool {
	wanted := host.Init
	if h.Init != nil {
		wanted = *h.Init
	}
	return wanted && h.PidMode.IsPrivate()
}

// capabilities leaves the inheritable and ambient sets empty (CVE-2022-24769).
func capabilities(held []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: held, Effective: held, Permitted: held}
}

// rlimits are the container's own and those of the engine's that it does not set.
func rlimits(in *Input) []specs.POSIXRlimit {
	var limits []specs.POSIXRlimit
	for _, list := range [][]*container.Ulimit{in.HostConfig.Ulimits, in.Host.Ulimits} {
		for _, u := range list {
			name := "RLIMIT_" + strings.ToUpper(u.Name)
			if slices.ContainsFunc(limits, func(l specs.POSIXRlimit) bool { return l.Type == name }) {
				continue
			}
			limits = append(limits, specs.POSIXRlimit{Type: name, Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
		}
	}
	return limits
}

// ProcessEnv returns the environment docker gives a container's first process:
// PATH, HOSTNAME, TERM with a terminal and HOME, each replaced by c's own value
// where it has one. An entry of c without "=" takes the variable away.
func ProcessEnv(c *container.Config, hostname, home string) []string {
	env := make([]string, 0, len(c.Env)+4)
	env = append(env, defaultPath, "HOSTNAME="+hostname)
	if c.Tty {
		env = append(env, "TERM=xterm")
	}
	env = override(env, c.Env)
	if home == "" {
		home = "/"
	}
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		env = append(env, "HOME="+home)
	}
	return env
}

// override sets the variables of own in base, in base's place where it has
// them. It is linear in the number of variables: there may be ten thousand.
func override(base, own []string) []string {
	at := make(map[string]int, len(base)+len(own))
	for i, e := range base {
		name, _, _ := strings.Cut(e, "=")
		at[name] = i
	}
	removed := false
	for _, e := range own {
		name, _, set := strings.Cut(e, "=")
		i, known := at[name]
		switch {
		case !set && known:
			base[i], removed = "", true
			delete(at, name)
		case !set:
		case known:
			base[i] = e
		default:
			at[name] = len(base)
			base = append(base, e)
		}
	}
	if removed {
		base = slices.DeleteFunc(base, func(e string) bool { return e == "" })
	}
	return base
}

// ExecRequest is a resolved `exec`.
type ExecRequest struct {
	Config     *container.Config // the container's
	Args       []string
	Env        []string    // over the container's
	Cwd        string      // "" = the container's
	User       *specs.User // numeric; nil = the container's
	Home       string      // of User
	Terminal   bool
	Privileged bool // every capability, no AppArmor profile
}

// ExecProcess makes the process of an exec in a container with specification s.
func ExecProcess(s *specs.Spec, r ExecRequest) (*specs.Process, error) {
	if len(r.Args) == 0 {
		return nil, fault.New(fault.Invalid, "no exec command specified")
	}
	p := *s.Process
	p.Args, p.Terminal, p.ConsoleSize = r.Args, r.Terminal, nil
	config := *r.Config
	config.Tty = r.Terminal
	config.Env = append(slices.Clone(r.Config.Env), r.Env...)
	home := r.Home
	if r.User == nil {
		home = envValue(s.Process.Env, "HOME")
	}
	p.Env = ProcessEnv(&config, envValue(s.Process.Env, "HOSTNAME"), home)
	if r.Cwd != "" {
		p.Cwd = r.Cwd
	}
	if r.User != nil {
		umask := p.User.Umask
		p.User = *r.User
		p.User.Umask = umask
	}
	if r.Privileged {
		all, err := caps.Tweak(nil, nil, nil, true)
		if err != nil {
			return nil, err
		}
		p.Capabilities = capabilities(all)
		p.ApparmorProfile = ""
	}
	return &p, nil
}

func envValue(env []string, name string) string {
	for _, e := range env {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return v
		}
	}
	return ""
}
