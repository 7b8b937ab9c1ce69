package options

import (
	"os"

	"github.com/spf13/pflag"
)

// Register puts the flags of create on f.
func (o *Create) Register(f *pflag.FlagSet) {
	o.flags = f
	f.SetInterspersed(false) // what follows the image is the command's
	for i, register := range []func(*pflag.FlagSet){o.general, o.process, o.storage, o.networking, o.isolationFlags, o.resources, o.health, o.foreign} {
		sub := pflag.NewFlagSet("", pflag.ContinueOnError)
		register(sub)
		sub.VisitAll(func(fl *pflag.Flag) {
			fl.Annotations = map[string][]string{group: groups[i : i+1]}
			f.AddFlag(fl)
		})
	}
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "net":
			name = "network"
		case "net-alias":
			name = "network-alias"
		case "dns-opt":
			name = "dns-option"
		}
		return pflag.NormalizedName(name)
	})
}

func (o *Create) general(f *pflag.FlagSet) {
	f.StringVar(&o.Name, "name", "", "Name of the container")
	f.StringVar(&o.Platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Platform of the image, os/arch[/variant], if it has several")
	f.Var(newOneOf(&o.Pull, "missing", "always", "missing", "never"), "pull", "Pull the image: always, missing, never")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "Do not show the progress of a pull")
	f.StringVar(&o.CIDFile, "cidfile", "", "Write the container's id to this file")
	f.BoolVar(&o.autoRemove, "rm", false, "Remove the container and its anonymous volumes when it ends")
	f.StringVar(&o.restart, "restart", "no", "Restart when it ends: no, on-failure[:max-retries], always, unless-stopped")
	f.VarP(o.label.of("list", checkKey("label", "env=production")), "label", "l", "Set a label, key=value")
	f.Var(o.labelFile.of("list", nil), "label-file", "Read labels from a file, one key=value a line")
	f.Var(o.annotation.of("map", checkKey("annotation", "com.example.owner=me")), "annotation", "Pass an annotation to the runtime, key=value")
	f.StringVar(&o.logDriver, "log-driver", "", "Logging driver")
	f.Var(o.logOpt.of("list", checkPair("log option", "max-size=10m")), "log-opt", "Option of the logging driver, key=value")
	f.StringVar(&o.runtime, "runtime", "", "Runtime to use for this container")
}

func (o *Create) process(f *pflag.FlagSet) {
	f.VarP(o.attach.of("list", checkStream), "attach", "a", "Attach to stdin, stdout or stderr")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep standard input open")
	f.BoolVarP(&o.tty, "tty", "t", false, "Give it a terminal")
	f.StringVar(&o.entrypoint, "entrypoint", "", "Replace the image's entrypoint")
	f.VarP(o.env.of("list", checkEnv), "env", "e", "Set an environment variable, NAME=value; NAME alone takes ours")
	f.Var(o.envFile.of("list", nil), "env-file", "Read environment variables from a file")
	f.StringVarP(&o.user, "user", "u", "", "User: name or uid[:group or gid]")
	f.Var(&o.umask, "umask", "File mode mask of its processes, in octal")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory")
	f.StringVarP(&o.hostname, "hostname", "h", "", "Host name")
	f.StringVar(&o.domainname, "domainname", "", "NIS domain name")
	f.BoolVar(&o.init, "init", false, "Run a small init as PID 1 that passes signals on and reaps processes")
	f.StringVar(&o.stopSignal, "stop-signal", "", "Signal that stops it")
	f.IntVar(&o.stopTimeout, "stop-timeout", 0, "Seconds to wait for it to stop before it is killed")
}

