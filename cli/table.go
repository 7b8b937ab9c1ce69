package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// entry is a command: its name within its group, and as a short form at the top.
type entry struct {
	group, name string // group "" is the top level only
	aliases     []string
	top         string // short form without the group, "" if none
	build       func(a *app) *cobra.Command
}

// entries are the commands that are built.
func entries() []entry {
	return []entry{
		{"container", "run", nil, "run", newRun},
		{"container", "create", nil, "create", newCreate},
		{"container", "start", nil, "start", newStart},
		{"container", "attach", nil, "attach", newAttach},
		{"container", "exec", nil, "exec", newExec},
		{"container", "ls", []string{"ps", "list"}, "ps", newPs},
		{"container", "logs", nil, "logs", newLogs},
		{"container", "stop", nil, "stop", newStop},
		{"container", "restart", nil, "restart", newRestart},
		{"container", "kill", nil, "kill", newKill},
		{"container", "pause", nil, "pause", newPause},
		{"container", "unpause", nil, "unpause", newUnpause},
		{"container", "rename", nil, "rename", newRename},
		{"container", "update", nil, "update", newUpdate},
		{"container", "top", nil, "top", newTop},
		{"container", "port", nil, "port", newPort},
		{"container", "prune", nil, "", newContainerPrune},
		{"container", "stats", nil, "stats", newStats},
		{"container", "rm", []string{"remove"}, "rm", newRm},
		{"container", "wait", nil, "wait", newWait},
		{"container", "inspect", nil, "", newContainerInspect},
		{"container", "cp", nil, "cp", newCp},
		{"container", "diff", nil, "diff", newDiff},
		{"container", "export", nil, "export", newExport},
		{"container", "commit", nil, "commit", newCommit},
		{"image", "build", nil, "build", newBuild},
		{"builder", "build", nil, "", newBuild},
		{"builder", "prune", nil, "", newBuilderPrune},
		{"buildx", "build", []string{"b"}, "", newBuild},
		{"buildx", "du", nil, "", newBuildxDu},
		{"buildx", "prune", nil, "", newBuilderPrune},
		{"image", "ls", []string{"list"}, "images", newImages},
		{"image", "pull", nil, "pull", newPull},
		{"image", "push", nil, "push", newPush},
		{"image", "rm", []string{"remove"}, "rmi", newRmi},
		{"image", "import", nil, "import", newImport},
		{"image", "load", nil, "load", newLoad},
		{"image", "tag", nil, "tag", newTag},
		{"image", "inspect", nil, "", newImageInspect},
		{"image", "save", nil, "save", newSave},
		{"image", "history", nil, "history", newHistory},
		{"image", "prune", nil, "", newImagePrune},
		{"volume", "clone", nil, "", newVolumeClone},
		{"volume", "create", nil, "", newVolumeCreate},
		{"volume", "export", nil, "", newVolumeExport},
		{"volume", "import", nil, "", newVolumeImport},
		{"volume", "ls", []string{"list"}, "", newVolumeLs},
		{"volume", "inspect", nil, "", newVolumeInspect},
		{"volume", "prune", nil, "", newVolumePrune},
		{"volume", "rename", nil, "", newVolumeRename},
		{"volume", "rm", []string{"remove"}, "", newVolumeRm},
		{"network", "ls", []string{"list"}, "", newNetworkLs},
		{"network", "connect", nil, "", newNetworkConnect},
		{"network", "create", nil, "", newNetworkCreate},
		{"network", "disconnect", nil, "", newNetworkDisconnect},
		{"network", "inspect", nil, "", newNetworkInspect},
		{"network", "prune", nil, "", newNetworkPrune},
		{"network", "rm", []string{"remove"}, "", newNetworkRm},
		{"context", "create", nil, "", newContextCreate},
		{"context", "export", nil, "", newContextExport},
		{"context", "import", nil, "", newContextImport},
		{"context", "inspect", nil, "", newContextInspect},
		{"context", "ls", []string{"list"}, "", newContextLs},
		{"context", "rm", []string{"remove"}, "", newContextRm},
		{"context", "show", nil, "", newContextShow},
		{"context", "update", nil, "", newContextUpdate},
		{"context", "use", nil, "", newContextUse},
		{"system", "info", nil, "info", newInfo},
		{"system", "events", nil, "events", newEvents},
		{"system", "df", nil, "", newSystemDf},
		{"system", "prune", nil, "", newSystemPrune},
		{"system", "dial-stdio", nil, "", newDialStdio},
		{"manifest", "annotate", nil, "", newManifestAnnotate},
		{"manifest", "create", nil, "", newManifestCreate},
		{"manifest", "inspect", nil, "", newManifestInspect},
		{"manifest", "push", nil, "", newManifestPush},
		{"manifest", "rm", nil, "", newManifestRm},
		{"migrate", "docker", nil, "", newMigrateDocker},
		{"", "inspect", nil, "inspect", newInspect},
		{"", "login", nil, "login", newLogin},
		{"", "logout", nil, "logout", newLogout},
		{"", "registry", nil, "registry", newRegistry},
		{"", "search", nil, "search", newSearch},
		{"", "version", nil, "version", newVersion},
	}
}

