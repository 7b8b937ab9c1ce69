package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stage is set in the processes below: first the init of the namespaces, then what
// runs the tests.
const stage = "HOY_SUITE_STAGE"

func inside() bool {
	if os.Getenv(stage) == "init" {
		os.Exit(asInit())
	}
	return os.Getenv(stage) == "run"
}

// enter runs this program again in mount, network and process namespaces of its own:
// whatever the tests leave running or mounted ends with them.
func enter() error {
	dir, err := os.MkdirTemp("/var/tmp", "suite")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), stage+"=init", "HOY_SUITE_DIR="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Cloneflags: unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := c.Run(); err != nil {
		if c.ProcessState != nil && c.ProcessState.ExitCode() > 0 {
			return errors.New("the outcome is not the expected one")
		}
		return fmt.Errorf("cannot run in namespaces of our own: %w", err)
	}
	return nil
}

// asInit prepares the namespaces, runs the tests and reaps what they leave.
func asInit() int {
	if err := prepare(os.Getenv("HOY_SUITE_DIR")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(stage, "run")
	child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 1
		}
		if pid == child.Pid {
			return status.ExitStatus()
		}
	}
}

// prepare hides the places where engines and their tests write by default.
func prepare(dir string) error {
	if err := network(); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cannot make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	for _, p := range []string{"/tmp", "/run", "/var/lib/docker", "/etc/docker"} {
		source := dir + p
		if err := errors.Join(os.MkdirAll(source, 0o755), os.MkdirAll(p, 0o755)); err != nil {
			return err
		}
		if err := unix.Mount(source, p, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot mount over %s: %w", p, err)
		}
	}
	// dockerd with nftables refuses networks where the host does not forward; moby's own
	// scripts set it, too.
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+key, []byte("1"), 0); err != nil {
			return fmt.Errorf("cannot let the host forward: %w", err)
		}
	}
	if err := unix.Mount("shm", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("cannot mount /dev/shm: %w", err)
	}
	return os.Chmod("/tmp", 0o1777)
}

// network brings up the links that every machine has: lo, and eth0 with an address, which
// leads nowhere here.
func network() error {
	eth0 := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "nowhere"}
	if err := netlink.LinkAdd(eth0); err != nil {
		return fmt.Errorf("cannot make a link eth0: %w", err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 51, 100, 2), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(eth0, address); err != nil {
		return fmt.Errorf("cannot give eth0 an address: %w", err)
	}
	for _, name := range []string{"lo", "nowhere", "eth0"} {
		link, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			return fmt.Errorf("cannot set up the link %s: %w", name, err)
		}
	}
	return nil
}
