package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/cli/options"
	"hoy/client"
)

// imageRow is one name of an image as images shows it.
type imageRow struct {
	Containers   string
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
	VirtualSize  string
}

var imageHeads = [...][2]string{
	{"ID", "IMAGE ID"}, {"Repository", "REPOSITORY"}, {"Tag", "TAG"}, {"Digest", "DIGEST"}, {"CreatedSince", "CREATED"},
	{"CreatedAt", "CREATED AT"}, {"Size", "SIZE"}, {"Containers", "CONTAINERS"}, {"VirtualSize", "SIZE"}, {"SharedSize", "SHARED SIZE"}, {"UniqueSize", "UNIQUE SIZE"},
}

// rawImage is an image as "raw" shows it, rawImageDigest with its digest.
const (
	rawImage       = "repository: {{.Repository}}\ntag: {{.Tag}}\n" + rawImageEnd
	rawImageDigest = "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\n" + rawImageEnd
	rawImageEnd    = "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
)

type imagesFlags struct {
	all, digests, noTrunc, quiet, tree bool
	format                             string
	filters                            filterFlag
}

func newImages(a *app) *cobra.Command {
	var o imagesFlags
	c := &cobra.Command{
		Use:   "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short: "List images",
		Args:  args(0, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) > 0 {
				o.filters.Set("reference=" + args[0])
			}
			if o.tree {
				return a.tree(ctx, c, &o)
			}
			return a.images(ctx, c, &o)
		}),
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Show images without a name, too")
	f.BoolVar(&o.digests, "digests", false, "Show digests")
	f.VarP(&o.filters, "filter", "f", "Show those only that a condition holds for, like dangling=true")
	f.StringVar(&o.format, "format", "", "Format: table, 'table TEMPLATE', raw, json, or a Go template")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Show ids only")
	f.BoolVar(&o.tree, "tree", false, "Show the platforms of each image")
	return c
}

func (a *app) images(ctx context.Context, c *client.Client, o *imagesFlags) error {
	list, err := c.ImageList(ctx, o.all, o.filters.f)
	if err != nil {
		return err
	}
	text, std := o.formats(a)
	p, err := a.printer(a.Out, text, std)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range list {
		for _, r := range imageRows(&list[i], now, o.noTrunc) {
			if err := p.Row(r); err != nil {
				return err
			}
		}
	}
	return p.Flush()
}

// formats are the user's format and those with names.
func (o *imagesFlags) formats(a *app) (string, format.Standard) {
	std := format.Standard{Table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", Raw: rawImage, Heads: heads(imageHeads[:])}
	if o.digests {
		std.Table, std.Raw = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", rawImageDigest
	}
	text := o.format
	switch {
	case o.quiet && (text == "" || text == "table"):
		text = "{{.ID}}"
	case o.quiet:
		std.Raw = "image_id: {{.ID}}"
	case text == "":
		text = a.config().ImagesFormat
	}
	if o.digests && strings.HasPrefix(text, "table") && text != "table" && !strings.Contains(text, "{{.Digest}}") {
		text += "\t{{.Digest}}"
	}
	return text, std
}

// unnamedRow is the row of an image without a name.
func unnamedRow(s *image.Summary, now time.Time, full bool) imageRow {
	size := func(n int64, digits int) string {
		if n < 0 {
			return "N/A"
		}
		return units.HumanSizeWithPrecision(float64(n), digits)
	}
	created := time.Unix(s.Created, 0)
	r := imageRow{
		ID: s.ID, CreatedAt: created.String(), CreatedSince: units.HumanDuration(now.Sub(created)) + " ago",
		Size: size(s.Size, 3), VirtualSize: size(s.Size, 3), SharedSize: size(s.SharedSize, 4), UniqueSize: "N/A",
		Containers: "N/A", Repository: "<none>", Tag: "<none>", Digest: "<none>",
	}
	if s.Containers >= 0 {
		r.Containers = fmt.Sprint(s.Containers)
	}
	if s.Created == 0 {
		r.CreatedSince = "N/A"
	}
	if !full {
		r.ID = shortID(s.ID)
	}
	if s.SharedSize >= 0 && s.Size >= 0 {
		r.UniqueSize = size(s.Size-s.SharedSize, 4)
	}
	return r
}

// imageRows gives a row for each name of an image, and one for an image without.
func imageRows(s *image.Summary, now time.Time, full bool) []imageRow {
	r := unnamedRow(s, now, full)
	digests := map[string]string{}
	for _, d := range s.RepoDigests {
		repo, digest, _ := strings.Cut(d, "@")
		digests[repo] = digest
	}
	var rows []imageRow
	for _, name := range s.RepoTags {
		if name == "<none>:<none>" {
			continue
		}
		r := r
		i := strings.LastIndexByte(name, ':')
		r.Repository, r.Tag = name[:max(i, 0)], name[i+1:]
		if d := digests[r.Repository]; d != "" {
			r.Digest = d
		}
		rows = append(rows, r)
	}
	if rows == nil {
		for repo, d := range digests {
			if repo != "<none>" {
				r.Repository, r.Digest = repo, d
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func newRmi(a *app) *cobra.Command {
	var force, noPrune bool
	platforms := options.NewListFlag()
	cmd := &cobra.Command{Use: "rmi [OPTIONS] IMAGE [IMAGE...]", Short: "Remove one or more images", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error {
				gone, err := c.ImageRemove(ctx, name, force, noPrune, platforms.Values())
				if force && client.StatusOf(err) == 404 {
					fmt.Fprintln(a.Err, message(err))
					return errQuiet
				}
				for _, g := range gone {
					if g.Deleted != "" {
						fmt.Fprintln(a.Out, "Deleted:", g.Deleted)
					} else {
						fmt.Fprintln(a.Out, "Untagged:", g.Untagged)
					}
				}
				if err == nil {
					err = errQuiet
				}
				return err
			})
		})}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Remove it though other names or stopped containers use it")
	f.BoolVar(&noPrune, "no-prune", false, "Keep parents that have no name")
	f.Var(platforms, "platform", "Remove this platform of the image only")
	return cmd
}

func newTag(a *app) *cobra.Command {
	return &cobra.Command{Use: "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", Short: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", Args: args(2, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			repo, tag, err := splitName(args[1])
			if err != nil {
				return err
			}
			return c.ImageTag(ctx, args[0], repo, tag)
		})}
}

// splitName cuts the tag off an image's name.
func splitName(name string) (repo, tag string, err error) {
	if strings.Contains(name, "@") {
		return "", "", fmt.Errorf("refusing to create a tag with a digest reference: %q", name)
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:], nil
	}
	return name, "", nil
}
