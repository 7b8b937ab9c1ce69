package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// splitHost takes an address of --host apart.
func splitHost(host string) (scheme, rest string, err error) {
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok {
		if strings.HasPrefix(host, "/") {
			return "unix", host, nil
		}
		scheme, rest = "tcp", host
	}
	switch {
	case scheme == "fd":
	case scheme == "unix" && rest == "":
		rest = strings.TrimPrefix(dockerSocket, "unix://")
	case scheme == "unix" && filepath.IsAbs(rest):
	case scheme == "tcp":
		rest, _, _ = strings.Cut(rest, "/")
		if _, _, err := net.SplitHostPort(rest); err != nil {
			return "", "", fault.New(fault.Invalid, "--host %s: %w", host, err)
		}
	default:
		return "", "", fault.New(fault.Invalid, "--host %s: want unix:///path, tcp://address:port or fd://", host)
	}
	return scheme, rest, nil
}

// listen opens the listeners of all hosts; none stays open when one fails.
func (o *Options) listen() (l []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, one := range l {
				one.Close()
			}
		}
	}()
	for _, host := range o.Hosts {
		scheme, rest, err := splitHost(host)
		if err != nil {
			return l, err
		}
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
	// Nobody but root may connect until the group is set.
	old := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
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

func (o *Options) listenTCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil || !o.TLS {
		return l, err
	}
	config, err := o.tlsConfig()
	if err != nil {
		l.Close()
		return nil, err
	}
	return tls.NewListener(l, config), nil
}

func (o *Options) tlsConfig() (*tls.Config, error) {
	if o.TLSCert == "" || o.TLSKey == "" {
		return nil, fault.New(fault.Invalid, "TLS needs --tlscert and --tlskey")
	}
	cert, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("cannot load the certificate: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if !o.TLSVerify {
		return c, nil
	}
	if o.TLSCACert == "" {
		return nil, fault.New(fault.Invalid, "--tlsverify needs --tlscacert")
	}
	pem, err := os.ReadFile(o.TLSCACert)
	if err != nil {
		return nil, fmt.Errorf("cannot load the authority: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "cannot load the authority: no certificate in %s", o.TLSCACert)
	}
	return c, nil
}

// firstActivated is the first descriptor of socket activation, sd_listen_fds(3).
const firstActivated = 3

// activated returns the sockets that systemd has opened: all, the one with this
// name, or the one with this number.
func activated(which string) ([]net.Listener, error) {
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID")); pid != os.Getpid() || n < 1 {
		return nil, fault.New(fault.Invalid, "no sockets found via socket activation: make sure the service was started by systemd")
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	var l []net.Listener
	for i := range n {
		fd := firstActivated + i
		if which != "" && which != "*" && which != strconv.Itoa(fd) && (i >= len(names) || which != names[i]) {
			continue
		}
		unix.CloseOnExec(fd)
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
