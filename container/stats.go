package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	goruntime "runtime"
	"sync"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/linux/cgroup"
	"hoy/linux/proc"
)

// StatsOptions says how often a container's use of resources is told.
type StatsOptions struct {
	Stream  bool // every second, until the container is removed
	OneShot bool // without Stream: at once, with nothing to compare with
}

// statsPeriod is the time between two samples, as docker has it.
const statsPeriod = time.Second

// Stats tells a container's use of resources to send. A container that does not run
// uses none. Without Stream and OneShot it takes a second: the answer has two samples,
// from which a client computes the use of the processors.
func (c *Containers) Stats(ctx context.Context, ref string, o StatsOptions, send func(*apicontainer.StatsResponse) error) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	read := func() (*apicontainer.StatsResponse, error) { return c.sample(k) }
	if o.Stream {
		one := read
		read = func() (*apicontainer.StatsResponse, error) { return k.meter.take(one) }
		defer k.meter.forget()
	}
	var last apicontainer.StatsResponse
	for first := true; ; first = false {
		taken, err := read()
		if err != nil {
			return err
		}
		s := *taken
		s.PreRead, s.PreCPUStats = last.Read, last.CPUStats
		last = s
		if o.Stream || o.OneShot || !first || s.Read.IsZero() {
			if err := send(&s); err != nil || !o.Stream {
				return err
			}
		}
		wait := statsPeriod
		if o.Stream {
			wait = untilSample(time.Now())
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		case <-c.closing:
			return nil
		}
		if c.index.gone(k) {
			return nil
		}
	}
}

// untilSample is the time to the next sample of a stream. They are taken when a second
// begins, the same one for all clients; between the first two are half a second at least,
// for a client that computes what was used between them.
func untilSample(now time.Time) time.Duration {
	return now.Add(statsPeriod / 2).Truncate(statsPeriod).Add(statsPeriod).Sub(now)
}

// A meter has what was last read of a container, for all who want to know at the same time.
type meter struct {
	mu   sync.Mutex // held while it is read
	last *apicontainer.StatsResponse
	at   time.Time
}

// sameTime is how old a sample of now may be.
const sameTime = statsPeriod / 10

// take returns the last sample, or a new one by read. Nobody may change it.
func (m *meter) take(read func() (*apicontainer.StatsResponse, error)) (*apicontainer.StatsResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && time.Since(m.at) < sameTime {
		return m.last, nil
	}
	s, err := read()
	if err == nil {
		m.last, m.at = s, time.Now()
	}
	return s, err
}

// forget gives the memory of the last sample back.
func (m *meter) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = nil
}

// sample reads what the kernel counts for a container now.
func (c *Containers) sample(k *Container) (*apicontainer.StatsResponse, error) {
	none := &apicontainer.StatsResponse{ID: k.id, Name: "/" + k.rec().Name, OSType: goruntime.GOOS}
	p, err := k.running()
	if err != nil {
		return none, nil
	}
	counted, err := p.cgroup.Stats()
	if err == nil {
		s := *none
		s.Read = time.Now().UTC()
		c.fill(&s, &counted)
		if err = c.fillMachine(&s, k.rec(), p.Pid); err == nil {
			return &s, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) {
		return none, nil // it has just ended
	}
	return nil, fmt.Errorf("cannot read the statistics of container %s: %w", k.id, err)
}

// fillMachine adds what is not in the cgroup. The time of all processors is read right
// after the container's: clients divide them.
func (c *Containers) fillMachine(s *apicontainer.StatsResponse, rec *record, pid int) error {
	total, online, err := proc.CPU()
	if err != nil {
		return err
	}
	s.CPUStats.SystemUsage, s.CPUStats.OnlineCPUs = uint64(total), uint32(online)
	if rec.Host.NetworkMode.IsHost() || rec.Config.NetworkDisabled {
		return nil // the machine's interfaces are not the container's
	}
	list, err := proc.Interfaces(pid)
	if err != nil {
		return err
	}
	s.Networks = map[string]apicontainer.NetworkStats{}
	for _, i := range list {
		if i.Name == "lo" {
			continue
		}
		s.Networks[i.Name] = apicontainer.NetworkStats{
			RxBytes: i.RxBytes, RxPackets: i.RxPackets, RxErrors: i.RxErrors, RxDropped: i.RxDropped,
			TxBytes: i.TxBytes, TxPackets: i.TxPackets, TxErrors: i.TxErrors, TxDropped: i.TxDropped,
		}
	}
	return nil
}

// fill puts the cgroup's counters into the fields where docker has them.
func (c *Containers) fill(s *apicontainer.StatsResponse, g *cgroup.Stats) {
	s.CPUStats.CPUUsage = apicontainer.CPUUsage{
		TotalUsage: g.CPU.Usage, PercpuUsage: g.CPU.PerCPU, UsageInUsermode: g.CPU.User, UsageInKernelmode: g.CPU.System,
	}
	s.CPUStats.ThrottlingData = apicontainer.ThrottlingData{
		Periods: g.CPU.Periods, ThrottledPeriods: g.CPU.Throttled, ThrottledTime: g.CPU.ThrottledTime,
	}
	s.MemoryStats = apicontainer.MemoryStats{
		Usage: g.Memory.Usage, MaxUsage: g.Memory.Peak, Limit: g.Memory.Limit, Failcnt: g.Memory.Failed, Stats: g.Memory.Details,
	}
	if total := proc.Memory(); total > 0 && s.MemoryStats.Limit > total {
		s.MemoryStats.Limit = total
	}
	s.PidsStats.Current = g.PIDs.Current
	if g.PIDs.Limit != ^uint64(0) {
		s.PidsStats.Limit = g.PIDs.Limit // 0: none
	}
	s.BlkioStats = blockIO(g, c.o.Cgroups.Mode())
}

// blockIO has docker's names of operations, which differ with the cgroup version, and
// on v2 docker's one list.
func blockIO(g *cgroup.Stats, mode cgroup.Mode) apicontainer.BlkioStats {
	read, write := "Read", "Write"
	if mode == cgroup.V2 {
		read, write = "read", "write"
	}
	bytes, requests := []apicontainer.BlkioStatEntry{}, []apicontainer.BlkioStatEntry{}
	for _, d := range g.BlockIO {
		entry := func(op string, value uint64) apicontainer.BlkioStatEntry {
			return apicontainer.BlkioStatEntry{Major: d.Major, Minor: d.Minor, Op: op, Value: value}
		}
		bytes = append(bytes, entry(read, d.ReadBytes), entry(write, d.WriteBytes))
		requests = append(requests, entry(read, d.ReadRequests), entry(write, d.WriteRequests))
	}
	if mode == cgroup.V2 {
		return apicontainer.BlkioStats{IoServiceBytesRecursive: bytes}
	}
	none := []apicontainer.BlkioStatEntry{} // the kernel no longer counts these
	return apicontainer.BlkioStats{
		IoServiceBytesRecursive: bytes, IoServicedRecursive: requests, IoQueuedRecursive: none, IoServiceTimeRecursive: none,
		IoWaitTimeRecursive: none, IoMergedRecursive: none, IoTimeRecursive: none, SectorsRecursive: none,
	}
}
