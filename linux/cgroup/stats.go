package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Stats is what the kernel counts for a group with its sub-groups. A field is 0 where
// the machine lacks the controller.
type Stats struct {
	CPU struct {
		Usage, User, System uint64   // ns
		PerCPU              []uint64 // ns; v1 only
		Periods             uint64   // of the quota
		Throttled           uint64   // periods in which the quota was used up
		ThrottledTime       uint64   // ns
	}
	Memory struct {
		Usage   uint64            // bytes, with page cache
		Peak    uint64            // bytes; 0 where the kernel does not say
		Limit   uint64            // bytes; the largest uint64 without limit
		Swap    uint64            // bytes
		Failed  uint64            // times that the limit was hit
		Details map[string]uint64 // memory.stat by the kernel's names, which differ between v1 and v2
	}
	PIDs struct {
		Current uint64
		Limit   uint64 // the largest uint64 without limit
	}
	BlockIO []DeviceIO
}

// DeviceIO is what a group did on one block device.
type DeviceIO struct {
	Major, Minor                                 uint64
	ReadBytes, WriteBytes, DiscardBytes          uint64
	ReadRequests, WriteRequests, DiscardRequests uint64
}

// reader collects files of one group; the first error sticks, missing files are none.
type reader struct {
	g   *Group
	err error
}

func (r *reader) table(controller, file string) map[string]uint64 {
	v := r.g.host.find(controller)
	if v == nil {
		return nil
	}
	t, err := table(v.fd(), path.Join(r.g.rel, file))
	r.keep(err)
	return t
}

func (r *reader) number(controller, file string) uint64 {
	v := r.g.host.find(controller)
	if v == nil {
		return 0
	}
	n, err := number(v.fd(), path.Join(r.g.rel, file))
	r.keep(err)
	return n
}

func (r *reader) text(controller, file string) string {
	v := r.g.host.find(controller)
	if v == nil {
		return ""
	}
	s, err := readFile(v.fd(), path.Join(r.g.rel, file))
	r.keep(err)
	return s
}

func (r *reader) keep(err error) {
	if r.err == nil && err != nil && !errors.Is(err, unix.ENOENT) {
		r.err = err
	}
}

// Stats reads the group's counters.
func (g *Group) Stats() (Stats, error) {
	var s Stats
	if v := g.core(); !exists(v.fd(), g.rel) {
		return s, fmt.Errorf("cannot read the counters of cgroup %s: %w", g.path, unix.ENOENT)
	}
	r := &reader{g: g}
	if g.host.mode == V2 {
		r.v2(&s)
	} else {
		r.v1(&s)
	}
	s.PIDs.Current = r.number("pids", "pids.current")
	s.PIDs.Limit = r.number("pids", "pids.max")
	if r.err != nil {
		return s, fmt.Errorf("cannot read the counters of cgroup %s: %w", g.path, r.err)
	}
	return s, nil
}

func (r *reader) v1(s *Stats) {
	s.CPU.Usage = r.number("cpuacct", "cpuacct.usage")
	for f := range strings.FieldsSeq(r.text("cpuacct", "cpuacct.usage_percpu")) {
		n, err := strconv.ParseUint(f, 10, 64)
		r.keep(err)
		s.CPU.PerCPU = append(s.CPU.PerCPU, n)
	}
	s.CPU.User = r.number("cpuacct", "cpuacct.usage_user")
	s.CPU.System = r.number("cpuacct", "cpuacct.usage_sys")
	cpu := r.table("cpu", "cpu.stat")
	s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_time"]
	s.Memory.Usage = r.number("memory", "memory.usage_in_bytes")
	s.Memory.Peak = r.number("memory", "memory.max_usage_in_bytes")
	s.Memory.Failed = r.number("memory", "memory.failcnt")
	s.Memory.Details = r.table("memory", "memory.stat")
	s.Memory.Swap = s.Memory.Details["total_swap"]
	s.Memory.Limit = r.number("memory", "memory.limit_in_bytes")
	if s.Memory.Limit >= 1<<62 { // v1 says no limit by the largest number of pages
		s.Memory.Limit = ^uint64(0)
	}
	s.BlockIO = deviceIOV1(r.text("blkio", "blkio.throttle.io_service_bytes_recursive"), r.text("blkio", "blkio.throttle.io_serviced_recursive"))
}

func (r *reader) v2(s *Stats) {
	cpu := r.table("cpu", "cpu.stat")
	s.CPU.Usage, s.CPU.User, s.CPU.System = 1000*cpu["usage_usec"], 1000*cpu["user_usec"], 1000*cpu["system_usec"]
	s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = cpu["nr_periods"], cpu["nr_throttled"], 1000*cpu["throttled_usec"]
	s.Memory.Usage = r.number("memory", "memory.current")
	s.Memory.Peak = r.number("memory", "memory.peak")
	s.Memory.Limit = r.number("memory", "memory.max")
	s.Memory.Swap = r.number("memory", "memory.swap.current")
	s.Memory.Failed = r.table("memory", "memory.events")["max"]
	s.Memory.Details = r.table("memory", "memory.stat")
	s.BlockIO = deviceIOV2(r.text("io", "io.stat"))
}

// deviceIOV1 reads lines such as "8:0 Read 4096".
func deviceIOV1(bytes, requests string) []DeviceIO {
	var d devices
	for i, text := range []string{bytes, requests} {
		for l := range strings.Lines(text) {
			f := strings.Fields(l)
			if len(f) != 3 {
				continue
			}
			d.add(f[0], f[1], i == 1, f[2])
		}
	}
	return d.list
}

// deviceIOV2 reads lines such as "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0".
func deviceIOV2(text string) []DeviceIO {
	var d devices
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		for i := 1; i < len(f); i++ {
			k, v, _ := strings.Cut(f[i], "=")
			kind, requests := strings.CutSuffix(k, "ios")
			kind = strings.TrimSuffix(kind, "bytes")
			d.add(f[0], map[string]string{"r": "Read", "w": "Write", "d": "Discard"}[kind], requests, v)
		}
	}
	return d.list
}

type devices struct{ list []DeviceIO }

func (d *devices) add(device, op string, requests bool, value string) {
	ma, mi, _ := strings.Cut(device, ":")
	major, err1 := strconv.ParseUint(ma, 10, 32)
	minor, err2 := strconv.ParseUint(mi, 10, 32)
	n, err3 := strconv.ParseUint(value, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return
	}
	if l := len(d.list); l == 0 || d.list[l-1].Major != major || d.list[l-1].Minor != minor {
		for i := range d.list {
			if d.list[i].Major == major && d.list[i].Minor == minor {
				d.list[i].set(op, requests, n)
				return
			}
		}
		d.list = append(d.list, DeviceIO{Major: major, Minor: minor})
	}
	d.list[len(d.list)-1].set(op, requests, n)
}

func (d *DeviceIO) set(op string, requests bool, n uint64) {
	switch {
	case op == "Read" && requests:
		d.ReadRequests = n
	case op == "Read":
		d.ReadBytes = n
	case op == "Write" && requests:
		d.WriteRequests = n
	case op == "Write":
		d.WriteBytes = n
	case op == "Discard" && requests:
		d.DiscardRequests = n
	case op == "Discard":
		d.DiscardBytes = n
	}
}
