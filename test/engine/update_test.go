package engine

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// kernel reads a file of the cgroup of a container's first process: v1's or v2's.
func (e *Engine) kernel(name, controller, v1, v2 string) string {
	e.t.Helper()
	groups, err := os.ReadFile("/proc/" + e.Hoy("inspect", "-f", "{{.State.Pid}}", name) + "/cgroup")
	if err != nil {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, c := range strings.Split(part[1], ",") {
			if c == controller {
				return e.content("/sys/fs/cgroup/" + part[1] + part[2] + "/" + v1)
			}
		}
		if part[0] == "0" && v2 != "" {
			if b, err := os.ReadFile("/sys/fs/cgroup" + part[2] + "/" + v2); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
	}
	e.t.Fatalf("no cgroup of controller %s: %s", controller, groups)
	return ""
}

func (e *Engine) content(path string) string {
	e.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestUpdate changes limits of a container that runs, and sees them in the kernel, in
// inspect, and after a restart of the container by another engine.
func TestUpdate(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	limits := []struct {
		option, field, shown string
		controller, v1, v2   string
		want, alternatively  string
	}{
		{"--memory=64m", "Memory", "67108864", "memory", "memory.limit_in_bytes", "memory.max", "67108864", ""},
		{"--memory-swap=-1", "MemorySwap", "-1", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max", "9223372036854771712", "max"},
		{"--memory-swap=100m", "MemorySwap", "104857600", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max", "104857600", "37748736"},
		{"--memory-reservation=32m", "MemoryReservation", "33554432", "memory", "memory.soft_limit_in_bytes", "memory.low", "33554432", ""},
		{"--cpu-shares=2048", "CpuShares", "2048", "cpu", "cpu.shares", "cpu.weight", "2048", "170"},
		{"--cpu-period=50000", "CpuPeriod", "50000", "cpu", "cpu.cfs_period_us", "cpu.max", "50000", "max 50000"},
		{"--cpu-quota=20000", "CpuQuota", "20000", "cpu", "cpu.cfs_quota_us", "cpu.max", "20000", "20000 50000"},
		{"--cpuset-cpus=0", "CpusetCpus", "0", "cpuset", "cpuset.cpus", "cpuset.cpus", "0", ""},
		{"--cpuset-mems=0", "CpusetMems", "0", "cpuset", "cpuset.mems", "cpuset.mems", "0", ""},
		{"--pids-limit=77", "PidsLimit", "77", "pids", "pids.max", "pids.max", "77", ""},
		{"--pids-limit=-1", "PidsLimit", "0", "pids", "pids.max", "pids.max", "max", ""},
	}
	see := func(when string, i int) {
		l := limits[i]
		if got := e.kernel("con", l.controller, l.v1, l.v2); got != l.want && got != l.alternatively {
			t.Errorf("%s %s: the kernel has %s", when, l.option, got)
		}
		if got := e.Hoy("inspect", "-f", "{{json .HostConfig."+l.field+"}}", "con"); strings.Trim(got, `"`) != l.shown {
			t.Errorf("%s %s: inspect shows %s", when, l.option, got)
		}
	}
	for i := range limits {
		if out := e.Hoy("update", limits[i].option, "con"); out != "con" {
			t.Errorf("update %s: %s", limits[i].option, out)
		}
		see("after", i)
	}
	e.Kill()
	e.Up()
	e.Hoy("restart", "-t", "0", "con")
	for _, i := range []int{0, 2, 3, 4, 5, 6, 7, 8, 10} {
		see("started again with", i)
	}
	e.Hoy("run", "-d", "--name", "other", "busybox", "sleep", "1000")
	e.Hoy("update", "--cpus=0.5", "--restart=on-failure:3", "other")
	if got := e.kernel("other", "cpu", "cpu.cfs_quota_us", "cpu.max"); got != "50000" && got != "50000 100000" {
		t.Errorf("--cpus: the kernel has %s", got)
	}
	if got := e.Hoy("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.NanoCpus}}", "other"); got != "on-failure 3 500000000" {
		t.Errorf("inspect shows %s", got)
	}
	if out := e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "event=update", "--format", "{{.Actor.Attributes.name}}"); out != "other" {
		t.Errorf("events: %s", out)
	}
}

// TestUpdateRefused changes nothing where anything cannot be.
func TestUpdateRefused(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--rm", "--name", "con", "--memory=64m", "--pids-limit=50", "busybox", "sleep", "1000")
	for options, want := range map[string]string{
		"":                                  "you must provide one or more flags",
		"--memory=1m":                       "Minimum memory limit allowed is 6MB",
		"--memory=1g":                       "update the memoryswap at the same time",
		"--cpuset-cpus=900":                 "Requested CPUs are not available",
		"--restart=always --pids-limit=60":  "Restart policy cannot be updated because AutoRemove is enabled",
		"--device-read-bps=/dev/null:1mb":   "not a block device",
		"--cpu-period=1000 --cpu-quota=999": "CPU cfs quota can not be less than 1ms",
	} {
		r := e.Try(append(append([]string{"update"}, strings.Fields(options)...), "con")...)
		if r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("update %s: %+v", options, r)
		}
	}
	if r := e.Try("update", "--pids-limit=5", "none"); r.Code != 1 || !strings.Contains(r.Stderr, "No such container: none") {
		t.Errorf("of none: %+v", r)
	}
	if got := e.kernel("con", "pids", "pids.max", "pids.max"); got != "50" {
		t.Errorf("the kernel has %s", got)
	}
	if got := e.Hoy("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}", "con"); got != fmt.Sprint(64<<20, " 50 no") {
		t.Errorf("inspect shows %s", got)
	}
}
