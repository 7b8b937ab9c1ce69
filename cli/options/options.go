// Package options turns the flags of run and create into the engine's create request.
package options

import (
	"github.com/spf13/pflag"
)

// Create holds the flags that run and create share. Register puts them on a flag
// set, Request makes the request of them:
//
//	var o options.Create
//	o.Register(flags)
//	flags.Parse(args)
//	req, err := o.Request(flags.Args(), options.System())
//
// Flags are checked while they are parsed where they can be judged alone, and in
// Request where they concern each other or the files and variables of Env.
type Create struct {
	Name, Platform, Pull, CIDFile string
	Quiet                         bool

	attach                               list
	interactive, tty                     bool
	user, workdir, hostname, domainname  string
	entrypoint, stopSignal               string
	stopTimeout                          int
	umask                                octal
	useAPISocket                         bool
	env, envFile, label, labelFile       list
	annotation                           list
	init, privileged, readOnly           bool
	autoRemove                           bool
	restart, runtime                     string
	logDriver                            string
	logOpt, storageOpt                   list
	volume, tmpfs, volumesFrom           list
	mount                                mounts
	volumeDriver                         string
	shmSize                              size
	network                              networks
	networkAlias, linkLocalIP, link      list
	ip, ip6, mac                         string
	publish, expose                      list
	publishAll                           bool
	dns, dnsOption, dnsSearch, addHost   list
	capAdd, capDrop, securityOpt         list
	groupAdd, sysctl                     list
	cgroupParent, cgroupns, ipc, pid     string
	userns, uts, isolation               string
	device, deviceCgroupRule, ulimit     list
	gpus                                 gpus
	deviceReadBps, deviceWriteBps        list
	deviceReadIops, deviceWriteIops      list
	blkioWeightDevice                    list
	blkioWeight                          uint16
	cpuPeriod, cpuQuota                  int64
	cpuRTPeriod, cpuRTRuntime, cpuShares int64
	cpus                                 nanoCPUs
	cpusetCPUs, cpusetMems               string
	memory, memoryReservation            size
	memorySwap                           swapSize
	swappiness, pidsLimit                int64
	oomKillDisable                       bool
	oomScoreAdj                          int
	healthCmd                            string
	healthInterval, healthTimeout        duration
	healthStartPeriod                    duration
	healthStartInterval                  duration
	healthRetries                        int
	noHealthcheck                        bool
	onUnhealthy                          string

	flags *pflag.FlagSet
}

// group is the annotation that sorts flags in the help.
const group = "group"

// Groups are the headings of the help, in their order; flags of other commands have none.
var groups = [...]string{"General", "Process", "Storage", "Network", "Isolation and security", "Resources", "Health", "Not on Linux, refused"}

// Groups returns the headings under which the help shows the flags.
func Groups() []string { return groups[:] }

// GroupOf returns the heading of a flag, "" if it has none.
func GroupOf(f *pflag.Flag) string {
	if g := f.Annotations[group]; len(g) > 0 {
		return g[0]
	}
	return ""
}

// Changed reports whether the flag was given.
func (o *Create) changed(name string) bool { return o.flags.Changed(name) }

// TTY reports whether a terminal was asked for.
func (o *Create) TTY() bool { return o.tty }

// AutoRemove reports whether --rm was given.
func (o *Create) AutoRemove() bool { return o.autoRemove }

// Attached reports whether --attach was given.
func (o *Create) Attached() bool { return len(o.attach.v) > 0 }
