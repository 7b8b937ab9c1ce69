package spec

import (
	"regexp"
	"strconv"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

// cfsPeriod is the period docker uses for --cpus, in microseconds.
const cfsPeriod = 100_000

func resources(in *Input) (*specs.LinuxResources, error) {
	r := &in.HostConfig.Resources
	devices, err := deviceRules(in)
	if err != nil {
		return nil, err
	}
	block, err := blockIO(r, in.BlockDevices)
	if err != nil {
		return nil, err
	}
	return &specs.LinuxResources{
		Devices: devices,
		Memory:  memory(r),
		CPU:     cpu(r),
		Pids:    pids(r),
		BlockIO: block,
	}, nil
}

// Resources returns the limits of r for a live update: without devices, which
// docker fixes at creation.
func Resources(r *container.Resources, block map[string]Number) (*specs.LinuxResources, error) {
	io, err := blockIO(r, block)
	if err != nil {
		return nil, err
	}
	return &specs.LinuxResources{Memory: memory(r), CPU: cpu(r), Pids: pids(r), BlockIO: io}, nil
}

func memory(r *container.Resources) *specs.LinuxMemory {
	m := specs.LinuxMemory{
		Limit:            positive(r.Memory),
		Reservation:      positive(r.MemoryReservation),
		DisableOOMKiller: r.OomKillDisable,
	}
	if r.MemorySwap != 0 {
		m.Swap = &r.MemorySwap // memory and swap together; -1: no limit
	}
	if r.MemorySwappiness != nil {
		swappiness := uint64(*r.MemorySwappiness)
		m.Swappiness = &swappiness
	}
	if m == (specs.LinuxMemory{}) {
		return nil
	}
	return &m
}

func cpu(r *container.Resources) *specs.LinuxCPU {
	c := specs.LinuxCPU{
		Shares:          unsigned(r.CPUShares),
		Period:          unsigned(r.CPUPeriod),
		Cpus:            r.CpusetCpus,
		Mems:            r.CpusetMems,
		RealtimePeriod:  unsigned(r.CPURealtimePeriod),
		RealtimeRuntime: positive(r.CPURealtimeRuntime),
	}
	if r.CPUQuota != 0 {
		c.Quota = &r.CPUQuota
	}
	if r.NanoCPUs > 0 {
		period, quota := uint64(cfsPeriod), r.NanoCPUs*cfsPeriod/1e9
		c.Period, c.Quota = &period, &quota
	}
	if c == (specs.LinuxCPU{}) {
		return nil
	}
	return &c
}

func pids(r *container.Resources) *specs.LinuxPids {
	if r.PidsLimit == nil {
		return nil
	}
	limit := *r.PidsLimit
	if limit <= 0 {
		limit = -1
	}
	return &specs.LinuxPids{Limit: &limit}
}

func blockIO(r *container.Resources, numbers map[string]Number) (*specs.LinuxBlockIO, error) {
	b := &specs.LinuxBlockIO{}
	if r.BlkioWeight != 0 {
		b.Weight = &r.BlkioWeight
	}
	for _, w := range r.BlkioWeightDevice {
		n, err := number(numbers, w.Path)
		if err != nil {
			return nil, err
		}
		d := specs.LinuxWeightDevice{Weight: &w.Weight}
		d.Major, d.Minor = n.Major, n.Minor
		b.WeightDevice = append(b.WeightDevice, d)
	}
	for _, t := range []struct {
		from []*blkiodev.ThrottleDevice
		to   *[]specs.LinuxThrottleDevice
	}{
		{r.BlkioDeviceReadBps, &b.ThrottleReadBpsDevice},
		{r.BlkioDeviceWriteBps, &b.ThrottleWriteBpsDevice},
		{r.BlkioDeviceReadIOps, &b.ThrottleReadIOPSDevice},
		{r.BlkioDeviceWriteIOps, &b.ThrottleWriteIOPSDevice},
	} {
		for _, device := range t.from {
			n, err := number(numbers, device.Path)
			if err != nil {
				return nil, err
			}
			d := specs.LinuxThrottleDevice{Rate: device.Rate}
			d.Major, d.Minor = n.Major, n.Minor
			*t.to = append(*t.to, d)
		}
	}
	if b.Weight == nil && b.WeightDevice == nil && b.ThrottleReadBpsDevice == nil && b.ThrottleWriteBpsDevice == nil &&
		b.ThrottleReadIOPSDevice == nil && b.ThrottleWriteIOPSDevice == nil {
		return nil, nil
	}
	return b, nil
}

func number(numbers map[string]Number, path string) (Number, error) {
	n, ok := numbers[path]
	if !ok {
		return Number{}, fault.New(fault.Invalid, "cannot limit block I/O of %s: no such block device", path)
	}
	return n, nil
}

// deviceRules allow docker's devices, the container's own, and making any node:
// a node without permission to open it is of no use.
func deviceRules(in *Input) ([]specs.LinuxDeviceCgroup, error) {
	if in.HostConfig.Privileged {
		return []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, nil
	}
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		rule("c", -1, -1, "m"), rule("b", -1, -1, "m"),
		rule("c", 1, 3, "rwm"), rule("c", 1, 5, "rwm"), rule("c", 1, 7, "rwm"), // null, zero, full
		rule("c", 1, 8, "rwm"), rule("c", 1, 9, "rwm"), // random, urandom
		rule("c", 5, 0, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 5, 2, "rwm"), // tty, console, ptmx
		rule("c", 136, -1, "rwm"), // pts
	}
	for _, d := range in.Devices {
		if d.Access != "" {
			rules = append(rules, rule(d.Type, d.Major, d.Minor, d.Access))
		}
	}
	for _, text := range in.HostConfig.DeviceCgroupRules {
		r, err := parseDeviceRule(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func rule(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access}
}

// parseDeviceRule reads a rule as the kernel's devices.allow takes it: "c 10:200 rwm".
func parseDeviceRule(text string) (specs.LinuxDeviceCgroup, error) {
	form := regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)
	m := form.FindStringSubmatch(text)
	if m == nil {
		return specs.LinuxDeviceCgroup{}, fault.New(fault.Invalid, "invalid device cgroup rule format: '%s'", text)
	}
	numbers := [2]int64{-1, -1}
	for i := range numbers {
		if m[2+i] == "*" {
			continue
		}
		n, err := strconv.ParseInt(m[2+i], 10, 32)
		if err != nil {
			return specs.LinuxDeviceCgroup{}, fault.New(fault.Invalid, "invalid number in device cgroup rule format: '%s'", text)
		}
		numbers[i] = n
	}
	return rule(m[1], numbers[0], numbers[1], m[4]), nil
}

func positive(v int64) *int64 {
	if v <= 0 {
		return nil
	}
	return &v
}

func unsigned(v int64) *uint64 {
	if v <= 0 {
		return nil
	}
	u := uint64(v)
	return &u
}
