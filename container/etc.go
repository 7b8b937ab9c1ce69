package container

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/linux/selinux"
	"hoy/network"
)

// etc writes the files that are mounted under /etc: each start may have another
// address. A container in another's network has that one's files.
func (l *launch) etc(in *spec.Input) error {
	c, rec := l.c, l.rec
	if other := l.shared.network; other != nil {
		dir := c.dir(other.id)
		in.HostsFile, in.ResolvConf, in.HostnameFile = filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "hostname")
		if rec.Config.Hostname == "" {
			in.Hostname = other.rec().Config.Hostname
		}
		return nil
	}
	hosts, err := c.hosts(rec, l.sandbox.Endpoints)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		content []byte
		path    *string
	}{
		{"hosts", hosts, &in.HostsFile},
		{"resolv.conf", c.resolvConf(rec, l.sandbox.Endpoints), &in.ResolvConf},
		{"hostname", []byte(rec.Config.Hostname + "\n"), &in.HostnameFile},
	} {
		*f.path = filepath.Join(c.dir(rec.ID), f.name)
		if err := c.writeEtc(rec, *f.path, f.content); err != nil {
			return fmt.Errorf("cannot write /etc/%s: %w", f.name, err)
		}
	}
	return nil
}

// writeEtc writes a file that the container's root may change.
func (c *Containers) writeEtc(rec *record, path string, content []byte) error {
	if err := overwrite(path, content, 0o644); err != nil {
		return err
	}
	label, err := c.fileLabel(rec)
	if err != nil {
		return err
	}
	if label != "" {
		if err := selinux.Relabel(path, label); err != nil {
			return err
		}
	}
	m := c.userMap(rec)
	if m == nil {
		return nil
	}
	uid, _ := m.UID(0)
	gid, _ := m.GID(0)
	return os.Chown(path, int(uid), int(gid))
}

func orDefault[T any](own, engine []T) []T {
	if len(own) > 0 {
		return own
	}
	return engine
}

// resolvConf is /etc/resolv.conf: on a network with names it is the keeper that answers.
func (c *Containers) resolvConf(rec *record, endpoints []network.Endpoint) []byte {
	r := network.ResolvConf{
		Servers: orDefault(rec.Host.DNS, c.o.DNS), Search: orDefault(rec.Host.DNSSearch, c.o.DNSSearch), Options: orDefault(rec.Host.DNSOptions, c.o.DNSOptions),
	}
	switch {
	case rec.Host.NetworkMode.IsHost():
		return r.OnHost()
	case slices.ContainsFunc(endpoints, func(e network.Endpoint) bool { return userDefined(e.Network) }):
		return r.WithNames()
	}
	return r.Isolated(slices.ContainsFunc(endpoints, func(e network.Endpoint) bool { return e.Address6.IsValid() }))
}

// hosts is /etc/hosts: on the host's network the host's own with the extra names.
func (c *Containers) hosts(rec *record, endpoints []network.Endpoint) ([]byte, error) {
	extra, err := c.extraHosts(rec)
	if err != nil {
		return nil, err
	}
	if rec.Host.NetworkMode.IsHost() {
		b, err := os.ReadFile("/etc/hosts")
		if err != nil {
			return network.Hosts(extra, false), nil
		}
		for _, h := range extra {
			b = fmt.Appendf(b, "%s\t%s\n", h.Address, strings.Join(h.Names, " "))
		}
		return b, nil
	}
	linked, err := c.linkedHosts(rec)
	if err != nil {
		return nil, err
	}
	extra = append(extra, linked...)
	names := ownNames(rec.Config)
	for _, e := range endpoints {
		for _, a := range []netip.Prefix{e.Address, e.Address6} {
			if a.IsValid() {
				extra = append(extra, network.Host{Address: a.Addr(), Names: names})
			}
		}
	}
	return network.Hosts(extra, rec.noIPv6()), nil
}

// ownNames are a container's host name with its domain, wherever that was given, and
// without.
func ownNames(c *apicontainer.Config) []string {
	name := c.Hostname
	if c.Domainname != "" {
		name += "." + c.Domainname
	}
	if bare, _, found := strings.Cut(name, "."); found {
		return []string{name, bare}
	}
	return []string{name}
}

// extraHosts are the names that the container was given, and that of its host.
func (c *Containers) extraHosts(rec *record) ([]network.Host, error) {
	var list []network.Host
	own := rec.Host.NetworkMode.IsHost() || rec.Host.NetworkMode.IsNone()
	for _, e := range rec.Host.ExtraHosts {
		name, address, _ := strings.Cut(e, ":")
		own = own || name == hostName
		addresses, err := c.addressesOf(address)
		if err != nil {
			return nil, fmt.Errorf("cannot add host %s: %w", name, err)
		}
		for _, a := range addresses {
			list = append(list, network.Host{Address: a, Names: []string{name}})
		}
	}
	if !own && c.o.HostGateway.IsValid() {
		list = append(list, network.Host{Address: c.o.HostGateway, Names: []string{hostName}})
	}
	return list, nil
}

// addressesOf reads the address of an extra host: host-gateway is the engine's own.
func (c *Containers) addressesOf(text string) (l []netip.Addr, _ error) {
	if text != "host-gateway" {
		a, err := netip.ParseAddr(strings.Trim(text, "[]"))
		return []netip.Addr{a}, err
	}
	for _, a := range []netip.Addr{c.o.HostGateway, c.o.HostGateway6} {
		if a.IsValid() {
			l = append(l, a)
		}
	}
	if l == nil {
		return nil, errors.New("there is no default network whose gateway host-gateway could be")
	}
	return l, nil
}

// shareShm mounts a tmpfs that is the container's /dev/shm and that of the
// containers which join its IPC namespace.
func (l *launch) shareShm() (string, error) {
	dir := l.c.shmDir(l.k.id)
	unix.Unmount(dir, unix.MNT_DETACH) // of a start that was cut short
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make /dev/shm: %w", err)
	}
	options := fmt.Sprintf("mode=1777,size=%d", l.rec.Host.ShmSize)
	if m := l.c.userMap(l.rec); m != nil {
		uid, _ := m.UID(0)
		gid, _ := m.GID(0)
		options += fmt.Sprintf(",uid=%d,gid=%d", uid, gid)
	}
	label, err := l.c.fileLabel(l.rec)
	if err != nil {
		return "", err
	}
	if label != "" {
		options += fmt.Sprintf(",context=%q", label)
	}
	if err := unix.Mount("shm", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return "", fmt.Errorf("cannot make /dev/shm: mount %s: %w", dir, err)
	}
	l.undo.Add(func() { l.c.unshareShm(l.k.id) })
	l.state.Shm = dir
	return dir, nil
}

func (c *Containers) unshareShm(id string) {
	dir := c.shmDir(id)
	unix.Unmount(dir, unix.MNT_DETACH)
	os.Remove(dir)
}
