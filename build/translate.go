package build

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/entitlements"

	"hoy/lib/fault"
)

// describe translates what of the Dockerfile is built, and with which variables.
func describe(r *Request, s *control.SolveRequest) error {
	a := s.FrontendAttrs
	if r.Dockerfile != "" && r.Dockerfile != "." {
		a["filename"] = r.Dockerfile
	}
	if r.Target != "" {
		a["target"] = r.Target
	}
	for k, v := range r.Args {
		if v != nil {
			a["build-arg:"+k] = *v
		}
	}
	for k, v := range r.Labels {
		a["label:"+k] = v
	}
	if len(r.Platforms) > 0 {
		a["platform"] = strings.Join(r.Platforms, ",")
	}
	switch {
	case r.NoCache:
		a["no-cache"] = ""
	case len(r.NoCacheOf) > 0:
		a["no-cache"] = strings.Join(r.NoCacheOf, ",")
	}
	a["image-resolve-mode"] = pb.AttrImageResolveModePreferLocal
	if r.Pull {
		a["image-resolve-mode"] = pb.AttrImageResolveModeForcePull
	}
	for _, text := range r.Attests {
		kind, attrs, _ := strings.Cut(strings.TrimPrefix(text, "type="), ",")
		a["attest:"+kind] = attrs
	}
	return nil
}

// limit translates what steps may use.
func limit(r *Request, s *control.SolveRequest) error {
	c := r.Resources
	for key, n := range map[string]int64{
		"shm-size": r.ShmSize, "memory": c.Memory, "memswap": c.MemorySwap,
		"cpushares": c.CPUShares, "cpuperiod": c.CPUPeriod, "cpuquota": c.CPUQuota,
	} {
		if n != 0 {
			s.FrontendAttrs[key] = strconv.FormatInt(n, 10)
		}
	}
	for key, text := range map[string]string{"cpusetcpus": c.CpusetCpus, "cpusetmems": c.CpusetMems, "cgroup-parent": r.CgroupParent} {
		if text != "" {
			s.FrontendAttrs[key] = text
		}
	}
	var limits []string
	for _, u := range r.Ulimits {
		limits = append(limits, u.String())
	}
	if len(limits) > 0 {
		s.FrontendAttrs["ulimit"] = strings.Join(limits, ",")
	}
	return nil
}

// reach translates the network of steps.
func (b *Builder) reach(r *Request, s *control.SolveRequest) error {
	switch r.Network {
	case "", "default":
	case "host":
		s.Entitlements = append(s.Entitlements, entitlements.EntitlementNetworkHost.String())
		fallthrough
	case "none":
		s.FrontendAttrs["force-network-mode"] = r.Network
	default:
		return fault.New(fault.Invalid, "network mode %q not supported by buildkit: use default, host or none", r.Network)
	}
	var hosts []string
	for _, h := range r.Hosts {
		name, addr, ok := strings.Cut(h, ":")
		switch {
		case !ok || name == "" || addr == "":
			return fault.New(fault.Invalid, "invalid host %s: want NAME:ADDRESS", h)
		case addr != "host-gateway":
			hosts = append(hosts, name+"="+addr)
			continue
		}
		if !b.o.Gateway.IsValid() {
			return fault.New(fault.Invalid, "unable to derive the IP value for host-gateway")
		}
		hosts = append(hosts, name+"="+b.o.Gateway.String())
	}
	if len(hosts) > 0 {
		s.FrontendAttrs["add-hosts"] = strings.Join(hosts, ",")
	}
	return nil
}

// store translates where results of steps come from and go to.
func store(r *Request, s *control.SolveRequest) error {
	var imports []*control.CacheOptionsEntry
	for _, text := range r.CacheFrom {
		e, err := cacheEntry(text, "src", r.Session)
		if err != nil {
			return err
		}
		imports = append(imports, e)
	}
	if len(imports) > 0 {
		text, err := json.Marshal(imports)
		if err != nil {
			return err
		}
		s.FrontendAttrs["cache-imports"] = string(text)
	}
	for _, text := range r.CacheTo {
		e, err := cacheEntry(text, "dest", r.Session)
		if err != nil {
			return err
		}
		s.Cache.Exports = append(s.Cache.Exports, e)
	}
	if v := r.Args["BUILDKIT_INLINE_CACHE"]; v != nil {
		if on, err := strconv.ParseBool(*v); err == nil && on {
			s.Cache.Exports = append(s.Cache.Exports, &control.CacheOptionsEntry{Type: "inline"})
		}
	}
	return nil
}

