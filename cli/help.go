package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoy/cli/options"
)

// setHelp makes the help of all commands look as docker's does.
func setHelp(root *cobra.Command) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { help(c.OutOrStdout(), c) })
	root.SetUsageFunc(func(c *cobra.Command) error { help(c.OutOrStdout(), c); return nil })
}

func help(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "Usage:  %s\n", c.UseLine())
	if about := c.Long; about != "" {
		fmt.Fprintf(w, "\n%s\n", about)
	} else if c.Short != "" {
		fmt.Fprintf(w, "\n%s\n", c.Short)
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(w, "\nAliases:\n  %s\n", strings.Join(append([]string{c.Name()}, c.Aliases...), ", "))
	}
	subcommands(w, c)
	for _, g := range append([]string{""}, options.Groups()...) {
		flags(w, c, g)
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more information on a command.\n", c.CommandPath())
	}
}

func subcommands(w io.Writer, c *cobra.Command) {
	print := func(title string, groups bool) {
		head := false
		for _, s := range c.Commands() {
			if s.Hidden || !s.IsAvailableCommand() || s.HasAvailableSubCommands() != groups {
				continue
			}
			if !head {
				fmt.Fprintf(w, "\n%s:\n", title)
				head = true
			}
			fmt.Fprintf(w, "  %-11s %s\n", s.Name(), s.Short)
		}
	}
	print("Management Commands", true)
	print("Commands", false)
}

// flags prints the flags of one heading, "" for those that have none.
func flags(w io.Writer, c *cobra.Command, group string) {
	sub := pflag.NewFlagSet("", pflag.ContinueOnError)
	sub.SortFlags = true
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if options.GroupOf(f) == group {
			sub.AddFlag(f)
		}
	})
	if !sub.HasAvailableFlags() {
		return
	}
	title := "Options"
	switch {
	case c.Parent() == nil:
		title = "Global Options"
	case group != "":
		title = group
	}
	fmt.Fprintf(w, "\n%s:\n%s", title, sub.FlagUsages())
}