func (o *Create) storage(f *pflag.FlagSet) {
	f.VarP(o.volume.of("list", checkVolume), "volume", "v", "Mount a path or a volume, [source:]target[:options]")
	f.Var(&o.mount, "mount", "Mount anything, type=bind|volume|tmpfs|image,source=…,target=…")
	f.Var(o.tmpfs.of("list", checkTmpfs), "tmpfs", "Mount a tmpfs, target[:options]")
	f.Var(o.volumesFrom.of("list", checkNotEmpty("container", "db:ro")), "volumes-from", "Mount the volumes of another container")
	f.StringVar(&o.volumeDriver, "volume-driver", "", "Driver of the container's volumes")
	f.BoolVar(&o.readOnly, "read-only", false, "Make the root file system read-only")
	f.Var(&o.shmSize, "shm-size", "Size of /dev/shm")
	f.BoolVar(&o.useAPISocket, "use-api-socket", false, "Mount the engine's socket, at /var/run/docker.sock")
	f.Var(o.storageOpt.of("list", checkPair("storage option", "size=10G")), "storage-opt", "Option of the storage driver, key=value")
}

func (o *Create) networking(f *pflag.FlagSet) {
	f.Var(&o.network, "network", "Network to be on: name, none, host, container:NAME, or name=…,ip=…,alias=…")
	f.Var(o.networkAlias.of("list", checkNotEmpty("alias", "db")), "network-alias", "Another name on the network")
	f.VarP(o.publish.of("list", checkPublish), "publish", "p", "Publish a port, [[ip:]host-port:]port[/protocol]")
	f.BoolVarP(&o.publishAll, "publish-all", "P", false, "Publish every exposed port on a free port")
	f.Var(o.expose.of("list", checkExpose), "expose", "Expose a port or a range of ports")
	f.StringVar(&o.ip, "ip", "", "IPv4 address on the network")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address on the network")
	f.StringVar(&o.mac, "mac-address", "", "MAC address")
	f.Var(o.linkLocalIP.of("list", checkIP), "link-local-ip", "Link-local address")
	f.Var(o.link.of("list", checkNotEmpty("link", "db:alias")), "link", "Link to another container, name[:alias]")
	f.Var(o.dns.of("list", checkIP), "dns", "DNS server")
	f.Var(o.dnsOption.of("list", nil), "dns-option", "DNS option")
	f.Var(o.dnsSearch.of("list", checkSearch), "dns-search", "DNS search domain, . for none")
	f.Var(o.addHost.of("list", checkHost), "add-host", "Line of /etc/hosts, name:ip")
}

func (o *Create) isolationFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.privileged, "privileged", false, "Give it every right that the engine has")
	f.Var(o.capAdd.of("list", checkNotEmpty("capability", "NET_ADMIN")), "cap-add", "Add a capability")
	f.Var(o.capDrop.of("list", checkNotEmpty("capability", "NET_RAW")), "cap-drop", "Drop a capability")
	f.Var(o.securityOpt.of("list", checkNotEmpty("security option", "no-new-privileges")), "security-opt", "Security option: seccomp=, apparmor=, label=, no-new-privileges, systempaths=unconfined, writable-cgroups=true")
	f.Var(o.groupAdd.of("list", checkNotEmpty("group", "audio")), "group-add", "Join a further group")
	f.Var(o.sysctl.of("map", checkPair("sysctl", "net.core.somaxconn=1024")), "sysctl", "Kernel parameter of its namespaces, key=value")
	f.StringVar(&o.cgroupns, "cgroupns", "", "Cgroup namespace: host, private")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", "Parent of its cgroup")
	f.StringVar(&o.ipc, "ipc", "", "IPC namespace: none, private, shareable, host, container:NAME")
	f.StringVar(&o.pid, "pid", "", "PID namespace: host, container:NAME")
	f.StringVar(&o.userns, "userns", "", "User namespace: host")
	f.StringVar(&o.uts, "uts", "", "UTS namespace: host")
}

func (o *Create) resources(f *pflag.FlagSet) {
	o.changeable(f)
	f.Int64Var(&o.swappiness, "memory-swappiness", -1, "How readily it is swapped out, 0 to 100")
	f.BoolVar(&o.oomKillDisable, "oom-kill-disable", false, "Do not kill it when it is out of memory")
	f.IntVar(&o.oomScoreAdj, "oom-score-adj", 0, "How readily it is killed when the machine is out of memory (-1000 to 1000)")
	f.Var(o.device.of("list", checkDevice), "device", "Give it a device, path[:path[:permissions]] or a CDI name")
	f.Var(o.deviceCgroupRule.of("list", checkDeviceRule), "device-cgroup-rule", "Allow devices, like 'c 42:* rwm'")
	f.Var(&o.gpus, "gpus", "GPUs to give it: a number, all, or device=…")
	f.Var(o.ulimit.of("ulimit", checkUlimit), "ulimit", "Limit of its processes, name=soft[:hard]")
}