// cacheEntry reads the name of an image, or type=…,key=value.
func cacheEntry(text, folder, session string) (*control.CacheOptionsEntry, error) {
	if !strings.Contains(text, "=") {
		return &control.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": text}}, nil
	}
	e := &control.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{}}
	for field := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(field, "=")
		if !ok {
			return nil, fault.New(fault.Invalid, "invalid cache %q: want an image, or type=…,key=value", text)
		}
		if k == "type" {
			e.Type = v
		} else {
			e.Attrs[k] = v
		}
	}
	if e.Type == "local" && session == "" {
		return nil, fault.New(fault.Invalid, "cache of type local is in the client's folder %s, which needs its session: use type=registry or inline", e.Attrs[folder])
	}
	return e, nil
}

// export translates where the result goes; tags are names in the store, or what an
// image in an archive says of itself.
func export(r *Request, s *control.SolveRequest) error {
	outputs := r.Outputs
	if len(outputs) == 0 {
		outputs = []Output{{Type: exporterMoby}}
	}
	for _, o := range outputs {
		if o.Type == "cacheonly" { // docker's word for no result
			continue
		}
		e := &control.Exporter{Type: o.Type, Attrs: maps.Clone(o.Attrs)}
		if e.Attrs == nil {
			e.Attrs = map[string]string{}
		}
		switch e.Type {
		case "local":
			if o.W != nil {
				e.Type = "tar"
			}
		case "registry":
			e.Type, e.Attrs["push"] = "image", "true"
		}
		if named := e.Type == "image" || e.Type == exporterMoby || e.Type == "oci" || e.Type == "docker"; named && e.Attrs["name"] == "" && len(r.Tags) > 0 {
			e.Attrs["name"] = strings.Join(r.Tags, ",")
		}
		s.Exporters = append(s.Exporters, e)
	}
	return nil
}

// contexts tells BuildKit where files are.
func (b *Builder) contexts(ctx context.Context, r *Request, s *control.SolveRequest) (drop func(), err error) {
	var drops []func()
	drop = func() {
		for _, f := range drops {
			f()
		}
	}
	for name, url := range r.Contexts {
		s.FrontendAttrs["context:"+name] = url
	}
	for name, archive := range r.Archives {
		url, d := b.front.bodies.add(archive)
		drops = append(drops, d)
		def, err := unpacked(url, "[context "+name+"] load").Marshal(ctx)
		if err != nil {
			return drop, err
		}
		s.FrontendInputs["context:"+name] = def.ToPB()
		s.FrontendAttrs["context:"+name] = "input:context:" + name
	}
	if r.Files != nil {
		for name := range r.Files.Folders {
			if named, ok := strings.CutPrefix(name, contextPrefix); ok {
				s.FrontendAttrs[name] = "local:" + namedLocal(named)
			}
		}
		if r.Files.Folders[localDockerfile] != nil {
			s.FrontendAttrs["dockerfilekey"] = localDockerfile
		}
	}
	archive := r.Context
	switch r.Remote {
	case "":
		if r.Files != nil && r.Files.Folders[localContext] != nil {
			return drop, nil
		}
	case "client-session":
		return drop, nil
	case "upload-request":
		up, err := b.front.uploads.uploaded(ctx, r.ID)
		if err != nil {
			return drop, err
		}
		drops = append(drops, up.done)
		archive = up
	default:
		s.FrontendAttrs["context"] = r.Remote
		return drop, nil
	}
	if archive == nil {
		if r.Session == "" {
			return drop, fault.New(fault.Invalid, "a build needs a context: an archive, a remote URL or a session")
		}
		return drop, nil
	}
	url, d := b.front.bodies.add(archive)
	drops = append(drops, d)
	s.FrontendAttrs["context"] = url
	return drop, nil
}

// unpacked is the content of the archive at url.
func unpacked(url, name string) llb.State {
	st := llb.HTTP(url, llb.Filename("context"), llb.WithCustomName(name))
	return llb.Scratch().File(llb.Copy(st, "/context", "/", &llb.CopyInfo{AttemptUnpack: true}), llb.WithCustomName(name))
}
