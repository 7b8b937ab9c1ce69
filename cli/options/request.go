package options

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// Request makes the create request of the flags, the image and its command.
func (o *Create) Request(args []string, e Env) (*container.CreateRequest, error) {
	if err := o.conflicts(); err != nil {
		return nil, err
	}
	c, err := o.config(args, e)
	if err != nil {
		return nil, err
	}
	h, err := o.hostConfig(e)
	if err != nil {
		return nil, err
	}
	r := &container.CreateRequest{Config: c, HostConfig: h}
	if h.NetworkMode, r.NetworkingConfig, err = o.endpoints(); err != nil {
		return nil, err
	}
	if c.ExposedPorts, h.PortBindings, err = o.ports(); err != nil {
		return nil, err
	}
	if h.Binds, c.Volumes, h.Tmpfs, err = o.volumes(e); err != nil {
		return nil, err
	}
	return r, nil
}

func (o *Create) conflicts() error {
	if err := o.namespaces(); err != nil {
		return err
	}
	switch {
	case o.autoRemove && o.changed("restart") && o.restart != "no" && o.restart != "":
		return errors.New("conflicting options: cannot specify both --restart and --rm")
	case o.noHealthcheck && (o.healthCmd != "" || o.healthInterval != 0 || o.healthTimeout != 0 || o.healthStartPeriod != 0 || o.healthStartInterval != 0 || o.healthRetries != 0):
		return errors.New("--no-healthcheck conflicts with --health-* options")
	case o.healthRetries < 0:
		return errors.New("--health-retries cannot be negative")
	case o.changed("memory-swappiness") && (o.swappiness < -1 || o.swappiness > 100):
		return fmt.Errorf("invalid value: %d. Valid memory swappiness range is 0-100", o.swappiness)
	case o.logDriver == "none" && len(o.logOpt.v) > 0:
		return errors.New("invalid logging opts for driver none: --log-opt says how to log, none says not to")
	case o.oomScoreAdj < -1000 || o.oomScoreAdj > 1000:
		return fmt.Errorf("invalid value %d for --oom-score-adj: it goes from -1000 to 1000", o.oomScoreAdj)
	case o.blkioWeight != 0 && (o.blkioWeight < 10 || o.blkioWeight > 1000):
		return fmt.Errorf("invalid value %d for --blkio-weight: it goes from 10 to 1000", o.blkioWeight)
	}
	return nil
}

func (o *Create) config(args []string, e Env) (*container.Config, error) {
	env, err := e.Variables(o.envFile.v, e.withProxies(o.env.v))
	if err != nil {
		return nil, err
	}
	labels, err := o.labels(e)
	if err != nil {
		return nil, err
	}
	c := &container.Config{
		Hostname: o.hostname, Domainname: o.domainname, User: o.user, Tty: o.tty, OpenStdin: o.interactive,
		Env: env, Cmd: args[1:], Image: args[0], Labels: labels, WorkingDir: o.workdir, StopSignal: o.stopSignal,
	}
	if len(o.attach.v) == 0 {
		c.AttachStdout, c.AttachStderr, c.AttachStdin = true, true, o.interactive
	}
	for _, a := range o.attach.v {
		c.AttachStdin = c.AttachStdin || a == "stdin"
		c.AttachStdout = c.AttachStdout || a == "stdout"
		c.AttachStderr = c.AttachStderr || a == "stderr"
	}
	// With an attached stdin the container's ends with ours.
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	if o.changed("entrypoint") {
		c.Entrypoint = []string{o.entrypoint} // "" resets the image's
	}
	if o.changed("stop-timeout") {
		c.StopTimeout = &o.stopTimeout
	}
	c.Healthcheck = o.healthcheck()
	return c, nil
}

