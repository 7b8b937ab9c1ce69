package cli

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

// TestStatsRow computes docker's columns, of both cgroup versions.
func TestStatsRow(t *testing.T) {
	s := &container.StatsResponse{
		ID: "0123456789abcdef", Name: "/web", Read: time.Unix(1, 0),
		CPUStats:    container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: 3e9}, SystemUsage: 40e9, OnlineCPUs: 4},
		PreCPUStats: container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: 2e9}, SystemUsage: 32e9},
		MemoryStats: container.MemoryStats{Usage: 30 << 20, Limit: 100 << 20, Stats: map[string]uint64{"total_inactive_file": 10 << 20, "inactive_file": 1}},
		Networks:    map[string]container.NetworkStats{"eth0": {RxBytes: 1000, TxBytes: 1}, "eth1": {RxBytes: 500}},
		PidsStats:   container.PidsStats{Current: 7},
		BlkioStats:  container.BlkioStats{IoServiceBytesRecursive: []container.BlkioStatEntry{{Op: "Read", Value: 2000}, {Op: "write", Value: 3}, {Op: "Total", Value: 9}}},
	}
	want := statsRow{"2kB / 3B", "50.00%", "web", "0123456789ab", "20.00%", "20MiB / 100MiB", "web", "1.5kB / 1B", "7"}
	if got := statsRowOf("web", s, false); got != want {
		t.Errorf("%+v", got)
	}
	s.MemoryStats.Stats = map[string]uint64{"inactive_file": 5 << 20}
	if got := statsRowOf("web", s, true); got.MemUsage != "25MiB / 100MiB" || got.ID != s.ID {
		t.Errorf("%+v", got)
	}
	none := statsRow{"0B / 0B", "0.00%", "web", "0123456789ab", "0.00%", "0B / 0B", "web", "0B / 0B", "0"}
	if got := statsRowOf("web", &container.StatsResponse{ID: s.ID, Name: "/web"}, false); got != none {
		t.Errorf("one that does not run: %+v", got)
	}
}
