package spec

import (
	"math"
	"strconv"
	"strings"
)

// minMemory is docker's smallest memory limit: a container needs some to be started.
const minMemory = 6 << 20

func (v *validation) memory() error {
	h, host := v.h, v.host
	if h.MemorySwappiness != nil && *h.MemorySwappiness == -1 {
		h.MemorySwappiness = nil // an old client's "not set"
	}
	switch {
	case h.Memory != 0 && h.Memory < minMemory:
		return invalid("Minimum memory limit allowed is 6MB")
	case h.Memory > 0 && !host.MemoryLimit:
		v.warn("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.")
		h.Memory, h.MemorySwap = 0, -1
	}
	if h.Memory > 0 && h.MemorySwap != -1 && !host.SwapLimit {
		v.warn("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.")
		h.MemorySwap = -1
	}
	switch {
	case h.MemorySwap < -1:
		return invalid("invalid memory-swap %d: must be -1 (no limit), 0 or a number of bytes", h.MemorySwap)
	case h.Memory > 0 && h.MemorySwap > 0 && h.MemorySwap < h.Memory:
		return invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case h.Memory == 0 && h.MemorySwap > 0 && !v.update:
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	}
	if err := v.swappiness(); err != nil {
		return err
	}
	if h.MemoryReservation > 0 && !host.MemoryReservation {
		v.warn("Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.")
		h.MemoryReservation = 0
	}
	switch {
	case h.MemoryReservation != 0 && h.MemoryReservation < minMemory:
		return invalid("Minimum memory reservation allowed is 6MB")
	case h.Memory > 0 && h.Memory < h.MemoryReservation:
		return invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	}
	v.oomKill()
	return nil
}

func (v *validation) swappiness() error {
	if v.h.MemorySwappiness == nil {
		return nil
	}
	if !v.host.MemorySwappiness {
		v.warn("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.")
		v.h.MemorySwappiness = nil
		return nil
	}
	if s := *v.h.MemorySwappiness; s < 0 || s > 100 {
		return invalid("Invalid value: %v, valid memory swappiness range is 0-100", s)
	}
	return nil
}

