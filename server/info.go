package server

import "github.com/moby/moby/api/types/system"

// legacyInfo is what info says to clients up to 1.49, beside what it says to all.
type legacyInfo struct {
	*system.Info
	BridgeNfIptables, BridgeNfIp6tables bool

	// With the field Expected, for clients up to 1.48.
	ContainerdCommit, RuncCommit, InitCommit any
}

type legacyCommit struct{ ID, Expected string }

// infoFor shapes i, which is the caller's own copy, for version v.
func infoFor(i *system.Info, v version) any {
	if v < 44 {
		for name, r := range i.Runtimes {
			r.Status = nil
			i.Runtimes[name] = r
		}
	}
	if v < 46 {
		i.Containerd = nil
	}
	if v < 53 {
		i.NRI = nil
	}
	if v >= 50 {
		return i
	}
	i.DiscoveredDevices = nil
	l := legacyInfo{Info: i, ContainerdCommit: i.ContainerdCommit, RuncCommit: i.RuncCommit, InitCommit: i.InitCommit}
	if v < 49 {
		i.FirewallBackend = nil
		expected := func(c system.Commit) legacyCommit { return legacyCommit{c.ID, c.ID} }
		l.ContainerdCommit, l.RuncCommit, l.InitCommit = expected(i.ContainerdCommit), expected(i.RuncCommit), expected(i.InitCommit)
	}
	return l
}
