package cgroup

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

func resources(f func(r *specs.LinuxResources)) *specs.LinuxResources {
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}, Pids: &specs.LinuxPids{}, BlockIO: &specs.LinuxBlockIO{}}
	f(r)
	return r
}

const mega = 1 << 20

func TestPlan(t *testing.T) {
	sda := specs.LinuxBlockIODevice{Major: 8, Minor: 0}
	for _, tc := range []struct {
		name   string
		r      func(r *specs.LinuxResources)
		v1, v2 string // settings, or "refused: …"
	}{
		{"nothing", func(r *specs.LinuxResources) {}, "", ""},
		{"cpu", func(r *specs.LinuxResources) {
			r.CPU.Shares, r.CPU.Quota, r.CPU.Period, r.CPU.Burst = new(uint64(512)), new(int64(50000)), new(uint64(200000)), new(uint64(10))
			r.CPU.Cpus, r.CPU.Mems = "0-1", "0"
		}, "cpu cpu.shares = 512; cpu cpu.cfs_period_us = 200000; cpu cpu.cfs_quota_us = 50000; cpu cpu.cfs_burst_us = 10; cpuset cpuset.cpus = 0-1; cpuset cpuset.mems = 0",
			"cpu cpu.weight = 59; cpu cpu.max = 50000 200000; cpu cpu.max.burst = 10; cpuset cpuset.cpus = 0-1; cpuset cpuset.mems = 0"},
		{"quota alone", func(r *specs.LinuxResources) { r.CPU.Quota = new(int64(150000)) }, "cpu cpu.cfs_quota_us = 150000", "cpu cpu.max = 150000"},
		{"no quota", func(r *specs.LinuxResources) { r.CPU.Quota = new(int64(-1)) }, "(cpu cpu.cfs_quota_us = -1)", "(cpu cpu.max = max)"},
		{"initial cpu", func(r *specs.LinuxResources) { r.CPU.Shares, r.CPU.Period = new(uint64(1024)), new(uint64(100000)) },
			"(cpu cpu.shares = 1024); (cpu cpu.cfs_period_us = 100000)", "(cpu cpu.weight = 100); cpu cpu.max = max 100000"},
		{"idle", func(r *specs.LinuxResources) { r.CPU.Idle = new(int64(1)) }, "cpu cpu.idle = 1", "cpu cpu.idle = 1"},
		{"realtime", func(r *specs.LinuxResources) {
			r.CPU.RealtimePeriod, r.CPU.RealtimeRuntime = new(uint64(10)), new(int64(5))
		},
			"cpu cpu.rt_period_us = 10; cpu cpu.rt_runtime_us = 5", "refused: realtime"},
		{"memory and swap", func(r *specs.LinuxResources) {
			r.Memory.Limit, r.Memory.Swap, r.Memory.Reservation = new(int64(64*mega)), new(int64(96*mega)), new(int64(mega))
		}, "memory memory.limit_in_bytes = 67108864; memory memory.memsw.limit_in_bytes = 100663296; memory memory.soft_limit_in_bytes = 1048576",
			"memory memory.max = 67108864; memory memory.low = 1048576; memory memory.swap.max = 33554432"},
		{"memory, no swap", func(r *specs.LinuxResources) { r.Memory.Limit, r.Memory.Swap = new(int64(mega)), new(int64(mega)) },
			"memory memory.limit_in_bytes = 1048576; memory memory.memsw.limit_in_bytes = 1048576", "memory memory.max = 1048576; memory memory.swap.max = 0"},
		{"memory, any swap", func(r *specs.LinuxResources) { r.Memory.Limit, r.Memory.Swap = new(int64(mega)), new(int64(-1)) },
			"memory memory.limit_in_bytes = 1048576; (memory memory.memsw.limit_in_bytes = -1)", "memory memory.max = 1048576; (memory memory.swap.max = max)"},
		{"unlimited", func(r *specs.LinuxResources) { r.Memory.Limit = new(int64(-1)) }, "(memory memory.limit_in_bytes = -1)", "(memory memory.max = max); (memory memory.swap.max = max)"},
		{"swap below memory", func(r *specs.LinuxResources) { r.Memory.Limit, r.Memory.Swap = new(int64(2)), new(int64(1)) }, "refused: below", "refused: below"},
		{"swap alone", func(r *specs.LinuxResources) { r.Memory.Swap = new(int64(1)) }, "refused: needs a limit of memory", "refused: needs a limit of memory"},
		{"swappiness", func(r *specs.LinuxResources) { r.Memory.Swappiness = new(uint64(10)) }, "memory memory.swappiness = 10", "refused: swappiness"},
		{"swappiness too high", func(r *specs.LinuxResources) { r.Memory.Swappiness = new(uint64(101)) }, "refused: 0 to 100", "refused: swappiness"},
		{"no oom killer", func(r *specs.LinuxResources) { r.Memory.DisableOOMKiller = new(true) }, "memory memory.oom_control = 1", "refused: out-of-memory killer"},
		{"oom killer", func(r *specs.LinuxResources) { r.Memory.DisableOOMKiller = new(false) }, "(memory memory.oom_control = 0)", ""},
		{"kernel tcp", func(r *specs.LinuxResources) { r.Memory.KernelTCP = new(int64(5)) }, "memory memory.kmem.tcp.limit_in_bytes = 5", "refused: TCP"},
		{"pids", func(r *specs.LinuxResources) { r.Pids.Limit = new(int64(7)) }, "pids pids.max = 7", "pids pids.max = 7"},
		{"no pids limit", func(r *specs.LinuxResources) { r.Pids.Limit = new(int64(-1)) }, "(pids pids.max = max)", "(pids pids.max = max)"},
		{"block weight", func(r *specs.LinuxResources) {
			r.BlockIO.Weight = new(uint16(500))
			r.BlockIO.WeightDevice = []specs.LinuxWeightDevice{{LinuxBlockIODevice: sda, Weight: new(uint16(10))}}
		}, "blkio blkio.weight|blkio.bfq.weight = 500; blkio blkio.weight_device|blkio.bfq.weight_device = 8:0 10",
			"io io.bfq.weight = default 500, else io io.weight = default 4950; io io.bfq.weight = 8:0 10, else io io.weight = 8:0 1"},
		{"leaf weight", func(r *specs.LinuxResources) { r.BlockIO.LeafWeight = new(uint16(5)) }, "refused: leaf", "refused: leaf"},
		{"block limits", func(r *specs.LinuxResources) {
			d := []specs.LinuxThrottleDevice{{LinuxBlockIODevice: sda, Rate: 9}}
			r.BlockIO.ThrottleReadBpsDevice, r.BlockIO.ThrottleWriteIOPSDevice = d, d
		}, "blkio blkio.throttle.read_bps_device = 8:0 9; blkio blkio.throttle.write_iops_device = 8:0 9", "io io.max = 8:0 rbps=9; io io.max = 8:0 wiops=9"},
		{"huge pages", func(r *specs.LinuxResources) {
			r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4}}
		},
			"hugetlb hugetlb.2MB.limit_in_bytes = 4; hugetlb hugetlb.2MB.rsvd.limit_in_bytes|hugetlb.2MB.limit_in_bytes = 4",
			"hugetlb hugetlb.2MB.max = 4; hugetlb hugetlb.2MB.rsvd.max|hugetlb.2MB.max = 4"},
		{"huge pages of a hostile size", func(r *specs.LinuxResources) {
			r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "../../2MB", Limit: 4}}
		}, "refused: no size", "refused: no size"},
		{"rdma", func(r *specs.LinuxResources) {
			r.Rdma = map[string]specs.LinuxRdma{"mlx": {HcaHandles: new(uint32(3))}}
		}, "rdma rdma.max = mlx hca_handle=3", "rdma rdma.max = mlx hca_handle=3"},
		{"unified", func(r *specs.LinuxResources) {
			r.Unified = map[string]string{"memory.high": "max", "io.max": "8:0 rbps=1\n8:1 rbps=2"}
		},
			"refused: needs cgroup v2", "io io.max = 8:0 rbps=1; io io.max = 8:1 rbps=2; memory memory.high = max"},
		{"unified, hostile", func(r *specs.LinuxResources) { r.Unified = map[string]string{"../cgroup.procs": "1"} }, "refused: needs cgroup v2", "refused: no file"},
		{"network class", func(r *specs.LinuxResources) { r.Network = &specs.LinuxNetwork{ClassID: new(uint32(1))} }, "refused: network", "refused: network"},
	} {
		for mode, want := range map[Mode]string{V1: tc.v1, Hybrid: tc.v1, V2: tc.v2} {
			settings, err := plan(mode, resources(tc.r))
			if reason, refused := strings.CutPrefix(want, "refused: "); refused {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), reason) {
					t.Errorf("%s on %s: error %v, want one with %q", tc.name, mode, err, reason)
				}
				continue
			}
			if got := describe(settings); err != nil || got != want {
				t.Errorf("%s on %s:\n got %s, %v\nwant %s", tc.name, mode, got, err, want)
			}
		}
	}
}

