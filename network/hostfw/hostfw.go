// Package hostfw reads what the host's own firewall lets in, so that the same holds for
// published ports of containers: from the configuration of ufw or of firewalld, which
// says what their rules mean. It is followed as it changes.
//
// Why it is needed: what comes to a published port is forwarded to a container, and
// never meets the rules for what comes to the host. A port that the administrator has
// closed would be open as soon as a container publishes it.
//
// An engine has it follow the host for as long as it runs:
//
//	var host hostfw.Host
//	go host.Follow(ctx, func(s hostfw.State) {
//		warnings, err := host.Pass(table)   // containers pass a policy to drop what is forwarded
//		err = rules.SetPolicy(s.Policy)     // published ports obey
//		... s.Warnings and warnings go to the log ...
//	})
//	...
//	host.Unpass(table)                      // with the table itself: nothing is left
package hostfw

import (
	"os"
	"path/filepath"

	"hoy/network/firewall"
)

// State is what a host's firewall wants.
type State struct {
	Policy firewall.Policy
	// Warnings name what published ports do not obey, and what the administrator
	// has to do, a line each.
	Warnings []string
}

// Host is where configurations are read from.
type Host struct {
	Root string // "": the root of the file system
}

func (h Host) path(p string) string { return filepath.Join("/", h.Root, p) }

func (h Host) read(p string) string {
	b, _ := os.ReadFile(h.path(p))
	return string(b)
}

// Read returns the policy of the firewall that is at work; a host without one lets
// everybody in. A configuration that cannot be read refuses all, with a warning: who
// has a firewall wants to be asked.
func (h Host) Read() State {
	switch {
	case h.ufwEnabled():
		return h.readUFW()
	case h.firewalldRuns():
		return h.readFirewalld()
	}
	return State{}
}
