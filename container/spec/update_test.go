package spec

import (
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
)

// TestUpdate merges limits: what holds afterwards, and what is set anew.
func TestUpdate(t *testing.T) {
	one, two := &blkiodev.ThrottleDevice{Path: "/1", Rate: 1}, &blkiodev.ThrottleDevice{Path: "/2", Rate: 2}
	type limits = container.Resources
	for name, tc := range map[string]struct{ old, update, merged, changed limits }{
		"nothing": {limits{Memory: 1, CPUShares: 2}, limits{}, limits{Memory: 1, CPUShares: 2}, limits{}},
		"one":     {limits{Memory: 1, CPUShares: 2}, limits{CPUShares: 3}, limits{Memory: 1, CPUShares: 3}, limits{CPUShares: 3}},
		"memory with its swap": {limits{Memory: 9, MemorySwap: 20}, limits{Memory: 10}, limits{Memory: 10, MemorySwap: 20},
			limits{Memory: 10, MemorySwap: 20}},
		"swap with its memory": {limits{Memory: 9, MemorySwap: 20}, limits{MemorySwap: -1}, limits{Memory: 9, MemorySwap: -1},
			limits{Memory: 9, MemorySwap: -1}},
		"quota with its period": {limits{CPUPeriod: 5, CPUQuota: 6}, limits{CPUQuota: 7}, limits{CPUPeriod: 5, CPUQuota: 7},
			limits{CPUPeriod: 5, CPUQuota: 7}},
		"no limit of processes": {limits{PidsLimit: ptr(int64(5))}, limits{PidsLimit: ptr(int64(0))}, limits{PidsLimit: ptr(int64(0))},
			limits{PidsLimit: ptr(int64(0))}},
		"another device": {limits{BlkioDeviceReadBps: []*blkiodev.ThrottleDevice{one}}, limits{BlkioDeviceReadBps: []*blkiodev.ThrottleDevice{two}},
			limits{BlkioDeviceReadBps: []*blkiodev.ThrottleDevice{two}}, limits{BlkioDeviceReadBps: []*blkiodev.ThrottleDevice{{Path: "/1"}, two}}},
		"no device": {limits{BlkioDeviceWriteIOps: []*blkiodev.ThrottleDevice{one}}, limits{BlkioDeviceWriteIOps: []*blkiodev.ThrottleDevice{}},
			limits{BlkioDeviceWriteIOps: []*blkiodev.ThrottleDevice{}}, limits{BlkioDeviceWriteIOps: []*blkiodev.ThrottleDevice{{Path: "/1"}}}},
	} {
		merged, changed, err := Update(tc.old, tc.update)
		if err != nil || !reflect.DeepEqual(merged, tc.merged) || !reflect.DeepEqual(changed, tc.changed) {
			t.Errorf("%s: %v\nmerged  %+v\nchanged %+v", name, err, merged, changed)
		}
	}
}

// TestUpdateErrors has docker's texts where docker has one.
func TestUpdateErrors(t *testing.T) {
	type limits = container.Resources
	for want, tc := range map[string]struct{ old, update limits }{
		"Minimum memory limit allowed is 6MB":                                                            {limits{}, limits{Memory: 1}},
		"Nano CPUs cannot be updated as CPU Period has already been set":                                 {limits{CPUPeriod: 5000}, limits{NanoCPUs: 1e9}},
		"Nano CPUs cannot be updated as CPU Quota has already been set":                                  {limits{CPUQuota: 5000}, limits{NanoCPUs: 1e9}},
		"CPU Period cannot be updated as NanoCPUs has already been set":                                  {limits{NanoCPUs: 1e9}, limits{CPUPeriod: 5000}},
		"CPU Quota cannot be updated as NanoCPUs has already been set":                                   {limits{NanoCPUs: 1e9}, limits{CPUQuota: 5000}},
		"Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the": {limits{MemorySwap: 8 << 20}, limits{Memory: 9 << 20}},
		"Memoryswap limit should be larger than already set memory limit":                                {limits{Memory: 9 << 20}, limits{MemorySwap: 8 << 20}},
		"You should always set the Memory limit when using Memoryswap limit":                             {limits{}, limits{MemorySwap: 8 << 20}},
		"cannot update ulimits":           {limits{}, limits{Ulimits: []*container.Ulimit{{Name: "nofile"}}}},
		"cannot update devices":           {limits{}, limits{DeviceCgroupRules: []string{"a"}}},
		"cannot update memory swappiness": {limits{}, limits{MemorySwappiness: ptr(int64(3))}},
		"cannot update the cgroup parent": {limits{}, limits{CgroupParent: "/x"}},
		"cannot update the out-of-memory": {limits{}, limits{OomKillDisable: ptr(true)}},
	} {
		_, err := ValidateUpdate(&container.HostConfig{Resources: tc.update}, fullHost())
		if err == nil {
			_, _, err = Update(tc.old, tc.update)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	h := &container.HostConfig{RestartPolicy: container.RestartPolicy{Name: "x"}}
	if _, err := ValidateUpdate(h, fullHost()); err == nil {
		t.Error("a restart policy that is not there")
	}
	h = &container.HostConfig{Resources: limits{PidsLimit: ptr(int64(-1)), MemorySwappiness: ptr(int64(-1))}}
	if w, err := ValidateUpdate(h, fullHost()); err != nil || len(w) > 0 || *h.PidsLimit != 0 {
		t.Errorf("no limit of processes: %v %v %v", w, err, *h.PidsLimit)
	}
}
