package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"hoy/test/dockerd"
)

// backend is what makes the engines' rules: hoy has no other, and tests choose by it what
// they look at.
const backend = "nftables"

// tests starts an engine and runs every test that is asked for, each in a process of
// its own: one that hangs or crashes takes no other with it.
func (o *options) tests() (results, error) {
	flags := []string{"--cgroup-parent", fmt.Sprintf("/hoy-suite-%d", time.Now().UnixNano()%1e6), "--firewall-backend", backend}
	if o.reference == "" {
		flags = append(flags, "--bridge", "hoy0") // docker0 is of the engines that tests start
	}
	d, err := dockerd.Start(o.bin(), "/tmp/main", flags...)
	if err != nil {
		return nil, err
	}
	defer d.Stop()
	defer func() { os.WriteFile(filepath.Join(o.logs, "engine.log"), []byte(d.Log()), 0o644) }()
	if err := os.MkdirAll(o.logs, 0o755); err != nil {
		return nil, err
	}
	if err := o.load(&api{strings.TrimPrefix(d.Host, "unix://")}); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, d.Log())
	}
	got := results{}
	for _, p := range o.packages {
		names, err := o.list(p, d.Host)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if o.run.MatchString(p + "/" + name) {
				o.test(p, name, d.Host, got)
			}
		}
	}
	return got, nil
}

// testName tells tests from what the program prints besides.
var testName = regexp.MustCompile(`^Test[A-Z]`)

// list asks a program for its tests.
func (o *options) list(p, host string) ([]string, error) {
	c := o.command(context.Background(), p, host, "-test.list", ".")
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list the tests of %s: %w\n%s", p, err, out)
	}
	names := strings.Fields(string(out))
	return slices.DeleteFunc(names, func(n string) bool { return !testName.MatchString(n) }), nil
}

// test runs one test and adds what came of it and of its subtests.
func (o *options) test(p, name, host string, got results) {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout+10*time.Second)
	defer cancel()
	began := time.Now()
	c := o.command(ctx, p, host, "-test.v", "-test.timeout", o.timeout.String(), "-test.run", "^"+name+"$")
	out, err := c.CombinedOutput()
	os.WriteFile(filepath.Join(o.logs, strings.ReplaceAll(p, "/", "-")+"."+name+".log"), out, 0o644)
	l := parse(p, string(out))
	if err != nil && !slices.ContainsFunc(l, func(r result) bool { return r.outcome == "fail" }) {
		l = append(l, result{p + "/" + name, "fail"})
	}
	word := "pass"
	for _, r := range l {
		got[r.test] = r.outcome
		if r.outcome == "fail" || r.outcome == "skip" && word == "pass" && r.test == p+"/"+name {
			word = r.outcome
		}
	}
	fmt.Printf("%-4s  %6.1fs  %s/%s\n", word, time.Since(began).Seconds(), p, name)
}

func (o *options) command(ctx context.Context, p, host string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, o.program(p), args...)
	c.WaitDelay = 5 * time.Second
	c.Dir = o.folder(p)
	c.Env = append(os.Environ(), "PATH="+o.bin()+":"+o.tools()+":"+os.Getenv("PATH"), "DOCKER_HOST="+host, "HOME=/tmp/home", "TMPDIR=/tmp",
		"DOCKER_FIREWALL_BACKEND="+backend, "DEST=/tmp/dest", "DOCKER_INTEGRATION_DAEMON_DEST=/tmp/dest", "TEST_INTEGRATION_CONTAINERD_EMBEDDED=1")
	if o.reference == "" {
		c.Env = append(c.Env, "HOY_SUITE_ENGINE=hoy") // see changes
	}
	return c
}

// api is the way to an engine.
type api struct{ socket string }

func (a *api) post(path string, body []byte) ([]byte, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", a.socket)
	}}}
	r, err := c.Post("http://engine"+path, "application/x-tar", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode >= 300 {
		err = errors.New(r.Status + ": " + string(b))
	}
	return b, err
}