// describe writes what a new group has anyway in brackets.
func describe(settings []setting) string {
	var s []string
	for _, x := range settings {
		if x.initial {
			s = append(s, "("+x.String()+")")
		} else {
			s = append(s, x.String())
		}
	}
	return strings.Join(s, "; ")
}

func TestWeightOfShares(t *testing.T) {
	for shares, want := range map[uint64]uint64{1: 1, 2: 1, 1024: 100, 262144: 10000, 1 << 40: 10000, 512: 59, 2048: 174} {
		if got := weightOfShares(shares); got != want {
			t.Errorf("%d shares are a weight of %d, want %d", shares, got, want)
		}
	}
	last := uint64(0)
	for s := uint64(2); s <= 262144; s += 31 {
		w := weightOfShares(s)
		if w < last {
			t.Fatalf("%d shares weigh %d, less than fewer shares do", s, w)
		}
		last = w
	}
}

func TestParseDevices(t *testing.T) {
	rule := func(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		d := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: access}
		if major >= 0 {
			d.Major = &major
		}
		if minor >= 0 {
			d.Minor = &minor
		}
		return d
	}
	denyAll, allowAll := rule(false, "", -1, -1, "rwm"), rule(true, "a", -1, -1, "")
	for _, tc := range []struct {
		name  string
		in    []specs.LinuxDeviceCgroup
		allow bool
		want  []string
	}{
		{"docker's beginning", []specs.LinuxDeviceCgroup{denyAll, rule(true, "c", -1, -1, "m"), rule(true, "c", 1, 3, "rwm")}, false, []string{"+c *:* m", "+c 1:3 mrw"}},
		{"nothing said of the rest", []specs.LinuxDeviceCgroup{rule(true, "b", 8, -1, "r")}, false, []string{"+b 8:* r"}},
		{"privileged", []specs.LinuxDeviceCgroup{denyAll, rule(true, "c", 1, 3, "rwm"), allowAll}, true, nil},
		{"all but one", []specs.LinuxDeviceCgroup{allowAll, rule(false, "c", 1, 3, "w")}, true, []string{"-c 1:3 w"}},
		{"both kinds", []specs.LinuxDeviceCgroup{denyAll, rule(true, "a", 8, -1, "r")}, false, []string{"+c 8:* r", "+b 8:* r"}},
	} {
		d, err := parseDevices(&specs.LinuxResources{Devices: tc.in})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var got []string
		for _, r := range d.list {
			got = append(got, map[bool]string{true: "+", false: "-"}[r.allow]+r.line())
		}
		if d.allow != tc.allow || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v %q, want %v %q", tc.name, d.allow, got, tc.allow, tc.want)
		}
	}
	for _, bad := range []specs.LinuxDeviceCgroup{rule(true, "x", 1, 1, "r"), rule(true, "c", 1, 1, "rx"), rule(true, "c", 1<<30, 1, "r")} {
		if _, err := parseDevices(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{bad}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}

func TestDeviceIO(t *testing.T) {
	v1 := deviceIOV1("8:0 Read 4096\n8:0 Write 1\n8:0 Sync 5\n8:0 Total 9\n8:16 Discard 3\nTotal 9\n", "8:0 Read 2\n8:16 Read 7\n")
	v2 := deviceIOV2("8:0 rbytes=4096 wbytes=1 rios=2 wios=0 dbytes=0 dios=0\n8:16 rios=7 dbytes=3 =\nnonsense\n")
	want := "[{8 0 4096 1 0 2 0 0} {8 16 0 0 3 7 0 0}]"
	if fmt.Sprint(v1) != want || fmt.Sprint(v2) != want {
		t.Errorf("v1 %v\nv2 %v\nwant %s", v1, v2, want)
	}
}

func TestPaths(t *testing.T) {
	for _, bad := range []string{"", "/", "hoy", "/hoy/../x", "/hoy//x", "/hoy/", "/a\x00b"} {
		if err := checkPath(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	if err := checkPath("/hoy/x"); err != nil {
		t.Error(err)
	}
}
