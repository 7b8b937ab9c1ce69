package daemon

import (
	"fmt"

	"github.com/spf13/pflag"

	"hoy/lib/fault"
)

// unused is one of dockerd's flags that changes nothing here. It is accepted, so that
// what starts dockerd can start this engine, and told of when it asks for something
// else than what holds anyhow.
type unused struct {
	name, short string
	takes       kind
	holds       string // the value that is true of this engine anyhow, like the default of a text: ""
	must        bool   // an engine that cannot do this would be another than was asked for: refused, not warned of
	why         string
}

// kind is what a flag takes.
type kind int

const (
	takesText kind = iota
	takesNumber
	takesBool
	takesList
)

// unusedFlags lists them. A flag that has got a meaning leaves the list.
func unusedFlags() []unused {
	const (
		nftables  = "rules are always nftables', in a table of this engine's own"
		noProxy   = "published ports need no process of their own"
		noPlugins = "there are no plugins"
		noSwarm   = "there is no swarm"
		inProcess = "the image store and the runtime are parts of this engine"
	)
	return []unused{
		{"apparmor-profile", "", takesText, "", false, "the default profile is this engine's own"},
		{"authorization-plugin", "", takesList, "", true, noPlugins + ", and without it requests would be allowed that it forbids"},
		{"containerd", "", takesText, "", false, inProcess},
		{"containerd-namespace", "", takesText, "", false, inProcess},
		{"containerd-plugins-namespace", "", takesText, "", false, inProcess},
		{"cri-containerd", "", takesBool, "false", false, "there is no CRI yet"},
		{"extension-dir", "", takesList, "", false, noPlugins},
		{"firewall-backend", "", takesText, "nftables", false, nftables},
		{"ip-forward", "", takesBool, "true", false, "a network with a bridge needs it"},
		{"ip-forward-no-drop", "", takesBool, "true", false, "the policy of the machine's own forwarding is never changed"},
		{"network-control-plane-mtu", "", takesNumber, "", false, noSwarm},
		{"network-diagnostic-port", "", takesNumber, "0", false, noSwarm},
		{"node-generic-resource", "", takesList, "", false, noSwarm},
		{"nri-opts", "", takesText, "", false, noPlugins},
		{"raw-logs", "", takesBool, "true", false, "logs are always plain"},
		{"restart", "r", takesBool, "true", false, "containers have restart policies of their own"},
		{"rootless", "", takesBool, "false", true, "the engine needs root"},
		{"storage-driver", "s", takesText, "overlay2", false, "the storage is always overlayfs"},
		{"storage-opt", "", takesList, "", false, "the storage is always overlayfs"},
		{"swarm-default-advertise-addr", "", takesText, "", false, noSwarm},
		{"userland-proxy", "", takesBool, "false", false, noProxy},
		{"userland-proxy-path", "", takesText, "", false, noProxy},
	}
}

// bindUnused makes the flags known, each with what it takes.
func (f *flags) bindUnused() {
	for _, u := range unusedFlags() {
		const usage = "accepted, has no meaning here"
		switch u.takes {
		case takesBool:
			f.BoolP(u.name, u.short, u.holds == "true", usage)
		case takesNumber:
			f.IntP(u.name, u.short, 0, usage)
		case takesList:
			f.StringArrayP(u.name, u.short, nil, usage)
		default:
			f.StringP(u.name, u.short, u.holds, usage)
		}
		f.MarkHidden(u.name)
	}
}

// account warns of the flags that ask for what is not done, and refuses those that
// must not be passed over.
func (f *flags) account() (warnings []string, err error) {
	for _, u := range unusedFlags() {
		flag := f.Lookup(u.name)
		if !flag.Changed || asked(flag) == u.holds || asked(flag) == "" {
			continue
		}
		if u.must {
			return nil, fault.New(fault.Invalid, "--%s=%s: %s", u.name, asked(flag), u.why)
		}
		warnings = append(warnings, fmt.Sprintf("--%s has no effect: %s", u.name, u.why))
	}
	return warnings, nil
}

// asked is the value of a flag as text; an empty list is "".
func asked(f *pflag.Flag) string {
	if l, ok := f.Value.(pflag.SliceValue); ok && len(l.GetSlice()) == 0 {
		return ""
	}
	return f.Value.String()
}
