// Command man writes the manual pages: one for each command of hoy, and the engine's.
//
//	go run ./packaging/man DIR
//
// makes DIR/man1 and DIR/man8.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoy/cli"
	"hoy/daemon"
	"hoy/lib/version"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: man DIR")
		os.Exit(2)
	}
	for path, text := range pages() {
		path = filepath.Join(os.Args[1], path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "man:", err)
			os.Exit(1)
		}
	}
}

// pages are the texts by path.
func pages() map[string]string {
	all := map[string]string{"man8/hoyd.8": engine()}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all["man1/"+name(c)+".1"] = command(c)
		for _, s := range c.Commands() {
			if !s.Hidden {
				walk(s)
			}
		}
	}
	walk(cli.Tree())
	return all
}

// name is the page's: hoy-container-run.
func name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page is a manual page being written, in the language of man(7).
type page struct{ strings.Builder }

func newPage(name, section, about string) *page {
	p := &page{}
	fmt.Fprintf(p, ".TH \"%s\" \"%s\" \"\" \"hoy %s\" \"hoy\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), section, version.Version, escape(name), escape(about))
	return p
}

func (p *page) section(name, text string) {
	if text = strings.TrimSpace(text); text != "" {
		fmt.Fprintf(p, ".SH %s\n%s\n", name, text)
	}
}

// escape keeps hyphens for searching, and lines from being taken for requests.
func escape(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\e`), "-", `\-`)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func command(c *cobra.Command) string {
	about := c.Short
	p := newPage(name(c), "1", about)
	p.section("SYNOPSIS", `\fB`+escape(c.CommandPath())+`\fR`+escape(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	if c.Long != "" {
		about = c.Long
	}
	p.section("DESCRIPTION", escape(about)+".")
	if len(c.Aliases) > 0 {
		p.section("ALIASES", escape(strings.Join(c.Aliases, ", ")))
	}
	p.commands(c)
	p.section("OPTIONS", options(c.LocalFlags()))
	p.related(c)
	return p.String()
}

func (p *page) commands(c *cobra.Command) {
	var b strings.Builder
	for _, s := range c.Commands() {
		if !s.Hidden {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR(1)\n%s\n", escape(name(s)), escape(s.Short))
		}
	}
	p.section("COMMANDS", b.String())
}

func (p *page) related(c *cobra.Command) {
	see := []string{`\fBhoyd\fR(8)`}
	for above := c.Parent(); above != nil; above = above.Parent() {
		see = append(see, `\fB`+escape(name(above))+`\fR(1)`)
	}
	slices.Reverse(see)
	p.section("SEE ALSO", strings.Join(see, ", "))
}

// options lists flags with what they take and their defaults.
func options(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(&b, "\\fB\\-%s\\fR, ", f.Shorthand)
		}
		takes, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(&b, "\\fB\\-\\-%s\\fR", escape(f.Name))
		if takes != "" {
			fmt.Fprintf(&b, " \\fI%s\\fR", escape(takes))
		}
		fmt.Fprintf(&b, "\n%s", escape(usage))
		if d := f.DefValue; d != "" && d != "[]" && d != "false" && d != "0" {
			fmt.Fprintf(&b, " (default %s)", escape(d))
		}
		b.WriteString("\n")
	})
	return b.String()
}

// engine is the page of hoyd.
func engine() string {
	p := newPage("hoyd", "8", "container engine that speaks the Docker Engine API")
	p.section("SYNOPSIS", `\fBhoyd serve\fR [OPTIONS]`)
	p.section("DESCRIPTION", escape(`The engine: answers Docker's Engine API and runs containers. It needs root. Whoever may
connect to its socket is root on this machine.

The containers are not its children: they are held by hoy-keeper, and go on running,
logging and being reachable when the engine ends, fails, or is replaced by another version,
unless --live-restore=false asks for docker's way.`))
	p.section("OPTIONS", options(daemon.Flags()))
	p.section("FILES", files)
	p.section("SIGNALS", signals)
	p.section("SEE ALSO", `\fBhoy\fR(1)`)
	return p.String()
}

const files = `.TP
.I /etc/hoy/daemon.json
The options as an object: the names of the options, those that may be repeated in the plural,
as dockerd's daemon.json has them. \fBhoyd serve \-\-validate\fR checks it.
.TP
.I /var/lib/hoy
Images, containers, volumes.
.TP
.I /run/hoy/hoy.sock
The API. The group \fIhoy\fR may connect.`

const signals = `.TP
.B SIGTERM, SIGINT
End the engine, not the containers unless \fB\-\-live\-restore=false\fR stops them; the third
time at once.
.TP
.B SIGHUP
Read the configuration file again. What can change while the engine runs changes; of the rest
the log says that it waits for the next start.
.TP
.B SIGUSR1
Write the stacks of all goroutines into a file in the exec root.`
