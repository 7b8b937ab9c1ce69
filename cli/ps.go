package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/client"
)

// psRow is a container as ps shows it; its fields are docker's, by name.
type psRow struct {
	Command      string
	CreatedAt    string
	HealthStatus string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string
	Mounts       string
	Names        string
	Networks     string
	Platform     any `json:"Platform"`
	Ports        string
	RunningFor   string
	Size         string
	State        string
	Status       string

	labels map[string]string
}

// Label returns one label.
func (r psRow) Label(name string) string { return r.labels[name] }

// shownPlatform is a platform that templates print as os/arch[/variant].
type shownPlatform ocispec.Platform

func (p *shownPlatform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

var psHeads = [...][2]string{
	{"ID", "CONTAINER ID"}, {"Image", "IMAGE"}, {"Command", "COMMAND"}, {"CreatedAt", "CREATED AT"}, {"RunningFor", "CREATED"},
	{"Status", "STATUS"}, {"State", "STATE"}, {"Ports", "PORTS"}, {"Names", "NAMES"}, {"Size", "SIZE"}, {"Labels", "LABELS"},
	{"Mounts", "MOUNTS"}, {"LocalVolumes", "LOCAL VOLUMES"}, {"Networks", "NETWORKS"}, {"Platform", "PLATFORM"}, {"HealthStatus", "HEALTH STATUS"},
}

// heads makes column heads of pairs.
func heads(pairs [][2]string) format.Heads {
	h := format.Heads{}
	for _, p := range pairs {
		h[p[0]] = p[1]
	}
	return h
}

// rawContainer and rawSize are a container as "raw" shows it.
const (
	rawContainer = `container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
`
	rawSize = "size: {{.Size}}\n"
)

type psFlags struct {
	all, latest, noTrunc, quiet, size bool
	last                              int
	format                            string
	filters                           filterFlag
}

func newPs(a *app) *cobra.Command {
	var o psFlags
	c := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List containers",
		Args:  args(0, 0),
		RunE:  a.do(func(ctx context.Context, c *client.Client, _ []string) error { return a.ps(ctx, c, &o) }),
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers, not only running ones")
	f.VarP(&o.filters, "filter", "f", "Show those only that a condition holds for, like status=exited")
	f.StringVar(&o.format, "format", "", "Format: table, 'table TEMPLATE', raw, json, or a Go template")
	f.IntVarP(&o.last, "last", "n", -1, "Show so many of the last created, running or not")
	f.BoolVarP(&o.latest, "latest", "l", false, "Show the last created, running or not")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids and commands")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Show ids only")
	f.BoolVarP(&o.size, "size", "s", false, "Show sizes")
	return c
}

func (a *app) ps(ctx context.Context, c *client.Client, o *psFlags) error {
	if o.latest && o.last < 0 {
		o.last = 1
	}
	if !o.quiet {
		o.format = cmp.Or(o.format, a.config().PsFormat)
	} else if o.format != "" {
		fmt.Fprintln(a.Err, "WARNING: Ignoring custom format, because both --format and --quiet are set.")
	}
	wantSize := o.size || strings.Contains(o.format, ".Size")
	list, err := c.ContainerList(ctx, client.ListOptions{All: o.all, Size: wantSize, Limit: max(o.last, 0), Filters: o.filters.f, Fields: o.fields()})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(a.Out)
	if o.quiet { // as scripts want them: a template, the clock's zone and the rest of a row would take as long as the request
		for i := range list {
			id := list[i].ID
			if !o.noTrunc {
				id = shortID(id)
			}
			if o.format == "raw" {
				out.WriteString("container_id: ")
			}
			out.WriteString(id + "\n")
		}
		return out.Flush()
	}
	std := format.Standard{
		Table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}", Raw: rawContainer, Heads: heads(psHeads[:]),
	}
	if o.size {
		std.Table += "\t{{.Size}}"
		std.Raw += rawSize
	}
	p, err := a.printer(out, o.format, std)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range list {
		if err := p.Row(psRowOf(&list[i], now, o.noTrunc)); err != nil {
			return err
		}
	}
	return errors.Join(p.Flush(), out.Flush())
}

// fields are those of the answer that the output is made of; nil: any.
func (o *psFlags) fields() []string {
	switch {
	case o.quiet:
		return []string{"Id"}
	case o.format != "" && o.format != "table":
		return nil
	}
	return []string{"Id", "Names", "Image", "Command", "Ports", "Status"}
}

func psRowOf(s *container.Summary, now time.Time, full bool) psRow {
	created := time.Unix(s.Created, 0)
	r := psRow{
		ID: s.ID, Command: s.Command, Image: s.Image, State: string(s.State), Status: s.Status,
		CreatedAt: created.String(), RunningFor: units.HumanDuration(now.Sub(created)) + " ago",
		Names: names(s.Names, full), Ports: ports(s.Ports), Labels: labelList(s.Labels), labels: s.Labels,
		Size: sizes(s.SizeRw, s.SizeRootFs),
	}
	if s.Health != nil {
		r.HealthStatus = string(s.Health.Status)
	}
	if s.ImageManifestDescriptor != nil && s.ImageManifestDescriptor.Platform != nil {
		r.Platform = (*shownPlatform)(s.ImageManifestDescriptor.Platform)
	}
	if !full {
		r.ID, r.Command = shortID(s.ID), ellipsis(s.Command, 20)
		if rest, ok := strings.CutPrefix(s.Image, "sha256:"); ok {
			r.Image = shortID(rest)
		} else if name, _, pinned := strings.Cut(s.Image, "@"); pinned {
			r.Image = name
		}
	}
	r.Command = strconv.Quote(r.Command)
	if r.Image == "" {
		r.Image = "<no image>"
	}
	if s.NetworkSettings != nil {
		var nets []string
		for n := range s.NetworkSettings.Networks {
			nets = append(nets, n)
		}
		slices.Sort(nets)
		r.Networks = strings.Join(nets, ",")
	}
	r.mounts(s.Mounts, full)
	return r
}

func (r *psRow) mounts(list []container.MountPoint, full bool) {
	var shown []string
	local := 0
	for _, m := range list {
		name := m.Name
		if name == "" {
			name = m.Source
		}
		if !full {
			name = ellipsis(name, 15)
		}
		shown = append(shown, name)
		if m.Type == mount.TypeVolume && m.Driver == "local" {
			local++
		}
	}
	r.Mounts, r.LocalVolumes = strings.Join(shown, ","), strconv.Itoa(local)
}

// names are the container's own; names of links into it (with a slash) are shown in
// full output only.
func names(list []string, full bool) string {
	var out []string
	for _, n := range list {
		if n = strings.TrimPrefix(n, "/"); full || !strings.Contains(n, "/") {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

func labelList(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

func sizes(rw, virtual int64) string {
	s := units.HumanSizeWithPrecision(float64(rw), 3)
	if virtual > 0 {
		s += fmt.Sprintf(" (virtual %s)", units.HumanSizeWithPrecision(float64(virtual), 3))
	}
	return s
}

func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

// ellipsis shortens s to n characters, the last of which says so.
func ellipsis(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// filterFlag is the flag --filter.
type filterFlag struct{ f client.Filters }

func (f *filterFlag) Type() string   { return "filter" }
func (f *filterFlag) String() string { return "" }

func (f *filterFlag) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("invalid filter '%s': write key=value, like status=running", s)
	}
	if f.f == nil {
		f.f = client.Filters{}
	}
	k = strings.ToLower(strings.TrimSpace(k))
	f.f[k] = append(f.f[k], strings.TrimSpace(v))
	return nil
}
