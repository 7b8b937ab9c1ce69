package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Limit is an option that limits a container, and where the kernel shows it.
type Limit struct {
	Option string // as run takes it; {dev} is a block device
	V1, V2 Shown
	Plain  bool // not of a control group: the same everywhere, in the container's /proc
}

// Shown is a line of a file, "cpu.max: 50000 100000", {n} the number of {dev}; or in
// brackets what the engine answers instead.
type Shown string

// Limits is every option that limits a container's resources, with its effect as the
// kernel shows it on cgroup v1 and v2. Tests hold each line on the kernel they run on,
// and the page PARITY.md is made of them.
func Limits() []Limit {
	return []Limit{
		{Option: "--memory 64m", V1: "memory.limit_in_bytes: 67108864", V2: "memory.max: 67108864"},
		{Option: "--memory 64m --memory-swap 96m", V1: "memory.memsw.limit_in_bytes: 100663296", V2: "memory.swap.max: 33554432"},
		{Option: "--memory 64m --memory-swap -1", V1: "memory.memsw.limit_in_bytes: 9223372036854771712", V2: "memory.swap.max: max"},
		{Option: "--memory 64m", V1: "memory.memsw.limit_in_bytes: 134217728", V2: "memory.swap.max: 67108864"}, // docker's default: as much again
		{Option: "--memory-reservation 32m", V1: "memory.soft_limit_in_bytes: 33554432", V2: "memory.low: 33554432"},
		{Option: "--memory-swappiness 30", V1: "memory.swappiness: 30", V2: "(Memory swappiness discarded)"},
		{Option: "--memory 64m --oom-kill-disable", V1: "memory.oom_control: oom_kill_disable 1", V2: "(OomKillDisable discarded)"},
		{Option: "--cpus 0.5", V1: "cpu.cfs_quota_us: 50000", V2: "cpu.max: 50000 100000"},
		{Option: "--cpu-period 50000 --cpu-quota 20000", V1: "cpu.cfs_quota_us: 20000", V2: "cpu.max: 20000 50000"},
		{Option: "--cpu-period 50000", V1: "cpu.cfs_period_us: 50000", V2: "cpu.max: max 50000"},
		{Option: "--cpu-shares 512", V1: "cpu.shares: 512", V2: "cpu.weight: 59"},
		{Option: "--cpu-rt-period 500000", V1: "cpu.rt_period_us: 500000", V2: "(kernel does not support CPU real-time scheduler)"},
		{Option: "--cpu-rt-runtime 10000", V1: "cpu.rt_runtime_us: 10000", V2: "(kernel does not support CPU real-time scheduler)"},
		{Option: "--cpuset-cpus 0", V1: "cpuset.cpus: 0", V2: "cpuset.cpus: 0"},
		{Option: "--cpuset-mems 0", V1: "cpuset.mems: 0", V2: "cpuset.mems: 0"},
		{Option: "--pids-limit 20", V1: "pids.max: 20", V2: "pids.max: 20"},
		{Option: "--pids-limit -1", V1: "pids.max: max", V2: "pids.max: max"},
		{Option: "--blkio-weight 300", V1: "blkio.bfq.weight: 300", V2: "io.bfq.weight: default 300"},
		{Option: "--blkio-weight-device {dev}:200", V1: "blkio.bfq.weight_device: {n} 200", V2: "io.bfq.weight: {n} 200"},
		{Option: "--device-read-bps {dev}:1mb", V1: "blkio.throttle.read_bps_device: {n} 1048576", V2: "io.max: {n} rbps=1048576 wbps=max riops=max wiops=max"},
		{Option: "--device-write-bps {dev}:2mb", V1: "blkio.throttle.write_bps_device: {n} 2097152", V2: "io.max: {n} rbps=max wbps=2097152 riops=max wiops=max"},
		{Option: "--device-read-iops {dev}:100", V1: "blkio.throttle.read_iops_device: {n} 100", V2: "io.max: {n} rbps=max wbps=max riops=100 wiops=max"},
		{Option: "--device-write-iops {dev}:200", V1: "blkio.throttle.write_iops_device: {n} 200", V2: "io.max: {n} rbps=max wbps=max riops=max wiops=200"},
		{Option: "--device-cgroup-rule \"c 10:200 rw\"", V1: "devices.list: c 10:200 rw", V2: "(a program in the kernel)"},
		{Option: "--ulimit nofile=100:200", V1: "limits: Max open files 100 200 files", Plain: true},
		{Option: "--ulimit core=0", V1: "limits: Max core file size 0 0 bytes", Plain: true},
		{Option: "--ulimit nproc=50:60", V1: "limits: Max processes 50 60 processes", Plain: true},
		{Option: "--oom-score-adj 500", V1: "oom_score_adj: 500", Plain: true},
		{Option: "--shm-size 1m", V1: "mountinfo: /dev/shm size=1024k", Plain: true},
	}
}

// LimitsPage is the table for readers.
func LimitsPage() string {
	var b strings.Builder
	b.WriteString("| option | cgroup v1 | cgroup v2 |\n|---|---|---|\n")
	for _, l := range Limits() {
		v1, v2 := "`"+string(l.V1)+"`", "`"+string(l.V2)+"`"
		if strings.HasPrefix(string(l.V2), "(") {
			v2 = strings.Trim(string(l.V2), "()")
		}
		if l.Plain {
			v1 = "`/proc/PID/" + string(l.V1) + "`"
			v2 = "the same"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", l.Option, v1, v2)
	}
	return strings.NewReplacer("{dev}", "/dev/sda", "{n}", "8:0").Replace(b.String())
}

// limited is a running container whose limits are looked at.
type limited struct {
	e   *Engine
	pid string
}

// file reads a file of the container's control group, or of its /proc.
func (l limited) file(t testing.TB, name string, plain bool) string {
	t.Helper()
	path := filepath.Join("/proc", l.pid, name)
	if !plain {
		controller, _, _ := strings.Cut(name, ".")
		path = filepath.Join(l.group(t, controller), name)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// group is the directory of the container's group.
func (l limited) group(t testing.TB, controller string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + l.pid + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case IsV2() && part[0] == "0":
			return "/sys/fs/cgroup" + part[2]
		case strings.Contains(","+part[1]+",", ","+controller+","):
			return "/sys/fs/cgroup/" + controller + part[2]
		}
	}
	t.Fatalf("process %s is in no group of %s:\n%s", l.pid, controller, b)
	return ""
}

// IsV2 says whether this machine has nothing but cgroup v2.
func IsV2() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}
