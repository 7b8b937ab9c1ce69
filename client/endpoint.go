package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// DefaultSocket is where an engine listens unless told otherwise.
const DefaultSocket = "/run/hoy/hoy.sock"

// Endpoint is the address of an engine.
type Endpoint struct {
	// Host is unix:///PATH, tcp://HOST:PORT, ssh://[USER@]HOST[:PORT], or
	// npipe:////./pipe/NAME on Windows.
	Host string
	// TLS is used with tcp; nil means plain HTTP.
	TLS *tls.Config
}

func (e Endpoint) check() error {
	scheme, rest, ok := strings.Cut(e.Host, "://")
	if !ok || rest == "" {
		return fmt.Errorf("cannot understand the host %q: it is written like unix:///run/hoy/hoy.sock, tcp://10.0.0.5:2376 or ssh://user@server", e.Host)
	}
	switch scheme {
	case "ssh":
		if u, err := url.Parse(e.Host); err != nil {
			return err
		} else if _, has := u.User.Password(); has {
			return fmt.Errorf("cannot use the host %s: ssh takes no password from an address; use a key", u.Redacted())
		}
		return nil
	case "unix", "tcp", "http", "https", "npipe":
		return nil
	}
	return fmt.Errorf("cannot reach the host %q: the ways to an engine are unix://, tcp://, ssh:// and, on Windows, npipe://", e.Host)
}

// Dial connects to the engine.
func (e Endpoint) Dial(ctx context.Context) (net.Conn, error) {
	scheme, rest, _ := strings.Cut(e.Host, "://")
	var d net.Dialer
	switch scheme {
	case "unix":
		return d.DialContext(ctx, "unix", rest)
	case "npipe":
		return dialPipe(ctx, rest)
	case "ssh":
		u, err := url.Parse(e.Host)
		if err != nil {
			return nil, err
		}
		return dialSSH(ctx, u)
	}
	rest, _, _ = strings.Cut(rest, "/")
	if _, _, err := net.SplitHostPort(rest); err != nil {
		port := "2375"
		if e.TLS != nil {
			port = "2376"
		}
		rest = net.JoinHostPort(strings.Trim(rest, "[]"), port)
	}
	c, err := d.DialContext(ctx, "tcp", rest)
	if err != nil || e.TLS == nil {
		return c, err
	}
	conf := e.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(rest)
	}
	t := tls.Client(c, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// absent reports whether a failure to dial means that nobody listens there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