// unbuilt are docker's commands that hoy does not have yet, by group.
var unbuilt = [...]struct{ group, names string }{
	{"", "attest bake checkpoint compose config node plugin secret service stack swarm trust machine kubernetes dashboard anatomy why"},
	{"buildx", "bake create dap debug dial-stdio history imagetools inspect ls policy rm stop use version"},
	{"volume", "update"},
}

// groups are the management commands and what they are about.
var groups = [...]struct{ name, about string }{
	{"builder", "Manage builds"}, {"buildx", "Manage builds, in the words of docker's plugin"},
	{"container", "Manage containers"}, {"context", "Manage contexts, names for engines"}, {"image", "Manage images"}, {"manifest", "Put images of several platforms together"}, {"migrate", "Take over from other engines"}, {"network", "Manage networks"},
	{"system", "Manage the engine"}, {"volume", "Manage volumes"},
}

func isUnbuilt(group, name string) bool {
	for _, u := range unbuilt {
		if u.group == group && slices.Contains(strings.Fields(u.names), name) {
			return true
		}
	}
	return false
}

// root returns the command tree for the arguments: when they name a command, only
// that one is built, since building all takes longer than most commands.
func (a *app) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "hoy [OPTIONS] COMMAND",
		Short:         "Containers, small and quick",
		SilenceUsage:  true,
		SilenceErrors: true,

		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.orientation(cmd)
			}
			return a.unknown(cmd, "", args[0])
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) { // -h where it has no meaning of its own
			return err
		}
		return &usage{cmd.CommandPath(), err.Error(), codeEngine}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	new(global).register(root.Flags()) // for the help; run has parsed them already
	if a.silent {
		root.RegisterFlagCompletionFunc("context", a.contexts)
	}
	first, second := "", ""
	if len(args) > 0 {
		first = args[0]
	}
	if len(args) > 1 {
		second = args[1]
	}
	if !a.addOne(root, first, second) {
		a.addAll(root)
	}
	setHelp(root)
	return root
}

// Tree returns all commands, for documentation to be made of them.
func Tree() *cobra.Command { return new(app).root(nil) }

// addOne adds the command that the first words name, and reports whether there is one.
func (a *app) addOne(root *cobra.Command, first, second string) bool {
	for _, e := range entries() {
		switch {
		case first != "" && e.top == first:
			root.AddCommand(a.top(e))
			return true
		case first != "" && e.group == first && (e.name == second || slices.Contains(e.aliases, second)):
			g := a.groupCommand(first)
			g.AddCommand(a.sub(e))
			root.AddCommand(g)
			return true
		}
	}
	if isUnbuilt("", first) {
		root.AddCommand(notBuilt(first))
		return true
	}
	return false
}