func (o *Create) healthcheck() *container.HealthConfig {
	if o.noHealthcheck {
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	h := container.HealthConfig{
		Interval: time.Duration(o.healthInterval), Timeout: time.Duration(o.healthTimeout),
		StartPeriod: time.Duration(o.healthStartPeriod), StartInterval: time.Duration(o.healthStartInterval),
		Retries: o.healthRetries,
	}
	if o.healthCmd != "" {
		h.Test = []string{"CMD-SHELL", o.healthCmd}
	} else if h.Interval == 0 && h.Timeout == 0 && h.StartPeriod == 0 && h.StartInterval == 0 && h.Retries == 0 {
		return nil
	}
	return &h
}

func (o *Create) hostConfig(e Env) (*container.HostConfig, error) {
	restart, err := parseRestart(o.restart)
	if err != nil {
		return nil, err
	}
	security, unconfined, err := o.security(e)
	if err != nil {
		return nil, err
	}
	res, err := o.limits()
	if err != nil {
		return nil, err
	}
	h := &container.HostConfig{
		ContainerIDFile: o.CIDFile, AutoRemove: o.autoRemove, Privileged: o.privileged, PublishAllPorts: o.publishAll,
		VolumeDriver: o.volumeDriver, VolumesFrom: o.volumesFrom.v, ReadonlyRootfs: o.readOnly, ShmSize: int64(o.shmSize),
		LogConfig:     container.LogConfig{Type: o.logDriver, Config: pairs(o.logOpt.v)},
		RestartPolicy: restart, Runtime: o.runtime, Annotations: pairs(o.annotation.v),
		CapAdd: o.capAdd.v, CapDrop: o.capDrop.v, GroupAdd: o.groupAdd.v, SecurityOpt: security,
		StorageOpt: pairs(o.storageOpt.v), Sysctls: pairs(o.sysctl.v), Links: o.link.v,
		DNSOptions: o.dnsOption.v, DNSSearch: o.dnsSearch.v, ExtraHosts: o.addHost.v,
		CgroupnsMode: container.CgroupnsMode(o.cgroupns), IpcMode: container.IpcMode(o.ipc), PidMode: container.PidMode(o.pid),
		UsernsMode: container.UsernsMode(o.userns), UTSMode: container.UTSMode(o.uts), Isolation: container.Isolation(o.isolation),
		OomScoreAdj: o.oomScoreAdj, Mounts: e.mapped(o.mount.v), Resources: *res,
	}
	for _, s := range o.dns.v {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		h.DNS = append(h.DNS, a)
	}
	if unconfined {
		h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
	}
	if o.umask.set {
		h.Umask = &o.umask.value
	}
	if o.useAPISocket {
		if e.Socket == "" {
			return nil, errors.New("--use-api-socket: the engine is not reached by a socket of this machine")
		}
		h.Mounts = append(slices.Clone(h.Mounts), mount.Mount{Type: mount.TypeBind, Source: e.Socket, Target: apiSocket, BindOptions: &mount.BindOptions{}})
	}
	if o.changed("init") {
		h.Init = &o.init
	}
	if o.tty {
		h.ConsoleSize[0], h.ConsoleSize[1] = e.Console()
	}
	return h, nil
}

// apiSocket is where clients in containers look for an engine.
const apiSocket = "/var/run/docker.sock"

func (o *Create) limits() (*container.Resources, error) {
	devices, requests, err := o.devices()
	if err != nil {
		return nil, err
	}
	r := &container.Resources{
		CPUShares: o.cpuShares, NanoCPUs: int64(o.cpus), CPUPeriod: o.cpuPeriod, CPUQuota: o.cpuQuota,
		CPURealtimePeriod: o.cpuRTPeriod, CPURealtimeRuntime: o.cpuRTRuntime, CpusetCpus: o.cpusetCPUs, CpusetMems: o.cpusetMems,
		Memory: int64(o.memory), MemoryReservation: int64(o.memoryReservation), MemorySwap: int64(o.memorySwap.size),
		CgroupParent: o.cgroupParent, BlkioWeight: o.blkioWeight,
		Devices: devices, DeviceRequests: requests, DeviceCgroupRules: o.deviceCgroupRule.v,
	}
	if o.changed("memory-swappiness") {
		r.MemorySwappiness = &o.swappiness
	}
	if o.changed("oom-kill-disable") {
		r.OomKillDisable = &o.oomKillDisable
	}
	if o.changed("pids-limit") {
		r.PidsLimit = &o.pidsLimit
	}
	return r, o.lists(r)
}

// lists adds the limits that are given several times.
func (o *Create) lists(r *container.Resources) error {
	for _, s := range o.ulimit.v {
		u, err := units.ParseUlimit(s)
		if err != nil {
			return err
		}
		r.Ulimits = append(r.Ulimits, u)
	}
	for _, s := range o.blkioWeightDevice.v {
		path, w, err := parseWeight(s)
		if err != nil {
			return err
		}
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: path, Weight: w})
	}
	for _, t := range []struct {
		given []string
		parse func(string) (string, uint64, error)
		out   *[]*blkiodev.ThrottleDevice
	}{
		{o.deviceReadBps.v, parseBps, &r.BlkioDeviceReadBps}, {o.deviceWriteBps.v, parseBps, &r.BlkioDeviceWriteBps},
		{o.deviceReadIops.v, parseIops, &r.BlkioDeviceReadIOps}, {o.deviceWriteIops.v, parseIops, &r.BlkioDeviceWriteIOps},
	} {
		for _, s := range t.given {
			path, rate, err := t.parse(s)
			if err != nil {
				return err
			}
			*t.out = append(*t.out, &blkiodev.ThrottleDevice{Path: path, Rate: rate})
		}
	}
	return nil
}

func parseRestart(s string) (p container.RestartPolicy, err error) {
	if s == "" {
		return p, nil
	}
	name, count, has := strings.Cut(s, ":")
	p.Name = container.RestartPolicyMode(name)
	if has {
		if p.MaximumRetryCount, err = strconv.Atoi(count); err != nil {
			return p, fmt.Errorf("invalid restart policy format: maximum retry count must be an integer, like on-failure:3, not %q", s)
		}
	}
	return p, container.ValidateRestartPolicy(p)
}
