package spec

import (
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	"hoy/lib/fault"
)

// ValidateUpdate checks the limits and the restart policy of an update as Validate
// checks those of a create request. What an update cannot change is an error.
func ValidateUpdate(h *container.HostConfig, host Host) (warnings []string, err error) {
	v := &validation{h: h, host: host, update: true}
	for _, check := range []func() error{
		v.fixed, v.memory, v.cpu, v.cpuset, v.blockIO, v.pids, v.windows, v.lifecycle,
	} {
		if err := check(); err != nil {
			return v.warnings, err
		}
	}
	return v.warnings, nil
}

// fixed refuses what only a create request can say.
func (v *validation) fixed() error {
	h := v.h
	if h.MemorySwappiness != nil && *h.MemorySwappiness == -1 {
		h.MemorySwappiness = nil // an old client's "not set"
	}
	for _, f := range []struct {
		what  string
		given bool
	}{
		{"the cgroup parent", h.CgroupParent != ""},
		{"devices", len(h.Devices) > 0 || len(h.DeviceCgroupRules) > 0 || len(h.DeviceRequests) > 0},
		{"memory swappiness", h.MemorySwappiness != nil},
		{"the out-of-memory killer", h.OomKillDisable != nil && *h.OomKillDisable},
		{"ulimits", len(h.Ulimits) > 0},
	} {
		if f.given {
			return invalid("cannot update %s: it holds from the container's creation on", f.what)
		}
	}
	return nil
}

// Update returns the limits that hold after the update u of r, and what of them is to
// be set anew: limits that hang together are set together.
func Update(r, u container.Resources) (merged, changed container.Resources, err error) {
	if err := updateConflicts(&r, &u); err != nil {
		return r, u, err
	}
	changed = u
	merged = r
	set(&merged.CPUShares, u.CPUShares)
	set(&merged.NanoCPUs, u.NanoCPUs)
	set(&merged.CPUPeriod, u.CPUPeriod)
	set(&merged.CPUQuota, u.CPUQuota)
	set(&merged.CPURealtimePeriod, u.CPURealtimePeriod)
	set(&merged.CPURealtimeRuntime, u.CPURealtimeRuntime)
	set(&merged.CpusetCpus, u.CpusetCpus)
	set(&merged.CpusetMems, u.CpusetMems)
	set(&merged.Memory, u.Memory)
	set(&merged.MemorySwap, u.MemorySwap)
	set(&merged.MemoryReservation, u.MemoryReservation)
	set(&merged.BlkioWeight, u.BlkioWeight)
	if u.PidsLimit != nil {
		merged.PidsLimit = u.PidsLimit
	}
	if u.CPUPeriod != 0 || u.CPUQuota != 0 {
		changed.CPUPeriod, changed.CPUQuota = merged.CPUPeriod, merged.CPUQuota
	}
	if u.Memory != 0 || u.MemorySwap != 0 {
		changed.Memory, changed.MemorySwap = merged.Memory, merged.MemorySwap
	}
	updateBlockIO(&merged, &changed, &u)
	return merged, changed, nil
}

// set is for values whose zero is "leave it".
func set[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

// updateConflicts has docker's rules for what must be said together.
func updateConflicts(r, u *container.Resources) error {
	conflict := func(text string) error { return fault.New(fault.Conflict, "%s", text) }
	switch {
	case u.NanoCPUs > 0 && r.CPUPeriod > 0:
		return conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")
	case u.NanoCPUs > 0 && r.CPUQuota > 0:
		return conflict("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
	case u.CPUPeriod > 0 && r.NanoCPUs > 0:
		return conflict("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
	case u.CPUQuota > 0 && r.NanoCPUs > 0:
		return conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
	case u.Memory > 0 && u.MemorySwap == 0 && r.MemorySwap > 0 && u.Memory > r.MemorySwap:
		return conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	case u.MemorySwap > 0 && u.Memory == 0 && r.Memory > u.MemorySwap:
		return conflict("Memoryswap limit should be larger than already set memory limit, update the memory at the same time")
	case u.MemorySwap > 0 && u.Memory == 0 && r.Memory == 0:
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	}
	return nil
}

// updateBlockIO replaces the lists of devices that u has. A device that is not in the
// new list loses its limit.
func updateBlockIO(merged, changed, u *container.Resources) {
	if u.BlkioWeightDevice != nil {
		merged.BlkioWeightDevice = u.BlkioWeightDevice
	}
	for _, l := range []struct{ merged, changed, given *[]*blkiodev.ThrottleDevice }{
		{&merged.BlkioDeviceReadBps, &changed.BlkioDeviceReadBps, &u.BlkioDeviceReadBps},
		{&merged.BlkioDeviceWriteBps, &changed.BlkioDeviceWriteBps, &u.BlkioDeviceWriteBps},
		{&merged.BlkioDeviceReadIOps, &changed.BlkioDeviceReadIOps, &u.BlkioDeviceReadIOps},
		{&merged.BlkioDeviceWriteIOps, &changed.BlkioDeviceWriteIOps, &u.BlkioDeviceWriteIOps},
	} {
		if *l.given == nil {
			continue
		}
		var all []*blkiodev.ThrottleDevice
		for _, old := range *l.merged {
			all = append(all, &blkiodev.ThrottleDevice{Path: old.Path}) // 0: no limit
		}
		*l.changed = append(all, *l.given...)
		*l.merged = *l.given
	}
}
