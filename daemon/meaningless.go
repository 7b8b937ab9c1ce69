package daemon

// flag is one of dockerd's that is accepted, so that what starts dockerd can start
// this engine, but changes nothing.
type flag struct {
	name, short string
	isBool      bool
	why         string
}

// meaningless lists them. A flag that has got a meaning leaves the list.
func meaningless() []flag {
	const (
		noPublishing = "ports are not published yet"
		noIPv6       = "networks have IPv4 only yet"
		noPulls      = "images are not pulled yet"
		nftables     = "rules are always nftables', in a table of this engine's own"
		noPlugins    = "there are no plugins"
		noSwarm      = "there is no swarm"
		inProcess    = "the image store and the runtime are parts of this engine"
	)
	return []flag{
		{"add-runtime", "", false, inProcess},
		{"allow-direct-routing", "", true, noPublishing},
		{"apparmor-profile", "", false, ""},
		{"authorization-plugin", "", false, noPlugins},
		{"bip6", "", false, noIPv6},
		{"bridge-accept-fwmark", "", false, ""},
		{"cdi-spec-dir", "", false, ""},
		{"containerd", "", false, inProcess},
		{"containerd-namespace", "", false, inProcess},
		{"containerd-plugins-namespace", "", false, inProcess},
		{"cpu-rt-period", "", false, ""},
		{"cpu-rt-runtime", "", false, ""},
		{"cri-containerd", "", true, ""},
		{"default-gateway", "", false, "the gateway is the bridge"},
		{"default-gateway-v6", "", false, noIPv6},
		{"default-network-opt", "", false, ""},
		{"default-runtime", "", false, inProcess},
		{"default-stop-timeout", "", false, ""},
		{"exec-opt", "", false, "cgroups are made without a manager"},
		{"extension-dir", "", false, noPlugins},
		{"feature", "", false, ""},
		{"firewall-backend", "", false, nftables},
		{"fixed-cidr", "", false, ""},
		{"fixed-cidr-v6", "", false, noIPv6},
		{"http-proxy", "", false, noPulls},
		{"https-proxy", "", false, noPulls},
		{"icc", "", true, ""},
		{"insecure-registry", "", false, noPulls},
		{"ip", "", false, noPublishing},
		{"ip-forward", "", true, "a network with a bridge needs it"},
		{"ip-forward-no-drop", "", true, ""},
		{"ip6tables", "", true, nftables},
		{"iptables", "", true, nftables},
		{"ipv6", "", true, noIPv6},
		{"live-restore", "", true, "containers always outlive the engine"},
		{"max-concurrent-downloads", "", false, noPulls},
		{"max-concurrent-uploads", "", false, noPulls},
		{"max-download-attempts", "", false, noPulls},
		{"metrics-addr", "", false, ""},
		{"network-control-plane-mtu", "", false, noSwarm},
		{"network-diagnostic-port", "", false, ""},
		{"no-proxy", "", false, noPulls},
		{"node-generic-resource", "", false, noSwarm},
		{"nri-opts", "", false, noPlugins},
		{"raw-logs", "", true, "logs are always plain"},
		{"registry-mirror", "", false, noPulls},
		{"rootless", "", true, ""},
		{"selinux-enabled", "", true, ""},
		{"shutdown-timeout", "", false, "containers outlive the engine, so it does not wait for them"},
		{"storage-driver", "s", false, "the storage is always overlayfs"},
		{"storage-opt", "", false, "the storage is always overlayfs"},
		{"swarm-default-advertise-addr", "", false, noSwarm},
		{"userland-proxy", "", true, noPublishing},
		{"userland-proxy-path", "", false, noPublishing},
	}
}
