package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	hoynet "hoy/linux/netlink"
	"hoy/test/dockerd"
)

// containers starts the two by a docker-like command line.
func (c *carrier) containers(command func(args ...string) *exec.Cmd, image string) error {
	return hoynet.In(c.host, func() error {
		for name, ports := range map[string][]string{"one": nil, "to": {"-p", "18080:80", "-p", "18090:90"}} {
			if _, err := output(command(slices.Concat([]string{"run", "-d", "--name", name}, ports, []string{image, "sleep", "100000"})...)); err != nil {
				return err
			}
			pid, err := output(command("inspect", "-f", "{{.State.Pid}}", name))
			if err != nil {
				return err
			}
			ns, err := os.Open("/proc/" + pid + "/ns/net")
			if err != nil {
				return err
			}
			if name == "one" {
				c.one = ns
			} else {
				c.to = ns
			}
		}
		return nil
	})
}

// carriers are hoy, what it is compared with first, and the engines that are here.
func carriers(dir, reference string) (all []*carrier, err error) {
	add := func(c *carrier, err error) (*carrier, error) {
		if c != nil {
			all = append(all, c)
		}
		return c, err
	}
	h, err := add(newCarrier("hoy"))
	if err != nil {
		return all, err
	}
	var e *engine
	if err := hoynet.In(h.host, func() (err error) { e, err = startEngine(); return err }); err != nil {
		return all, err
	}
	h.close = e.close
	if err := h.containers(e.hoy, "hoy/toolbox"); err != nil {
		return all, err
	}
	if _, err := add(ruled(h, e.bridge())); err != nil {
		return all, err
	}
	if _, err := add(unruled()); err != nil {
		return all, err
	}
	archive := filepath.Join(dir, "toolbox.tar")
	if _, err := output(e.hoy("save", "-o", archive, "hoy/toolbox")); err != nil {
		return all, err
	}
	for name, start := range map[string]func(c *carrier, dir, reference, archive string) error{"docker": startDocker, "podman": startPodman} {
		c, err := newCarrier(name)
		if err != nil {
			return all, err
		}
		if err := start(c, dir, reference, archive); err != nil {
			fmt.Printf("%s does not run here: %v\n", name, err)
			c.close()
			continue
		}
		all = append(all, c)
	}
	return all, nil
}

// startDocker starts the containers by the reference engine.
func startDocker(c *carrier, dir, reference, archive string) (err error) {
	if reference == "" {
		return fmt.Errorf("there is no engine (make reference)")
	}
	var d *dockerd.Daemon
	if err := hoynet.In(c.host, func() (err error) { d, err = dockerd.Start(reference, filepath.Join(dir, "d")); return err }); err != nil {
		return err
	}
	docker := func(args ...string) *exec.Cmd { return hoyAt(d.Host, args...) }
	c.close = func() { docker("rm", "-f", "one", "to").Run(); d.Stop() }
	if _, err := output(docker("load", "-i", archive)); err != nil {
		return err
	}
	return c.containers(docker, "hoy/toolbox")
}

// podmanConf keeps podman's containers below the limits of a machine without
// CAP_SYS_RESOURCE, on the network program that Debian has for it.
const podmanConf = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[network]
network_backend = "netavark"
`

// startPodman starts them by podman; crun, which Debian gives it, knows no machine with
// both versions of cgroups, so that the reference engine's runc is taken where it is there.
func startPodman(c *carrier, dir, reference, archive string) error {
	conf := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(conf, []byte(podmanConf), 0o644); err != nil {
		return err
	}
	options := []string{"--root", dir + "/p/root", "--runroot", dir + "/p/run", "--tmpdir", dir + "/p/tmp", "--network-config-dir", dir + "/p/net",
		"--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none"}
	if runc := filepath.Join(reference, "runc"); reference != "" {
		options = append(options, "--runtime", runc)
	}
	podman := func(args ...string) *exec.Cmd {
		p := exec.Command("podman", slices.Concat(options, args)...)
		p.Env = append(os.Environ(), "CONTAINERS_CONF="+conf)
		return p
	}
	if err := os.Mkdir(dir+"/p", 0o700); err != nil {
		return err
	}
	c.close = func() {
		hoynet.In(c.host, func() error { return podman("rm", "-f", "-t", "0", "-a").Run() })
		podman("rmi", "-f", "-a").Run()
	}
	if _, err := output(podman("load", "-i", archive)); err != nil {
		return err
	}
	return c.containers(podman, "hoy/toolbox")
}