func (a *app) addAll(root *cobra.Command) {
	root.SetHelpCommand(a.helpCommand(root))
	for _, g := range groups {
		c := a.groupCommand(g.name)
		for _, e := range entries() {
			if e.group == g.name {
				c.AddCommand(a.sub(e))
			}
		}
		root.AddCommand(c)
	}
	for _, e := range entries() {
		if e.top != "" {
			root.AddCommand(a.top(e))
		}
	}
}

func (a *app) top(e entry) *cobra.Command {
	c := e.build(a)
	rename(c, e.top)
	c.GroupID = ""
	return a.finish(e, c)
}

func (a *app) sub(e entry) *cobra.Command {
	c := e.build(a)
	rename(c, e.name)
	c.Aliases = e.aliases
	return a.finish(e, c)
}

// rename replaces the first word of a command's usage line.
func rename(c *cobra.Command, name string) {
	_, rest, has := strings.Cut(c.Use, " ")
	if c.Use = name; has {
		c.Use += " " + rest
	}
}

// finish gives a command what all have. Its -h must not be help: for run it is the
// host name.
func (a *app) finish(e entry, c *cobra.Command) *cobra.Command {
	c.Flags().Bool("help", false, "Print usage")
	c.DisableFlagsInUseLine = true
	c.Flags().SortFlags = true
	if a.silent {
		a.complete(e, c)
	}
	return c
}

func (a *app) groupCommand(name string) *cobra.Command {
	c := &cobra.Command{Use: name + " COMMAND", Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true}
	for _, g := range groups {
		if g.name == name {
			c.Short = g.about
		}
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return a.orientation(cmd)
		}
		return a.unknown(cmd, name, args[0])
	}
	c.Flags().Bool("help", false, "Print usage")
	return c
}

// orientation is the help for who has left the command out. It is no output that a program
// would take for an answer, as with docker.
func (a *app) orientation(cmd *cobra.Command) error {
	cmd.SetOut(a.Err)
	return cmd.Help()
}

// helpCommand is help, which fails for what is no command.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "Help about any command", Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 && c.HasSubCommands() {
				return a.unknown(c, strings.TrimPrefix(c.CommandPath(), "hoy"), rest[0])
			}
			if err != nil {
				return err
			}
			return c.Help()
		}}
}

// notBuilt is a command of docker that hoy will have.
func notBuilt(name string) *cobra.Command {
	return &cobra.Command{
		Use: name, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return fmt.Errorf("'%s' is not built yet", name) },
	}
}

// unknown is the error of a name that is no command: not built yet, or near others.
func (a *app) unknown(cmd *cobra.Command, group, name string) error {
	full := strings.TrimSpace(group + " " + name)
	if isUnbuilt(group, name) {
		return fmt.Errorf("'%s' is not built yet", full)
	}
	text := fmt.Sprintf("'%s' is not a hoy command", full)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf(": did you mean '%s'?", strings.Join(near, "', '"))
	}
	return &usage{cmd.CommandPath(), text, codeFailure}
}

// args returns a check of the number of arguments, most -1 for no limit.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		n := len(given)
		if n >= least && (most < 0 || n <= most) {
			return nil
		}
		want := fmt.Sprintf("at least %d argument%s", least, plural(least))
		switch {
		case least == most && least == 0:
			want = "no arguments"
		case least == most:
			want = fmt.Sprintf("%d argument%s", least, plural(least))
		case n > most && most >= 0:
			want = fmt.Sprintf("at most %d argument%s", most, plural(most))
		}
		verb := "requires"
		if most == 0 {
			verb = "accepts"
		}
		return &usage{cmd.CommandPath(), fmt.Sprintf("'%s' %s %s\n\nUsage:  %s\n", cmd.CommandPath(), verb, want, cmd.UseLine()), codeFailure}
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
