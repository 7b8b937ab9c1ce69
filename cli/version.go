package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"hoy/client"
	"hoy/lib/version"
)

// versions are the two sides, named as docker's templates name them.
type versions struct {
	Client clientVersion
	Server *system.VersionResponse
}

type clientVersion struct {
	Version           string
	APIVersion        string `json:"ApiVersion"`
	DefaultAPIVersion string `json:"DefaultAPIVersion,omitempty"`
	GitCommit         string
	GoVersion         string
	Os                string
	Arch              string
	BuildTime         string `json:",omitempty"`
	Context           string
}

// ourVersion is our side.
func (a *app) ourVersion(api string) clientVersion {
	return clientVersion{
		Version: version.Version, APIVersion: api, DefaultAPIVersion: version.API, GitCommit: version.Commit,
		GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH, BuildTime: version.Built,
		Context: a.choice().ContextName(),
	}
}

func newVersion(a *app) *cobra.Command {
	var text string
	cmd := &cobra.Command{Use: "version [OPTIONS]", Short: "Show the version information", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			server, failed := c.Version(ctx)
			v := versions{Client: a.ourVersion(c.APIVersion())}
			if failed == nil {
				v.Server = &server
			}
			if text == "" {
				printVersions(a.Out, v)
				return failed
			}
			p, err := a.lines(text)
			if err != nil {
				return &exit{64, err}
			}
			if err := p.Row(v); err != nil && failed == nil {
				return err
			}
			return failed
		})}
	cmd.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	return cmd
}

func printVersions(w io.Writer, v versions) {
	c := v.Client
	fmt.Fprintf(w, "Client: hoy\n Version:           %s\n API version:       %s\n Go version:        %s\n Git commit:        %s\n OS/Arch:           %s/%s\n Context:           %s\n",
		c.Version, c.APIVersion, c.GoVersion, c.GitCommit, c.Os, c.Arch, c.Context)
	s := v.Server
	if s == nil {
		return
	}
	fmt.Fprintf(w, "\nServer:")
	if s.Platform.Name != "" {
		fmt.Fprintf(w, " %s", s.Platform.Name)
	}
	fmt.Fprintln(w)
	for _, part := range s.Components {
		fmt.Fprintf(w, " %s:\n  Version:          %s\n", part.Name, part.Version)
		if part.Name == "Engine" {
			d := part.Details
			fmt.Fprintf(w, "  API version:      %s (minimum version %s)\n  Go version:       %s\n  Git commit:       %s\n", d["ApiVersion"], d["MinAPIVersion"], d["GoVersion"], d["GitCommit"])
			if d["BuildTime"] != "" {
				fmt.Fprintf(w, "  Built:            %s\n", d["BuildTime"])
			}
			fmt.Fprintf(w, "  OS/Arch:          %s/%s\n  Experimental:     %s\n", d["Os"], d["Arch"], d["Experimental"])
			continue
		}
		var keys []string
		for k := range part.Details {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			fmt.Fprintf(w, "  %-18s%s\n", k+":", part.Details[k])
		}
	}
	if len(s.Components) == 0 {
		fmt.Fprintf(w, " Engine:\n  Version:          %s\n  API version:      %s (minimum version %s)\n  Go version:       %s\n  Git commit:       %s\n  OS/Arch:          %s/%s\n",
			s.Version, s.APIVersion, s.MinAPIVersion, s.GoVersion, s.GitCommit, s.Os, s.Arch)
	}
}

func newDialStdio(a *app) *cobra.Command {
	return &cobra.Command{Use: "dial-stdio", Short: "Connect standard input and output to the engine", Hidden: true, Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			return c.DialStdio(ctx, a.In, a.Out)
		})}
}
