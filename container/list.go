package container

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
	"hoy/lib/filters"
)

// List describes containers, newest first. It waits for no container.
func (c *Containers) List(ctx context.Context, o ListOptions) ([]apicontainer.Summary, error) {
	chosen, err := c.choose(ctx, o)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	l := make([]apicontainer.Summary, 0, len(chosen))
	named, linked := c.imageNames(ctx), c.linkPaths()
	for _, rec := range chosen {
		s := c.summary(rec, now)
		s.Names = append(s.Names, linked[rec.ID]...)
		s.Image = named(rec)
		l = append(l, s)
	}
	if o.Size {
		err = c.measure(ctx, chosen, l)
	}
	return l, err
}

// imageNames returns what tells a container's image: the name it was made from as long
// as that is still the same image's, else the id. It asks once for each name.
func (c *Containers) imageNames(ctx context.Context) func(*record) string {
	ids := map[string]string{}
	return func(r *record) string {
		name := r.Config.Image
		id, known := ids[name]
		if !known {
			if img, err := c.o.Images.Get(ctx, name); err == nil {
				id = img.ID
			}
			ids[name] = id
		}
		if id != r.Image.ID {
			return r.Image.ID
		}
		return name
	}
}

// choose returns the records that o asks for, newest first.
func (c *Containers) choose(ctx context.Context, o ListOptions) ([]*record, error) {
	p, err := c.picker(ctx, o)
	if err != nil {
		return nil, err
	}
	all := c.index.all()
	records := make([]*record, len(all))
	for i, k := range all {
		records[i] = k.rec()
	}
	slices.SortFunc(records, func(a, b *record) int {
		if n := b.Created.Compare(a.Created); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	var chosen []*record
	for _, rec := range records {
		if o.Limit > 0 && len(chosen) == o.Limit {
			break
		}
		if p.picks(rec) {
			chosen = append(chosen, rec)
		}
	}
	return chosen, nil
}

// picker is a list's filters, resolved.
type picker struct {
	f         filters.Filters
	all       bool // those that do not run too
	exited    []int
	before    *record
	since     *record
	ancestors map[string]bool // image ids; nil: any
	ports     map[string]map[network.Port]bool
	task      *bool
	networkOf func(*record) map[string]*network.EndpointSettings
}

func (c *Containers) picker(ctx context.Context, o ListOptions) (*picker, error) {
	f := o.Filters
	p := &picker{f: f, all: o.All || o.Limit > 0, networkOf: c.shownNetworks}
	for _, step := range []func() error{p.states, func() error { return c.neighbours(p) }, p.portFilters} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if f.Has("ancestor") {
		p.ancestors = map[string]bool{}
		for _, ref := range f.Get("ancestor") {
			if img, err := c.o.Images.Get(ctx, ref); err == nil {
				p.ancestors[img.ID] = true
			}
		}
	}
	return p, nil
}

// states reads the filters that speak of states; asking for states means all
// containers, not only running ones.
func (p *picker) states() error {
	for _, v := range p.f.Get("exited") {
		code, err := strconv.Atoi(v)
		if err != nil {
			return fault.New(fault.Invalid, "invalid filter 'exited=%s': %w", v, err)
		}
		p.exited, p.all = append(p.exited, code), true
	}
	for _, v := range p.f.Get("status") {
		if err := apicontainer.ValidateContainerState(apicontainer.ContainerState(v)); err != nil {
			return fault.New(fault.Invalid, "invalid filter 'status=%s': %w", v, err)
		}
		p.all = true
	}
	for _, v := range p.f.Get("health") {
		if err := apicontainer.ValidateHealthStatus(apicontainer.HealthStatus(v)); err != nil {
			return fault.New(fault.Invalid, "invalid filter 'health=%s': %w", v, err)
		}
	}
	if p.f.Has("is-task") {
		b, err := p.f.Bool("is-task", false)
		if err != nil {
			return err
		}
		p.task = &b
	}
	return nil
}

// neighbours finds the containers that before and since name.
func (c *Containers) neighbours(p *picker) error {
	for _, v := range p.f.Get("before") {
		k, err := c.index.get(v)
		if err != nil {
			return err
		}
		p.before, p.all = k.rec(), true
	}
	for _, v := range p.f.Get("since") {
		k, err := c.index.get(v)
		if err != nil {
			return err
		}
		p.since, p.all = k.rec(), true
	}
	return nil
}

func (p *picker) portFilters() error {
	p.ports = map[string]map[network.Port]bool{}
	for _, key := range []string{"publish", "expose"} {
		for _, v := range p.f.Get(key) {
			if strings.Contains(v, ":") {
				return fault.New(fault.Invalid, "filter for '%s' should not contain ':': %s", key, v)
			}
			r, err := network.ParsePortRange(v)
			if err != nil {
				return fault.New(fault.Invalid, "error while looking up for %s %s: %w", key, v, err)
			}
			if p.ports[key] == nil {
				p.ports[key] = map[network.Port]bool{}
			}
			for port := range r.All() {
				p.ports[key][port] = true
			}
		}
	}
	return nil
}

func (p *picker) picks(r *record) bool {
	switch {
	case !p.all && !r.isRunning():
	case p.before != nil && !r.Created.Before(p.before.Created):
	case p.since != nil && !r.Created.After(p.since.Created):
	case p.ancestors != nil && !p.ancestors[r.Image.ID]:
	case p.exited != nil && (r.State.Status != apicontainer.StateExited || !slices.Contains(p.exited, r.State.ExitCode)):
	case p.task != nil && *p.task: // tasks belong to swarm services
	case !p.f.PrefixMatch("id", r.ID):
	case !p.f.Match("name", r.Name) && !p.f.Match("name", "/"+r.Name):
	case !p.f.ExactMatch("status", string(r.State.Status)):
	case !p.f.ExactMatch("health", string(r.healthStatus())):
	case !p.f.ExactMatch("isolation", string(r.Host.Isolation)):
	case !p.f.MatchKVList("label", r.Config.Labels), !p.f.MatchKVList("annotation", r.Host.Annotations):
	case !p.volumes(r), !p.networks(r), !p.exposes(r):
	default:
		return true
	}
	return false
}

func (p *picker) volumes(r *record) bool {
	return !p.f.Has("volume") || slices.ContainsFunc(r.Mounts, func(m mountPoint) bool {
		return slices.Contains(p.f.Get("volume"), m.Destination) ||
			m.Type == mount.TypeVolume && slices.Contains(p.f.Get("volume"), m.Name)
	})
}

func (p *picker) networks(r *record) bool {
	if !p.f.Has("network") {
		return true
	}
	for name, e := range p.networkOf(r) {
		if p.f.ExactMatch("network", name) || e.NetworkID != "" && p.f.PrefixMatch("network", e.NetworkID) {
			return true
		}
	}
	return false
}

func (p *picker) exposes(r *record) bool {
	any := func(wanted map[network.Port]bool, has func(network.Port) bool) bool {
		for port := range wanted {
			if has(port) {
				return true
			}
		}
		return wanted == nil
	}
	return any(p.ports["publish"], func(port network.Port) bool { _, ok := r.Host.PortBindings[port]; return ok && r.isRunning() }) &&
		any(p.ports["expose"], func(port network.Port) bool { _, ok := r.Config.ExposedPorts[port]; return ok })
}

func (c *Containers) summary(r *record, now time.Time) apicontainer.Summary {
	path, arguments := args(r.Config)
	s := apicontainer.Summary{
		ID: r.ID, Names: []string{"/" + r.Name}, Image: r.Config.Image, ImageID: r.Image.ID,
		ImageManifestDescriptor: r.Image.Manifest,
		Command:                 shownCommand(path, arguments),
		Created:                 r.Created.Unix(), Ports: r.shownPorts(), Labels: r.Config.Labels,
		State: r.State.Status, Status: r.status(now),
		Health:          r.healthSummary(),
		NetworkSettings: &apicontainer.NetworkSettingsSummary{Networks: c.shownNetworks(r)},
		Mounts:          r.shownMounts(),
	}
	s.HostConfig.NetworkMode = string(r.Host.NetworkMode)
	s.HostConfig.Annotations = r.Host.Annotations
	return s
}

// shownCommand joins a command's words as docker does, those with a space in quotes.
func shownCommand(path string, arguments []string) string {
	var b strings.Builder
	b.WriteString(path)
	for _, a := range arguments {
		if strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		b.WriteString(" " + a)
	}
	return b.String()
}
