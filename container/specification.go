package container

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/container/spec"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/seccomp"
	"hoy/linux/selinux"
	"hoy/runtime"
)

// sharedNamespaces are what the container joins instead of having its own.
type sharedNamespaces struct {
	pid, ipc      string // paths; "" by mode
	shm           string // the other's /dev/shm
	network       *Container
	userNS, netNS *os.File
}

func (s sharedNamespaces) close() {
	s.userNS.Close() // on nil it only returns an error
	s.netNS.Close()
}

// share finds the containers whose namespaces rec joins; they must run.
func (c *Containers) share(rec *record) (s sharedNamespaces, err error) {
	h := rec.Host
	if h.PidMode.IsContainer() {
		_, p, err := c.donor(h.PidMode.Container())
		if err != nil {
			return s, fault.New(fault.Internal, "failed to join PID namespace: %w", err)
		}
		s.pid = nsPath(p.Pid, "pid")
	}
	if h.IpcMode.IsContainer() {
		k, p, err := c.donor(h.IpcMode.Container())
		if err == nil {
			s.shm, err = shareableShm(k)
		}
		if err != nil {
			return s, fmt.Errorf("failed to join IPC namespace: %w", err)
		}
		s.ipc = nsPath(p.Pid, "ipc")
	}
	if h.NetworkMode.IsContainer() {
		err = c.shareNetwork(rec, &s)
	}
	return s, err
}

// donor finds a container whose namespaces another joins.
func (c *Containers) donor(ref string) (*Container, *process, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, nil, err
	}
	p, err := k.running()
	return k, p, err
}

// hostShm is the machine's /dev/shm.
const hostShm = "/dev/shm"

// shareableShm is the directory of k's /dev/shm, if it has one that others may have.
func shareableShm(k *Container) (string, error) {
	r := k.rec()
	if r.Host.IpcMode.IsHost() {
		return hostShm, nil
	}
	if r.State.Running == nil || r.State.Running.Shm == "" {
		return "", fault.New(fault.Invalid, "container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", k.id)
	}
	return r.State.Running.Shm, nil
}

// shareNetwork joins the network, and with user namespaces the one that owns it.
func (c *Containers) shareNetwork(rec *record, s *sharedNamespaces) error {
	k, p, err := c.donor(rec.Host.NetworkMode.ConnectedContainer())
	switch {
	case k == nil:
		return fmt.Errorf("joining network namespace of container: %w", err)
	case k.id == rec.ID:
		return fault.New(fault.Invalid, "cannot join own network namespace")
	case err != nil && k.rec().State.Status != apicontainer.StateRestarting:
		return fault.New(fault.Conflict, "cannot join network namespace of a non running container: container %s is %s", k.rec().Name, k.rec().State.Status)
	case err != nil:
		return fmt.Errorf("cannot join network namespace of container: %w", err)
	}
	s.network = k
	k.mu.Lock()
	k.shared = true
	k.mu.Unlock()
	if s.netNS, err = p.netNS(); err != nil {
		return fmt.Errorf("cannot join the network of container %s: %w", k.id, err)
	}
	if c.userMap(rec) != nil {
		if s.userNS, err = os.Open(nsPath(p.Pid, "user")); err != nil {
			s.close()
			return fmt.Errorf("cannot join the user namespace of container %s: %w", k.id, err)
		}
	}
	return nil
}

func nsPath(pid int, ns string) string { return "/proc/" + strconv.Itoa(pid) + "/ns/" + ns }

// specification makes the container's OCI specification and what it refers to.
func (l *launch) specification() (*specs.Spec, error) {
	c, rec := l.c, l.rec
	mounts, err := l.prepareMounts()
	if err != nil {
		return nil, err
	}
	in := c.input(rec)
	in.Mounts = mounts
	in.PIDNS, in.IPCNS, in.ShmPath = l.shared.pid, l.shared.ipc, l.shared.shm
	if err := l.etc(&in); err != nil {
		return nil, err
	}
	switch m := rec.Host.IpcMode; {
	case m.IsHost():
		in.ShmPath = hostShm
	case m.IsContainer():
		l.state.Shm = l.shared.shm // whoever joins this container has the same
	case m.IsShareable():
		if in.ShmPath, err = l.shareShm(); err != nil {
			return nil, err
		}
	}
	if in.User, in.Home, err = runtime.LookupUser(l.root, rec.Config.User, rec.Host.GroupAdd); err != nil {
		return nil, err
	}
	if in.Devices, err = devices(rec.Host); err != nil {
		return nil, err
	}
	if in.BlockDevices, err = blockDevices(rec.Host); err != nil {
		return nil, err
	}
	s, err := spec.Build(in)
	if err != nil {
		return nil, err
	}
	if err := c.injectDevices(s, rec.Host); err != nil {
		return nil, err
	}
	c.mapIDs(s, rec)
	return s, nil
}

// input is the part of spec's input that depends on records alone.
func (c *Containers) input(rec *record) spec.Input {
	in := spec.Input{
		ID: rec.ID, Hostname: rec.Config.Hostname, Config: c.configWithLinks(rec), HostConfig: rec.Host, Host: c.host(),
		CgroupPath:      spec.CgroupPath(rec.Host.CgroupParent, c.o.CgroupParent, rec.ID),
		AppArmorProfile: c.o.AppArmor, SeccompProfile: c.o.SeccompProfile,
	}
	if c.host().Seccomp {
		in.Seccomp = c.seccomp.get
	}
	if c.host().SELinux {
		in.SELinuxLevel = selinux.Level(rec.ID)
	}
	return in
}

// mapIDs tells the maps of the container's user namespace.
func (c *Containers) mapIDs(s *specs.Spec, rec *record) {
	if m := c.userMap(rec); m != nil {
		s.Linux.UIDMappings, s.Linux.GIDMappings = spec.Mappings(m.UIDs), spec.Mappings(m.GIDs)
	}
}

// userMap is the map of the container's user namespace, nil when it has none.
func (c *Containers) userMap(rec *record) *idmap.Map {
	if rec.Host.UsernsMode.IsHost() {
		return nil
	}
	return c.o.UserMap
}

// profiles remembers seccomp profiles: reading one takes longer than a start, and
// nearly all containers have the same.
type profiles struct {
	mu   sync.Mutex
	byID map[string]*specs.LinuxSeccomp
}

// maxProfiles bounds what is remembered: profiles come from callers.
const maxProfiles = 64

// get returns the profile for these capabilities; "" is the built-in one.
func (p *profiles) get(profile string, caps []string) (*specs.LinuxSeccomp, error) {
	id := fmt.Sprint(caps, profile)
	p.mu.Lock()
	s := p.byID[id]
	p.mu.Unlock()
	if s != nil {
		return s, nil
	}
	var err error
	if profile == "" {
		s, err = seccomp.Default(caps)
	} else {
		s, err = seccomp.Parse([]byte(profile), caps)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil || len(p.byID) >= maxProfiles {
		p.byID = map[string]*specs.LinuxSeccomp{}
	}
	p.byID[id] = s
	return s, nil
}

// args is the command line as inspect shows it: the program and its arguments.
func args(c *apicontainer.Config) (string, []string) {
	all := append(append([]string{}, c.Entrypoint...), c.Cmd...)
	return all[0], all[1:]
}
