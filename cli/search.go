package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/client"
)

// searchRow is a repository as search shows it; its fields are docker's, by name.
type searchRow struct {
	Description string
	IsOfficial  mark
	Name        string
	StarCount   string
}

// mark is a yes that people see as [OK], and programs as "true".
type mark bool

func (m mark) String() string {
	if m {
		return "[OK]"
	}
	return ""
}

func (m mark) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"%t"`, bool(m)), nil }

type searchFlags struct {
	filters filterFlag
	format  string
	limit   int
	noTrunc bool
}

func newSearch(a *app) *cobra.Command {
	var o searchFlags
	cmd := &cobra.Command{Use: "search [OPTIONS] TERM", Short: "Search a registry for images", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			if len(o.filters.f["is-automated"]) > 0 {
				fmt.Fprintln(a.Err, "WARNING: no registry says any more what is built automatically: is-automated=true finds nothing")
			}
			index, err := index(ctx, c)
			if err != nil {
				return err
			}
			found, err := c.ImageSearch(ctx, args[0], o.limit, o.filters.f, a.credentials(parseImageName(args[0]).server(index)))
			if err != nil {
				return err
			}
			return a.found(found, &o)
		})}
	f := cmd.Flags()
	f.VarP(&o.filters, "filter", "f", "Show those only that a condition holds for: stars=N, is-official=true")
	f.StringVar(&o.format, "format", "", "Format: table, 'table TEMPLATE', json, or a Go template")
	f.IntVar(&o.limit, "limit", 0, "How many to show at most, 1 to 100 (25)")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten descriptions")
	return cmd
}

func (a *app) found(list []registry.SearchResult, o *searchFlags) error {
	p, err := a.printer(a.Out, o.format, format.Standard{Table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
		Heads: format.Heads{"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}})
	if err != nil {
		return err
	}
	for _, r := range list {
		row := searchRow{Name: r.Name, Description: strings.NewReplacer("\n", " ", "\r", " ").Replace(r.Description), StarCount: fmt.Sprint(r.StarCount), IsOfficial: mark(r.IsOfficial)}
		if !o.noTrunc {
			row.Description = ellipsis(row.Description, 45)
		}
		if err := p.Row(row); err != nil {
			return err
		}
	}
	return p.Flush()
}
