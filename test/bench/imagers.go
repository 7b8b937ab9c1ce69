package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"hoy/test/built"
	"hoy/test/dockerd"
)

// imagers starts what else loads and pulls images here: podman, and docker where its
// engine is in the directory reference. What is missing is said.
func imagers(dir, reference string) (all []imager) {
	if _, err := exec.LookPath("podman"); err == nil {
		all = append(all, imager{name: "podman", pull: []string{"--tls-verify=false"}, close: func() {}, command: func(args ...string) *exec.Cmd {
			return exec.Command("podman", append([]string{"--root", dir + "/podman", "--runroot", dir + "/podman-run", "--storage-driver", "overlay"}, args...)...)
		}})
	} else {
		fmt.Println("podman: not installed")
	}
	if reference == "" {
		fmt.Println("docker: no engine (make reference)")
		return all
	}
	client, err := built.Docker.Build()
	if err != nil {
		fmt.Println("docker:", err)
		return all
	}
	d, err := dockerd.Start(reference, dir+"/d", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	if err != nil {
		fmt.Println("docker:", err)
		return all
	}
	return append(all, imager{name: "docker", close: func() { d.Stop() }, command: func(args ...string) *exec.Cmd {
		return exec.Command(client, append([]string{"-H", d.Host}, args...)...)
	}})
}

// registryProcess is hoy's registry, in a directory of its own.
type registryProcess struct {
	host string
	cmd  *exec.Cmd
}

func startRegistry(dir string) (*registryProcess, error) {
	r := &registryProcess{cmd: exec.Command("bin/hoy-registry", "--data", filepath.Join(dir, "registry"), "--listen", "127.0.0.1:0")}
	out, err := r.cmd.StderrPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		if _, after, ok := strings.Cut(s.Text(), "127.0.0.1:"); ok {
			port, _, _ := strings.Cut(after, " ")
			r.host = "127.0.0.1:" + strings.TrimRight(port, "/.,")
			go func() {
				for s.Scan() {
				}
			}()
			return r, nil
		}
	}
	r.close()
	return nil, fmt.Errorf("the registry does not say where it listens")
}

func (r *registryProcess) close() {
	r.cmd.Process.Signal(syscall.SIGTERM)
	r.cmd.Wait()
}

// referenceEngine is where the reference engine is, if it is there.
func referenceEngine(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, "dockerd")); err != nil {
		return ""
	}
	return dir
}
