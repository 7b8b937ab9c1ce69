package daemon

import (
	"context"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/moby/api/types/events"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/build"
	"hoy/network"
)

// openBuilder makes the builder, which opens nothing before it is used.
func (d *Daemon) openBuilder(ctx context.Context, p *parts) error {
	o := build.Options{Images: p.store, Runtime: p.runtime, Keeper: p.keeper, Networks: p.networks, Cgroups: p.groups, Gateway: p.gateway}
	if !o.Gateway.IsValid() {
		o.Gateway = p.gateway6
	}
	o.Root, o.ExecRoot, o.Log = filepath.Join(d.o.DataRoot, "build"), d.o.ExecRoot, d.log
	o.Host, o.CgroupParent, o.UserMap, o.SeccompProfile = d.o.defaults(d.host), d.o.CgroupParent, d.o.UserMap, d.o.seccomp
	o.Config = d.o.Builder
	o.Resolve = network.ResolvConf{Servers: d.o.DNS, Search: d.o.DNSSearch, Options: d.o.DNSOptions}
	o.Registries = func(domain string) ([]docker.RegistryHost, error) {
		return d.registries.Load().Hosts(context.Background(), domain)
	}
	o.Pull, o.Tag = d.images.pullForBuild, d.images.Tag
	o.Exported = func(ctx context.Context, im ocispec.Descriptor) {
		d.images.event(events.ActionCreate, im.Digest.String(), im.Digest.String(), nil)
	}
	o.Named = func(ctx context.Context, name string, _ ocispec.Descriptor) { d.images.tagged(ctx, name) }
	b, err := build.Open(ctx, o)
	if err != nil {
		return err
	}
	d.closing("builder", b)
	d.builder = b
	return nil
}
