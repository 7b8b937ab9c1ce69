package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (p *planner) v2(r *specs.LinuxResources) {
	if r.CPU != nil {
		p.cpuV2(r.CPU)
	}
	if r.Memory != nil {
		p.memoryV2(r.Memory)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		if *r.Pids.Limit > 0 {
			p.put("pids", strconv.FormatInt(*r.Pids.Limit, 10), "pids.max")
		} else {
			p.start("pids", "max", "pids.max")
		}
	}
	if r.BlockIO != nil {
		p.blockV2(r.BlockIO)
	}
	for _, l := range r.HugepageLimits {
		if p.hugepageSize(l.Pagesize) {
			p.put("hugetlb", strconv.FormatUint(l.Limit, 10), "hugetlb."+l.Pagesize+".max")
			p.put("hugetlb", strconv.FormatUint(l.Limit, 10), "hugetlb."+l.Pagesize+".rsvd.max", "hugetlb."+l.Pagesize+".max")
		}
	}
	for _, file := range sortedKeys(r.Unified) {
		controller, _, ok := strings.Cut(file, ".")
		if !ok || strings.Contains(file, "/") {
			p.refuse("%q is no file of a control group", file)
			continue
		}
		for value := range strings.Lines(r.Unified[file]) {
			p.put(controller, strings.TrimSuffix(value, "\n"), file)
		}
	}
}

func (p *planner) cpuV2(c *specs.LinuxCPU) {
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 || c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		p.refuse("a realtime budget needs cgroup v1")
	}
	if c.Shares != nil && *c.Shares != 0 {
		p.maybe(*c.Shares == initialShares, "cpu", strconv.FormatUint(weightOfShares(*c.Shares), 10), "cpu.weight")
	}
	// Idle groups have no weight: this comes after it.
	if c.Idle != nil {
		p.maybe(*c.Idle == 0, "cpu", strconv.FormatInt(*c.Idle, 10), "cpu.idle")
	}
	quota, period := "max", uint64(0)
	if c.Period != nil {
		period = *c.Period
	}
	if c.Quota != nil && *c.Quota > 0 {
		quota = strconv.FormatInt(*c.Quota, 10)
	}
	switch {
	case period != 0:
		p.put("cpu", fmt.Sprintf("%s %d", quota, period), "cpu.max")
	case quota != "max":
		p.put("cpu", quota, "cpu.max")
	case c.Quota != nil && *c.Quota < 0:
		p.start("cpu", "max", "cpu.max")
	}
	if c.Burst != nil {
		p.put("cpu", strconv.FormatUint(*c.Burst, 10), "cpu.max.burst")
	}
	p.cpuset(c)
}

// weightOfShares maps 2..262144 with the default 1024 to 1..10000 with the default
// 100, by the quadratic in the logarithm that runc has from 1.3 on: the former linear
// map made the default 39, less than half of what other groups have.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

func (p *planner) memoryV2(m *specs.LinuxMemory) {
	if m.KernelTCP != nil && *m.KernelTCP > 0 {
		p.refuse("a limit of memory for TCP needs cgroup v1")
	}
	if m.Swappiness != nil {
		p.refuse("the swappiness of a group needs cgroup v1")
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		p.refuse("disabling the out-of-memory killer needs cgroup v1")
	}
	limit := func(v *int64, file, none string) {
		switch {
		case v == nil || *v == 0:
		case *v > 0:
			p.put("memory", strconv.FormatInt(*v, 10), file)
		default:
			p.start("memory", none, file)
		}
	}
	limit(m.Limit, "memory.max", "max")
	limit(m.Reservation, "memory.low", "0")
	if swap := p.swapOf(m); swap != "" {
		p.maybe(swap == "max", "memory", swap, "memory.swap.max")
	}
}

// swapOf is the limit of swap alone. The spec has that of memory and swap together.
func (p *planner) swapOf(m *specs.LinuxMemory) string {
	var limit, both int64
	if m.Limit != nil {
		limit = *m.Limit
	}
	if m.Swap != nil {
		both = *m.Swap
	}
	switch {
	case both < 0, both == 0 && limit < 0:
		return "max"
	case both == 0:
		return ""
	case limit < 0:
		return strconv.FormatInt(both, 10)
	case limit == 0:
		p.refuse("a limit of memory and swap needs a limit of memory")
	case both < limit:
		p.refuse("the limit of memory and swap, %d, is below that of memory, %d", both, limit)
	}
	return strconv.FormatInt(both-limit, 10)
}

func (p *planner) blockV2(b *specs.LinuxBlockIO) {
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		p.refuse("a leaf weight of block I/O: the kernel no longer has one")
	}
	if b.Weight != nil && *b.Weight != 0 {
		p.weight("default", *b.Weight)
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil {
			p.weight(fmt.Sprintf("%d:%d", d.Major, d.Minor), *d.Weight)
		}
	}
	for _, t := range []struct {
		key     string
		devices []specs.LinuxThrottleDevice
	}{
		{"rbps", b.ThrottleReadBpsDevice}, {"wbps", b.ThrottleWriteBpsDevice},
		{"riops", b.ThrottleReadIOPSDevice}, {"wiops", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			rate := "max" // 0, as on v1, is no limit
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			p.put("io", fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, t.key, rate), "io.max")
		}
	}
}

// weight sets BFQ's weight, which has the spec's range of 10 to 1000, or else that of
// the cost model, which goes from 1 to 10000.
func (p *planner) weight(of string, w uint16) {
	if w < 10 || w > 1000 {
		p.refuse("a block I/O weight of %d: it goes from 10 to 1000", w)
		return
	}
	p.put("io", fmt.Sprintf("%s %d", of, w), "io.bfq.weight")
	last := &p.settings[len(p.settings)-1]
	last.other = &setting{controller: "io", files: []string{"io.weight"}, value: fmt.Sprintf("%s %d", of, 1+(uint64(w)-10)*9999/990)}
}