// changeable are the limits that a container can be given anew.
func (o *Create) changeable(f *pflag.FlagSet) {
	f.Var(&o.cpus, "cpus", "Number of CPUs")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "Share of the CPUs, relative to others (1024 is normal)")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Period of the CPU quota, in microseconds")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "CPU time within a period, in microseconds")
	f.Int64Var(&o.cpuRTPeriod, "cpu-rt-period", 0, "Period of the real-time quota, in microseconds")
	f.Int64Var(&o.cpuRTRuntime, "cpu-rt-runtime", 0, "Real-time CPU time within a period, in microseconds")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs to run on (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "Memory nodes to use (0-3, 0,1)")
	f.VarP(&o.memory, "memory", "m", "Memory limit")
	f.Var(&o.memoryReservation, "memory-reservation", "Memory to leave it when memory is short")
	f.Var(&o.memorySwap, "memory-swap", "Limit of memory and swap together, -1 for unlimited swap")
	f.Int64Var(&o.pidsLimit, "pids-limit", 0, "Limit of processes, -1 for none")
	f.Uint16Var(&o.blkioWeight, "blkio-weight", 0, "Weight of block I/O, 10 to 1000, 0 for none")
	f.Var(o.blkioWeightDevice.of("list", checkWeight), "blkio-weight-device", "Weight on one device, path:weight")
	f.Var(o.deviceReadBps.of("list", checkBps), "device-read-bps", "Limit reading from a device, path:rate (bytes a second)")
	f.Var(o.deviceWriteBps.of("list", checkBps), "device-write-bps", "Limit writing to a device, path:rate (bytes a second)")
	f.Var(o.deviceReadIops.of("list", checkIops), "device-read-iops", "Limit reads from a device, path:rate (a second)")
	f.Var(o.deviceWriteIops.of("list", checkIops), "device-write-iops", "Limit writes to a device, path:rate (a second)")
}

func (o *Create) health(f *pflag.FlagSet) {
	f.StringVar(&o.healthCmd, "health-cmd", "", "Command that tells whether it is healthy")
	f.Var(&o.healthInterval, "health-interval", "Time between checks (ms, s, m, h)")
	f.Var(&o.healthTimeout, "health-timeout", "Time that a check may take (ms, s, m, h)")
	f.Var(&o.healthStartPeriod, "health-start-period", "Time to start, in which failures do not count (ms, s, m, h)")
	f.Var(&o.healthStartInterval, "health-start-interval", "Time between checks while it starts (ms, s, m, h)")
	f.IntVar(&o.healthRetries, "health-retries", 0, "Failures in a row that make it unhealthy")
	o.unhealthy(f)
	f.BoolVar(&o.noHealthcheck, "no-healthcheck", false, "Do not check, whatever the image says")
}

func (o *Create) unhealthy(f *pflag.FlagSet) {
	f.Var(newOneOf(&o.onUnhealthy, "", "none", "restart", "stop"), "on-unhealthy", "What becomes of it when it is unhealthy: none, restart, stop")
}

// foreign are docker's flags that have no meaning for Linux containers here: they
// are known, and using them is an error that says why.
func (o *Create) foreign(f *pflag.FlagSet) {
	f.Var(&only{&o.isolation, "default", "only the isolation of Linux ('default') exists here: 'process' and 'hyperv' are of Windows"}, "isolation", "Isolation technology: default (others are of Windows)")
	for name, help := range map[string]string{
		"cpu-count":       "is of Windows: use --cpus",
		"cpu-percent":     "is of Windows: use --cpus",
		"io-maxbandwidth": "is of Windows: use --device-read-bps and --device-write-bps",
		"io-maxiops":      "is of Windows: use --device-read-iops and --device-write-iops",
	} {
		f.Var(&refuse{"option " + help, "int"}, name, "Refused: "+help)
	}
}
