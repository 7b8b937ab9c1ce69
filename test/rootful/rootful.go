// Package rootful runs tests that need root apart from the machine they run on,
// and shows that they leave nothing behind.
//
// A package with rootful tests has
//
//	func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }
//
// and each of its rootful tests starts with rootful.Check(t).
package rootful

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/netlink"
)

// inside marks the re-executed test binary, which already has its own namespaces.
// Its value is the path of the network namespace that it left.
const inside = "HOY_TEST_INSIDE"

// Main runs the tests of m in a mount and a network namespace of their own, by
// executing the test binary again in them; the loopback link there is up. Without
// root it runs the tests in place, where those that call Check fail with one line.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run()
	}
	if os.Getenv(inside) != "" {
		if err := loopback(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot run the tests in namespaces of their own: %v\n", err)
			return 1
		}
		return m.Run()
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Args[0] = os.Args[0]
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), fmt.Sprintf("%s=/proc/%d/ns/net", inside, os.Getpid()))
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	// go test's -timeout sends SIGQUIT to this process: pass it on, for the stacks.
	sig := make(chan os.Signal, 4)
	signal.Notify(sig, syscall.SIGQUIT, syscall.SIGINT, syscall.SIGTERM)
	if err := c.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot run the tests in namespaces of their own: %v\n", err)
		return 1
	}
	go func() {
		for s := range sig {
			c.Process.Signal(s)
		}
	}()
	if err := c.Wait(); err != nil {
		if code := c.ProcessState.ExitCode(); code > 0 {
			return code
		}
		fmt.Fprintf(os.Stderr, "the tests ended: %v\n", err)
		return 1
	}
	return 0
}

func loopback() error {
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	return netlink.LoopbackUp(ns)
}

// OnHostNetwork changes c to run in the machine's own network namespace, for the few
// things that come from outside: packages.
func OnHostNetwork(c *exec.Cmd) *exec.Cmd {
	args := append([]string{"nsenter", "--net=" + os.Getenv(inside), "--", c.Path}, c.Args[1:]...)
	n := exec.Command(args[0], args[1:]...)
	n.Env, n.Dir, n.Stdin, n.Stdout, n.Stderr = c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr
	return n
}

// Need fails t in one line when it does not run as root in namespaces of its own.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatalf("%s needs root: run it by 'make test', which becomes root", t.Name())
	}
	if os.Getenv(inside) == "" {
		t.Fatalf("%s runs outside of namespaces of its own: its package lacks a TestMain that calls rootful.Main", t.Name())
	}
}
