package cgroup

import (
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// What a new group has without being told.
const (
	initialShares = 1024
	initialPeriod = 100_000 // µs
)

func (p *planner) v1(r *specs.LinuxResources) {
	if r.CPU != nil {
		p.cpuV1(r.CPU)
	}
	if r.Memory != nil {
		p.memoryV1(r.Memory)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		if *r.Pids.Limit > 0 {
			p.put("pids", strconv.FormatInt(*r.Pids.Limit, 10), "pids.max")
		} else {
			p.start("pids", "max", "pids.max")
		}
	}
	if r.BlockIO != nil {
		p.blockV1(r.BlockIO)
	}
	for _, l := range r.HugepageLimits {
		if p.hugepageSize(l.Pagesize) {
			p.put("hugetlb", strconv.FormatUint(l.Limit, 10), "hugetlb."+l.Pagesize+".limit_in_bytes")
			p.put("hugetlb", strconv.FormatUint(l.Limit, 10), "hugetlb."+l.Pagesize+".rsvd.limit_in_bytes", "hugetlb."+l.Pagesize+".limit_in_bytes")
		}
	}
	for _, k := range sortedKeys(r.Unified) {
		p.refuse("the unified setting %s needs cgroup v2", k)
	}
}

func (p *planner) cpuV1(c *specs.LinuxCPU) {
	if c.Shares != nil && *c.Shares != 0 {
		p.maybe(*c.Shares == initialShares, "cpu", strconv.FormatUint(*c.Shares, 10), "cpu.shares")
	}
	// Idle groups have no shares: this comes after them.
	if c.Idle != nil {
		p.maybe(*c.Idle == 0, "cpu", strconv.FormatInt(*c.Idle, 10), "cpu.idle")
	}
	if c.Period != nil && *c.Period != 0 {
		p.maybe(*c.Period == initialPeriod, "cpu", strconv.FormatUint(*c.Period, 10), "cpu.cfs_period_us")
	}
	if c.Quota != nil && *c.Quota > 0 {
		p.put("cpu", strconv.FormatInt(*c.Quota, 10), "cpu.cfs_quota_us")
	} else if c.Quota != nil && *c.Quota < 0 {
		p.start("cpu", "-1", "cpu.cfs_quota_us")
	}
	if c.Burst != nil {
		p.put("cpu", strconv.FormatUint(*c.Burst, 10), "cpu.cfs_burst_us")
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		p.put("cpu", strconv.FormatUint(*c.RealtimePeriod, 10), "cpu.rt_period_us")
	}
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		p.put("cpu", strconv.FormatInt(*c.RealtimeRuntime, 10), "cpu.rt_runtime_us")
	}
	p.cpuset(c)
}

// cpuset has the same files in both versions.
func (p *planner) cpuset(c *specs.LinuxCPU) {
	if c.Cpus != "" {
		p.put("cpuset", c.Cpus, "cpuset.cpus")
	}
	if c.Mems != "" {
		p.put("cpuset", c.Mems, "cpuset.mems")
	}
}

func (p *planner) memoryV1(m *specs.LinuxMemory) {
	limit := func(v *int64, file string) {
		switch {
		case v == nil || *v == 0:
		case *v > 0:
			p.put("memory", strconv.FormatInt(*v, 10), file)
		default:
			p.start("memory", "-1", file)
		}
	}
	limit(m.Limit, "memory.limit_in_bytes")
	if m.Swap != nil && *m.Swap > 0 && (m.Limit == nil || *m.Limit <= 0) {
		p.refuse("a limit of memory and swap needs a limit of memory")
	}
	if m.Swap != nil && m.Limit != nil && *m.Swap > 0 && *m.Swap < *m.Limit {
		p.refuse("the limit of memory and swap, %d, is below that of memory, %d", *m.Swap, *m.Limit)
	}
	limit(m.Swap, "memory.memsw.limit_in_bytes")
	limit(m.Reservation, "memory.soft_limit_in_bytes")
	limit(m.KernelTCP, "memory.kmem.tcp.limit_in_bytes")
	if m.Swappiness != nil {
		if *m.Swappiness > 100 {
			p.refuse("a swappiness of %d: it goes from 0 to 100", *m.Swappiness)
		}
		p.put("memory", strconv.FormatUint(*m.Swappiness, 10), "memory.swappiness")
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		p.put("memory", "1", "memory.oom_control")
	} else if m.DisableOOMKiller != nil {
		p.start("memory", "0", "memory.oom_control")
	}
}

func (p *planner) blockV1(b *specs.LinuxBlockIO) {
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		p.refuse("a leaf weight of block I/O: the kernel no longer has one")
	}
	if b.Weight != nil && *b.Weight != 0 {
		p.put("blkio", strconv.Itoa(int(*b.Weight)), "blkio.weight", "blkio.bfq.weight")
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil {
			p.put("blkio", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), "blkio.weight_device", "blkio.bfq.weight_device")
		}
	}
	for _, t := range []struct {
		file    string
		devices []specs.LinuxThrottleDevice
	}{
		{"blkio.throttle.read_bps_device", b.ThrottleReadBpsDevice},
		{"blkio.throttle.write_bps_device", b.ThrottleWriteBpsDevice},
		{"blkio.throttle.read_iops_device", b.ThrottleReadIOPSDevice},
		{"blkio.throttle.write_iops_device", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			p.put("blkio", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate), t.file)
		}
	}
}