func (v *validation) oomKill() {
	disable := v.h.OomKillDisable
	switch {
	case disable == nil:
	case !v.host.OomKillDisable:
		if *disable {
			v.warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
		}
		v.h.OomKillDisable = nil
	case *disable && v.h.Memory == 0:
		v.warn("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	}
}

func (v *validation) cpu() error {
	h, host := v.h, v.host
	switch {
	case h.NanoCPUs > 0 && h.CPUPeriod > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case h.NanoCPUs > 0 && h.CPUQuota > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case h.NanoCPUs > 0 && !host.CPUCfs:
		return invalid("NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted")
	case h.NanoCPUs < 0, host.NumCPU > 0 && h.NanoCPUs > int64(host.NumCPU)*1e9:
		return invalid("range of CPUs is from 0.01 to %[1]d.00, as there are only %[1]d CPUs available", host.NumCPU)
	case h.CPUShares < 0:
		return invalid("invalid CPU shares (%d): value must be a positive integer", h.CPUShares)
	}
	if h.CPUShares > 0 && !host.CPUShares {
		v.warn("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.")
		h.CPUShares = 0
	}
	if (h.CPUPeriod != 0 || h.CPUQuota != 0) && !host.CPUCfs {
		v.warn("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
		h.CPUPeriod, h.CPUQuota = 0, 0
	}
	switch {
	case h.CPUPeriod != 0 && (h.CPUPeriod < 1000 || h.CPUPeriod > 1_000_000):
		return invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case h.CPUQuota > 0 && h.CPUQuota < 1000:
		return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case h.CPURealtimePeriod < 0 || h.CPURealtimeRuntime < 0:
		return invalid("cpu real-time period and runtime cannot be negative")
	case (h.CPURealtimePeriod != 0 || h.CPURealtimeRuntime != 0) && !host.CPURealtime:
		return invalid("kernel does not support CPU real-time scheduler")
	case h.CPURealtimePeriod != 0 && h.CPURealtimeRuntime > h.CPURealtimePeriod:
		return invalid("cpu real-time runtime cannot be higher than cpu real-time period")
	}
	return nil
}

func (v *validation) cpuset() error {
	h, host := v.h, v.host
	if (h.CpusetCpus != "" || h.CpusetMems != "") && !host.Cpuset {
		v.warn("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
		h.CpusetCpus, h.CpusetMems = "", ""
	}
	for _, set := range []struct{ name, what, wanted, available string }{
		{"cpus", "CPUs", h.CpusetCpus, host.Cpus},
		{"mems", "memory nodes", h.CpusetMems, host.Mems},
	} {
		wanted, err := parseList(set.wanted)
		if err != nil {
			return invalid("Invalid value %s for cpuset %s: %w", set.wanted, set.name, err)
		}
		available, err := parseList(set.available)
		if err != nil || set.available == "" {
			continue
		}
		for n := range wanted {
			if !available[n] {
				return invalid("Requested %s are not available - requested %s, available: %s", set.what, set.wanted, set.available)
			}
		}
	}
	return nil
}

// parseList reads a list of the kernel's cpuset files: "0-3,7" (cpuset(7)).
func parseList(text string) (map[int]bool, error) {
	const most = 8192 // the kernel's largest NR_CPUS: a range must not eat memory
	set := map[int]bool{}
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if text == "" || part == "" {
			continue
		}
		first, last, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(first)
		if err != nil {
			return nil, invalid("invalid format: %s", text)
		}
		high := low
		if isRange {
			if high, err = strconv.Atoi(last); err != nil {
				return nil, invalid("invalid format: %s", text)
			}
		}
		if low < 0 || high < low || high >= most {
			return nil, invalid("bad range %q", part)
		}
		for n := low; n <= high; n++ {
			set[n] = true
		}
	}
	if text != "" && len(set) == 0 {
		return nil, invalid("invalid format: %s", text)
	}
	return set, nil
}

func (v *validation) pids() error {
	limit := v.h.PidsLimit
	if limit == nil {
		return nil
	}
	if *limit <= 0 { // 0 and negative: no limit
		if v.h.PidsLimit = nil; v.update {
			v.h.PidsLimit = new(int64(0)) // nil would leave the one that is
		}
		return nil
	}
	if !v.host.PidsLimit {
		v.warn("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.")
		v.h.PidsLimit = nil
	}
	return nil
}

func (v *validation) ulimits() error {
	for _, u := range v.h.Ulimits {
		if u == nil || !ulimitName(strings.ToLower(u.Name)) { // NOFILE is what the kernel calls it
			return invalid("invalid ulimit type: %v", u)
		}
		// -1 is no limit; docker compares what is limited.
		if u.Hard >= 0 && (u.Soft < 0 || u.Soft > u.Hard) {
			return invalid("ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
		}
	}
	return nil
}

func ulimitName(name string) bool {
	switch name {
	case "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
		"nproc", "rss", "rtprio", "rttime", "sigpending", "stack", "as":
		return true
	}
	return false
}

// windows deals with the fields only that system has.
func (v *validation) windows() error {
	h := v.h
	if h.CPUCount != 0 {
		v.warn("linux does not support CPU count. Count discarded.")
		h.CPUCount = 0
	}
	if h.CPUPercent != 0 {
		v.warn("linux does not support CPU percent. Percent discarded.")
		h.CPUPercent = 0
	}
	if h.IOMaximumBandwidth != 0 {
		return invalid("invalid option: QoS maximum bandwidth configuration is not supported on linux")
	}
	if h.IOMaximumIOps != 0 {
		return invalid("invalid option: QoS maximum IOPs configuration is not supported on linux")
	}
	if !h.Isolation.IsDefault() {
		return invalid("invalid isolation (%s): linux only supports 'default'", h.Isolation)
	}
	return nil
}

func (v *validation) blockIO() error {
	h, host := v.h, v.host
	if h.BlkioWeight > 0 && !host.BlkioWeight {
		v.warn("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
		h.BlkioWeight = 0
	}
	if h.BlkioWeight > 0 && (h.BlkioWeight < 10 || h.BlkioWeight > 1000) {
		return invalid("Range of blkio weight is from 10 to 1000")
	}
	if len(h.BlkioWeightDevice) > 0 && !host.BlkioWeightDevice {
		v.warn("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.")
		h.BlkioWeightDevice = nil
	}
	for _, w := range h.BlkioWeightDevice {
		if w == nil || !strings.HasPrefix(w.Path, "/") || w.Weight < 10 || w.Weight > 1000 {
			return invalid("invalid block I/O weight device %v: want an absolute path and a weight from 10 to 1000", w)
		}
	}
	return v.throttle()
}

func (v *validation) throttle() error {
	for _, t := range throttles(v.h) {
		if len(*t.list) == 0 {
			continue
		}
		if !v.host.BlkioThrottle {
			v.warn("Your kernel does not support %s limit or the cgroup is not mounted. Block I/O %s limit discarded.", t.name, t.short)
			*t.list = nil
			continue
		}
		for _, d := range *t.list {
			if d == nil || !strings.HasPrefix(d.Path, "/") || d.Rate > math.MaxInt64 {
				return invalid("invalid block I/O limit %v: want an absolute path and a rate", d)
			}
		}
	}
	return nil
}
