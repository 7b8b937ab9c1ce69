package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"time"
)

// dialSSH runs `ssh HOST hoy system dial-stdio` and speaks to its standard streams.
func dialSSH(ctx context.Context, u *url.URL) (net.Conn, error) {
	args := []string{"-T", "-o", "ConnectTimeout=30"}
	if u.User != nil {
		args = append(args, "-l", u.User.Username())
	}
	if u.Port() != "" {
		args = append(args, "-p", u.Port())
	}
	args = append(args, "--", u.Hostname(), "hoy")
	if u.Path != "" && u.Path != "/" {
		args = append(args, "--host", "unix://"+u.Path)
	}
	args = append(args, "system", "dial-stdio")
	// The command outlives ctx, which bounds the dialling only.
	c := &sshConn{cmd: exec.Command("ssh", args...)}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	c.cmd.Stderr = &c.errs
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot run ssh: %w", err)
	}
	return c, nil
}

// sshConn is a connection made of a command's standard streams.
type sshConn struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	errs bytes.Buffer
	done bool
}

func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if err != nil && !c.done {
		c.done = true
		if c.cmd.Wait() != nil && c.errs.Len() > 0 {
			return n, fmt.Errorf("ssh: %s", strings.TrimSpace(c.errs.String()))
		}
	}
	return n, err
}

func (c *sshConn) Write(p []byte) (int, error) { return c.in.Write(p) }
func (c *sshConn) CloseWrite() error           { return c.in.Close() }

func (c *sshConn) Close() error {
	c.in.Close()
	c.cmd.Process.Kill()
	return c.out.Close()
}

type sshAddr struct{}

func (sshAddr) Network() string { return "ssh" }
func (sshAddr) String() string  { return "ssh" }

func (c *sshConn) LocalAddr() net.Addr  { return sshAddr{} }
func (c *sshConn) RemoteAddr() net.Addr { return sshAddr{} }

// SetDeadline knows one deadline, the past: it ends the connection.
func (c *sshConn) SetDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		return c.Close()
	}
	return nil
}
func (c *sshConn) SetReadDeadline(t time.Time) error  { return c.SetDeadline(t) }
func (c *sshConn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }
