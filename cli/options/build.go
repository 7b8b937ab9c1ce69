package options

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"

	"hoy/cli/buildcontext"
	"hoy/client"
)

// Build are the options of build: docker's, with and without buildx.
type Build struct {
	// What the command line does itself.
	File, IIDFile, MetadataFile string
	Progress                    string
	Quiet, Debug                bool
	Call                        Call
	Contexts                    []buildcontext.Named

	flags *pflag.FlagSet

	tags, args, labels, annotations, platforms, hosts          list
	cacheFrom, cacheTo, noCacheFilter, secrets, outputs        list
	attests, allow, contexts, ulimits, resource                list
	target, network, cgroupParent, provenance, sbom, isolation string
	cpusetCPUs, cpusetMems, call                               string
	cpuShares, cpuPeriod, cpuQuota                             int64
	memory, shmSize                                            size
	memorySwap                                                 swapSize
	noCache, pull, push, load, check, rm, forceRm, compress    bool
}

// Call is what the Dockerfile is asked instead of being built.
type Call struct {
	Method       string // lint, outline, targets; "": it is built
	JSON         bool
	IgnoreStatus bool // warnings are no failure
}

// Register adds the flags to f.
func (o *Build) Register(f *pflag.FlagSet) {
	o.flags = f
	o.whatFlags(f)
	o.cacheFlags(f)
	o.outputFlags(f)
	o.stepFlags(f)
	o.otherFlags(f)
}

func (o *Build) whatFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.File, "file", "f", "", "The Dockerfile (PATH/Dockerfile); - for standard input")
	f.StringVar(&o.target, "target", "", "Build this stage")
	f.Var(o.args.of("list", checkEnv), "build-arg", "Set a variable of the build, NAME=value; NAME alone takes ours")
	f.Var(o.contexts.of("list", checkContext), "build-context", "A further context, name=PATH, name=URL or name=docker-image://IMAGE")
	if p := os.Getenv("DOCKER_DEFAULT_PLATFORM"); p != "" {
		o.platforms.v = []string{p}
	}
	f.Var(&replacing{list: o.platforms.of("list", nil)}, "platform", "Build for these platforms, os/arch[/variant]")
	f.Var(o.secrets.of("list", checkSecret), "secret", "A secret for RUN --mount=type=secret, id=NAME[,src=FILE|,env=NAME]")
	f.Var(o.allow.of("list", checkAllow), "allow", "Allow what is not safe: network.host, security.insecure")
	f.StringVar(&o.call, "call", "build", "Ask about the Dockerfile instead: check, outline, targets[,format=json]")
	f.BoolVar(&o.check, "check", false, "The same as --call=check")
}

func (o *Build) cacheFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noCache, "no-cache", false, "Do not use what earlier builds made")
	f.Var(o.noCacheFilter.of("list", nil), "no-cache-filter", "Do not use it for these stages")
	f.BoolVar(&o.pull, "pull", false, "Ask registries for newer versions of images that are here")
	f.Var(o.cacheFrom.of("list", checkCache), "cache-from", "Where to look for results besides, an image or type=registry,ref=IMAGE")
	f.Var(o.cacheTo.of("list", checkCache), "cache-to", "Where to put results besides, type=registry,ref=IMAGE or type=inline")
}

func (o *Build) outputFlags(f *pflag.FlagSet) {
	f.VarP(o.tags.of("list", checkNotEmpty("tag", "web:1.0")), "tag", "t", "Name of the image, name[:tag]")
	f.Var(o.labels.of("list", checkKey("label", "env=production")), "label", "Set a label of the image, key=value")
	f.Var(o.annotations.of("list", checkAnnotation), "annotation", "Add an annotation, [type:]key=value")
	f.VarP(o.outputs.of("list", checkOutput), "output", "o", "What to make, a folder or type=image|registry|local|tar|oci|docker,dest=PATH")
	f.BoolVar(&o.push, "push", false, "Push the image, too")
	f.BoolVar(&o.load, "load", false, "Keep the image here, too")
	f.StringVar(&o.IIDFile, "iidfile", "", "Write the image's id to this file")
	f.StringVar(&o.MetadataFile, "metadata-file", "", "Write what the outputs tell to this file, as JSON")
	f.Var(o.attests.of("list", checkAttest), "attest", "Attach an attestation, type=provenance|sbom,key=value")
	f.StringVar(&o.provenance, "provenance", "", "The same as --attest=type=provenance: true, false or its attributes")
	f.StringVar(&o.sbom, "sbom", "", "The same as --attest=type=sbom: true, false or its attributes")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "Print the image's id only")
	p := os.Getenv("BUILDKIT_PROGRESS")
	if p == "" {
		p = "auto"
	}
	o.Progress = p
	f.Var(newOneOf(&o.Progress, p, "auto", "none", "plain", "quiet", "rawjson", "tty"), "progress", "Show the build as auto, plain, tty, rawjson, quiet, none")
	f.BoolVarP(&o.Debug, "debug", "D", false, "Explain warnings")
}

func (o *Build) stepFlags(f *pflag.FlagSet) {
	f.StringVar(&o.network, "network", "default", "Network of RUN: default, host, none")
	f.Var(o.hosts.of("list", checkHost), "add-host", "Line of /etc/hosts for RUN, name:ip")
	f.Var(&o.shmSize, "shm-size", "Size of /dev/shm for RUN")
	f.Var(o.ulimits.of("ulimit", checkUlimit), "ulimit", "Limit of the processes of RUN, name=soft[:hard]")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", "Parent of the cgroup of RUN")
	f.VarP(&o.memory, "memory", "m", "Memory limit of each RUN")
	f.Var(&o.memorySwap, "memory-swap", "Limit of memory and swap together, -1 for unlimited swap")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "Share of the CPUs, relative to others (1024 is normal)")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Period of the CPU quota, in microseconds")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "CPU time within a period, in microseconds")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs to run on (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "Memory nodes to use (0-3, 0,1)")
	f.Var(o.resource.of("list", nil), "resource", "The same limits by name, like memory=2g or cpu-quota=50000")
}

// otherFlags are those that change nothing here, and those that are refused.
func (o *Build) otherFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.compress, "compress", false, "Send the context compressed; files that the engine has are not sent at all")
	f.BoolVar(&o.rm, "rm", true, "Remove intermediate containers; there never are any")
	f.BoolVar(&o.forceRm, "force-rm", false, "Remove them when the build fails, too")
	f.Var(&only{new(string), "default", "there is one builder, the engine itself: another engine is chosen by --host or --context"}, "builder", "Builder to use: default, which is the engine")
	f.Var(&only{&o.isolation, "default", "only the isolation of Linux ('default') exists here: 'process' and 'hyperv' are of Windows"}, "isolation", "Isolation technology: default (others are of Windows)")
	for name, why := range map[string]string{
		"security-opt": "has no meaning for builds: use RUN --security=insecure with --allow security.insecure",
		"squash":       "is gone with docker's old builder: a last stage with COPY --from gives one layer",
		"ssh":          "is not built yet: give a key or a token by --secret",
		"policy":       "is not built yet",
	} {
		kind := "list"
		if name == "squash" {
			kind = "bool"
		}
		f.Var(&refuse{"--" + name + " " + why, kind}, name, "Refused: "+why)
		if kind == "bool" {
			f.Lookup(name).NoOptDefVal = "true"
		}
	}
}

// replacing is a list whose first value takes the place of the default.
type replacing struct {
	*list
	set bool
}

func (r *replacing) Set(s string) error {
	if !r.set {
		r.v, r.set = nil, true
	}
	return r.list.Set(s)
}

// Warnings are what the user should know of flags that do nothing here.
func (o *Build) Warnings() (l []string) {
	if !o.rm && !o.forceRm {
		l = append(l, "--rm=false changes nothing: steps leave no containers; 'docker build' says the same with BuildKit")
	}
	if o.compress {
		l = append(l, "--compress changes nothing: of the context only those files are sent that the engine lacks")
	}
	return l
}

// Request makes what the engine is asked for; the contexts are the caller's. What the
// outputs write to here is in Outputs.
func (o *Build) Request(e Env) (r client.BuildOptions, outputs []Output, err error) {
	r = client.BuildOptions{
		Target: o.target, Tags: o.tags.v, Labels: pairs(o.labels.v), Platforms: o.platforms.v, Allow: o.allow.v,
		NoCache: o.noCache, NoCacheOf: split(o.noCacheFilter.v), Pull: o.pull, CacheFrom: o.cacheFrom.v, CacheTo: o.cacheTo.v,
		Network: o.network, Hosts: o.hosts.v, ShmSize: int64(o.shmSize), CgroupParent: o.cgroupParent,
	}
	if err := o.conflicts(); err != nil {
		return r, nil, err
	}
	if o.Call, err = o.method(); err != nil {
		return r, nil, err
	}
	r.Method = o.Call.Method
	if r.Args, err = o.buildArgs(e); err != nil {
		return r, nil, err
	}
	if r.Secrets, err = o.readSecrets(e); err != nil {
		return r, nil, err
	}
	if r.Resources, err = o.limits(); err != nil {
		return r, nil, err
	}
	for _, s := range o.ulimits.v {
		u, err := units.ParseUlimit(s)
		if err != nil {
			return r, nil, err
		}
		r.Ulimits = append(r.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	r.Attest = o.attestations()
	for _, s := range o.contexts.v {
		name, value, _ := strings.Cut(s, "=")
		o.Contexts = append(o.Contexts, buildcontext.Named{Name: name, Value: value})
	}
	if o.network == "host" && !slices.Contains(r.Allow, "network.host") {
		r.Allow = append(slices.Clone(r.Allow), "network.host") // as docker's client does
	}
	if outputs, err = o.targets(); err != nil {
		return r, nil, err
	}
	for _, out := range outputs {
		r.Outputs = append(r.Outputs, out.BuildOutput)
	}
	return r, outputs, nil
}

func (o *Build) conflicts() error {
	switch n := o.network; {
	case o.noCache && len(o.noCacheFilter.v) > 0:
		return errors.New("conflicting options: --no-cache is for all stages, --no-cache-filter for some")
	case o.Quiet && o.Progress != "auto" && o.Progress != "quiet":
		return fmt.Errorf("conflicting options: cannot specify both --quiet and --progress=%s", o.Progress)
	case n != "" && n != "default" && n != "host" && n != "none":
		return fmt.Errorf("network mode %q not supported by builds: it is one of default, host, none", n)
	case o.check && o.flags.Changed("call") && o.call != "check" && o.call != "lint":
		return fmt.Errorf("conflicting options: cannot specify both --check and --call=%s", o.call)
	}
	return nil
}

// method reads --call and --check.
func (o *Build) method() (c Call, err error) {
	if o.check && !o.flags.Changed("call") {
		return Call{Method: "lint"}, nil
	}
	for part := range strings.SplitSeq(o.call, ",") {
		k, v, has := strings.Cut(part, "=")
		switch {
		case !has && (k == "check" || k == "lint"):
			c.Method = "lint"
		case !has && (k == "outline" || k == "targets"):
			c.Method = k
		case !has && (k == "build" || k == ""):
		case k == "format" && (v == "json" || v == "text"):
			c.JSON = v == "json"
		case k == "ignorestatus":
			if c.IgnoreStatus, err = strconv.ParseBool(v); err != nil {
				return c, fmt.Errorf("invalid --call: ignorestatus is true or false, not %q", v)
			}
		default:
			return c, fmt.Errorf("invalid --call: %q: write check, outline or targets, and format=json or ignorestatus=true behind a comma", part)
		}
	}
	return c, nil
}

// buildArgs are the variables of the build. One without a value that we do not have is
// not set; SOURCE_DATE_EPOCH goes along if we have it, as with docker.
func (o *Build) buildArgs(e Env) (map[string]*string, error) {
	args := map[string]*string{}
	for _, s := range e.withProxies(o.args.v) {
		k, v, has := strings.Cut(s, "=")
		if !has {
			v, has = e.Lookup(k)
		}
		if args[k] = nil; has {
			args[k] = &v
		}
	}
	const epoch = "SOURCE_DATE_EPOCH"
	if _, ok := args[epoch]; !ok {
		if v, ok := e.Lookup(epoch); ok && v != "" {
			args[epoch] = &v
		}
	}
	return args, nil
}

// limits are those of each step: by their own flags, then by --resource.
func (o *Build) limits() (r container.Resources, err error) {
	r = container.Resources{
		Memory: int64(o.memory), MemorySwap: int64(o.memorySwap.size), CPUShares: o.cpuShares, CPUPeriod: o.cpuPeriod, CPUQuota: o.cpuQuota,
		CpusetCpus: o.cpusetCPUs, CpusetMems: o.cpusetMems,
	}
	for _, s := range o.resource.v {
		k, v, _ := strings.Cut(s, "=")
		var m size
		var swap swapSize
		switch k {
		case "memory":
			err = m.Set(v)
			r.Memory = int64(m)
		case "memory-swap":
			err = swap.Set(v)
			r.MemorySwap = int64(swap.size)
		case "cpu-shares":
			r.CPUShares, err = strconv.ParseInt(v, 10, 64)
		case "cpu-period":
			r.CPUPeriod, err = strconv.ParseInt(v, 10, 64)
		case "cpu-quota":
			r.CPUQuota, err = strconv.ParseInt(v, 10, 64)
		case "cpuset-cpus":
			r.CpusetCpus = v
		case "cpuset-mems":
			r.CpusetMems = v
		default:
			err = errors.New("known are memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus, cpuset-mems")
		}
		if err != nil {
			return r, fmt.Errorf("invalid --resource: %q: %w", s, err)
		}
	}
	return r, nil
}

// attestations are all of --attest, --provenance and --sbom, one for each type.
func (o *Build) attestations() (l []string) {
	for _, short := range [...]struct{ kind, v string }{{"provenance", o.provenance}, {"sbom", o.sbom}} {
		if short.v == "" {
			continue
		}
		text := "type=" + short.kind
		if on, err := strconv.ParseBool(short.v); err != nil {
			text += "," + short.v
		} else if !on {
			text += ",disabled=true"
		}
		l = append(l, text)
	}
	return append(slices.Clone(o.attests.v), l...)
}

// split takes lists with commas apart.
func split(list []string) (l []string) {
	for _, s := range list {
		l = append(l, strings.Split(s, ",")...)
	}
	return l
}
