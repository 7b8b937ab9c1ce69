package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// splitHost takes an address of --host apart.
func (o *Options) splitHost(host string) (scheme, rest string, err error) {
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok {
		if strings.HasPrefix(host, "/") {
			return "unix", host, nil
		}
		scheme, rest = "tcp", host
	}
	switch {
	case host == "":
		return "", "", fault.New(fault.Invalid, "--host: want an address")
	case scheme == "fd":
	case scheme == "unix" && rest == "":
		rest = strings.TrimPrefix(dockerSocket, "unix://")
	case scheme == "unix" && filepath.IsAbs(rest):
	case scheme == "tcp":
		rest, _, _ = strings.Cut(rest, "/")
		if rest, err = o.tcpAddress(rest); err != nil {
			return "", "", fault.New(fault.Invalid, "--host %s: %w", host, err)
		}
	default:
		return "", "", fault.New(fault.Invalid, "--host %s: want unix:///path, tcp://address:port or fd://", host)
	}
	return scheme, rest, nil
}

// tcpAddress fills in docker's host and port where they are left out.
func (o *Options) tcpAddress(address string) (string, error) {
	port := "2375"
	if o.TLS {
		port = "2376"
	}
	if address == "" {
		return "localhost:" + port, nil
	}
	if !strings.Contains(address, ":") || strings.HasSuffix(address, "]") {
		address += ":" + port
	}
	host, given, err := net.SplitHostPort(address)
	if err == nil && given == "" {
		address = net.JoinHostPort(host, port)
	}
	return address, err
}

// listen opens the listeners of all hosts, once each; none stays open when one fails.
func (o *Options) listen() (l []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, one := range l {
				one.Close()
			}
		}
	}()
	given := map[string]bool{}
	for _, host := range o.Hosts {
		scheme, rest, err := o.splitHost(host)
		if err != nil {
			return l, err
		}
		if given[scheme+rest] {
			continue
		}
		given[scheme+rest] = true
		var some []net.Listener
		switch scheme {
		case "unix":
			some, err = single(listenUnix(rest, o.Group))
		case "tcp":
			some, err = single(o.listenTCP(rest))
		case "fd":
			some, err = activated(rest)
		}
		if err != nil {
			return l, fmt.Errorf("cannot listen on %s: %w", host, err)
		}
		l = append(l, some...)
	}
	return l, nil
}

func single(l net.Listener, err error) ([]net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// listenUnix replaces a socket that nobody answers on. The group may connect.
func listenUnix(path, group string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fault.New(fault.Conflict, "another engine answers there")
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	gid, err := socketGroup(group)
	if err != nil {
		return nil, err
	}
	// Nobody but root may connect until the group is set. The file has the socket's mode from
	// its bind on; the umask is the whole process's, in which containers start meanwhile.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// socketGroup returns the id of the named group, or of hoy or docker, or root's.
func socketGroup(name string) (int, error) {
	names := []string{name}
	if name == "" {
		names = []string{"hoy", "docker"}
	}
	for _, n := range names {
		if g, err := user.LookupGroup(n); err == nil {
			return strconv.Atoi(g.Gid)
		}
	}
	if gid, err := strconv.Atoi(name); err == nil {
		return gid, nil
	}
	if name != "" && name != "docker" { // dockerd's default: missing is no error
		return 0, fault.New(fault.NotFound, "group %s not found", name)
	}
	return 0, nil
}

// firstActivated is the first descriptor of socket activation, sd_listen_fds(3).
const firstActivated = 3

// activatedSockets says which descriptors systemd has opened for this process.
func activatedSockets() (first, n int) {
	if pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID")); pid != os.Getpid() {
		return 0, 0
	}
	n, _ = strconv.Atoi(os.Getenv("LISTEN_FDS"))
	return firstActivated, max(n, 0)
}

// closeOnExec keeps the sockets that systemd has opened from programs we start.
func closeOnExec() {
	first, n := activatedSockets()
	for i := range n {
		unix.CloseOnExec(first + i)
	}
}

// activated returns the sockets that systemd has opened: all, the one with this
// name, or the one with this number.
func activated(which string) ([]net.Listener, error) {
	first, n := activatedSockets()
	if n == 0 {
		return nil, fault.New(fault.Invalid, "no sockets found via socket activation: make sure the service was started by systemd")
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	var l []net.Listener
	for i := range n {
		fd := first + i
		if which != "" && which != "*" && which != strconv.Itoa(fd) && (i >= len(names) || which != names[i]) {
			continue
		}
		f := os.NewFile(uintptr(fd), "activated")
		one, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return l, err
		}
		l = append(l, one)
	}
	if len(l) == 0 {
		return nil, fault.New(fault.NotFound, "no socket %s among the activated ones", which)
	}
	return l, nil
}

// closeAll closes listeners; unix sockets disappear with theirs.
func closeAll(_ context.Context, l []net.Listener) {
	for _, one := range l {
		one.Close()
	}
}
