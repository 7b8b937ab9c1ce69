package cli

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoy/client"
)

// completer gives what a word of the command line may become. A shell asks for it by
// running hoy __complete, at each press of the tabulator key.
type completer = cobra.CompletionFunc

// completionTime is how long a person at a shell waits for an engine.
const completionTime = 2 * time.Second

// completing prepares the arguments of __complete: the flags before the command are
// taken, as they say which engine to ask. What cannot be parsed is yet to be completed.
func (a *app) completing(args []string) []string {
	g := global{}
	f := pflag.NewFlagSet("hoy", pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.SetOutput(io.Discard)
	g.register(f)
	a.silent = true
	if len(args) < 2 || f.Parse(args[1:]) != nil || f.NArg() == 0 {
		return args
	}
	a.global = g
	return append(args[:1:1], f.Args()...)
}

// isCompletion reports whether a shell asks.
func isCompletion(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// complete tells a command how its words are completed.
func (a *app) complete(e entry, c *cobra.Command) {
	if f := a.words(e.group, e.name); f != nil {
		c.ValidArgsFunction = f
	}
	for name, f := range map[string]completer{
		"network":      a.names(networks),
		"volumes-from": a.names(containers("")),
		"pid":          oneOf("host", "container:"),
		"ipc":          oneOf("none", "private", "shareable", "host", "container:"),
		"uts":          oneOf("host"),
		"userns":       oneOf("host"),
		"cgroupns":     oneOf("host", "private"),
		"cap-add":      oneOf(capabilities()...),
		"cap-drop":     oneOf(capabilities()...),
		"security-opt": oneOf("apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined", "writable-cgroups=true"),
		"ulimit":       oneOf("core=", "cpu=", "data=", "fsize=", "locks=", "memlock=", "msgqueue=", "nice=", "nofile=", "nproc=", "rss=", "rtprio=", "rttime=", "sigpending=", "stack="),
		"storage-opt":  oneOf("size="),
		"env":          variables,
		"link":         a.paths,
		"type":         oneOf("container", "image", "network", "volume"),
		"restart":      oneOf("no", "always", "on-failure", "unless-stopped"),
		"format":       oneOf("json", "table"),
		"log-driver":   oneOf("fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"),
		"signal":       oneOf("SIGTERM", "SIGKILL", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2"),
		"stop-signal":  oneOf("SIGTERM", "SIGKILL", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2"),
	} {
		if c.Flags().Lookup(name) != nil && !isBuild(e) {
			c.RegisterFlagCompletionFunc(name, f)
		}
	}
	if f := c.Flags().Lookup("pull"); f != nil && f.Value.Type() == "string" {
		c.RegisterFlagCompletionFunc("pull", oneOf("always", "missing", "never"))
	}
	if isBuild(e) {
		c.RegisterFlagCompletionFunc("network", oneOf("default", "host", "none"))
		c.RegisterFlagCompletionFunc("progress", oneOf("auto", "plain", "tty", "rawjson", "quiet", "none"))
		c.RegisterFlagCompletionFunc("call", oneOf("check", "outline", "targets"))
		c.RegisterFlagCompletionFunc("allow", oneOf("network.host", "security.insecure"))
		c.RegisterFlagCompletionFunc("cache-from", a.names(images))
	}
}

// isBuild reports whether a command builds: its flags take other words than run's.
func isBuild(e entry) bool { return e.name == "build" }

// words is the completer of a command's arguments; nil leaves them to the shell, which
// completes files.
func (a *app) words(group, name string) completer {
	switch group {
	case "image":
		switch name {
		case "build":
			return folders
		case "import", "load":
			return nil
		}
		return a.names(images)
	case "builder", "buildx":
		if name == "build" {
			return folders
		}
		return cobra.NoFileCompletions
	case "volume", "network":
		switch name {
		case "create", "ls", "prune":
			return cobra.NoFileCompletions
		case "clone", "rename": // the second one is new
			return a.first(a.names(volumes), cobra.NoFileCompletions)
		case "import":
			return nil
		case "connect", "disconnect":
			return a.first(a.names(networks), a.names(containers("")))
		}
		if group == "network" {
			return a.names(networks)
		}
		return a.names(volumes)
	case "container":
		return a.containerWords(name)
	case "context":
		return a.contextWords(name)
	case "manifest":
		return cobra.NoFileCompletions
	}
	switch name {
	case "inspect":
		return a.names(containers(""), images, volumes, networks)
	case "login", "logout":
		return a.servers
	case "info", "version", "events", "df", "search", "registry":
		return cobra.NoFileCompletions
	}
	return nil
}

func (a *app) containerWords(name string) completer {
	running := a.names(containers("running"))
	switch name {
	case "run", "create":
		return a.first(a.names(images), nil)
	case "exec":
		return a.first(running, nil)
	case "attach", "port", "top":
		return a.first(running, cobra.NoFileCompletions)
	case "stop", "kill", "pause", "stats":
		return running
	case "unpause":
		return a.names(containers("paused"))
	case "start":
		return a.names(containers("created"), containers("exited"))
	case "commit", "rename", "export", "logs", "diff":
		return a.first(a.names(containers("")), cobra.NoFileCompletions)
	case "cp":
		return a.paths
	case "ls", "prune":
		return cobra.NoFileCompletions
	}
	return a.names(containers(""))
}

// lister asks the engine for the names of one kind of objects.
type lister func(ctx context.Context, c *client.Client) []string

// names completes by names, each only once on a line. An engine that does not answer
// has none.
func (a *app) names(lists ...lister) completer {
	return func(_ *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		c, err := a.engine()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		var l []string
		for _, list := range lists {
			l = append(l, list(ctx, c)...)
		}
		l = slices.DeleteFunc(l, func(n string) bool { return !strings.HasPrefix(n, begun) || slices.Contains(given, n) })
		slices.Sort(l)
		return slices.Compact(l), cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first word by one, those after it by another; nil: by files.
func (a *app) first(one, others completer) completer {
	return func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(given) == 0:
			return one(cmd, given, begun)
		case others == nil:
			return nil, cobra.ShellCompDirectiveDefault
		}
		return others(cmd, given, begun)
	}
}

// paths completes by files of ours, and by containers with the colon after which a
// path in them follows.
func (a *app) paths(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	l, _ := a.names(containers(""))(cmd, given, begun)
	for i := range l {
		l[i] += ":"
	}
	return l, cobra.ShellCompDirectiveNoSpace
}

// folders leaves it to the shell, which completes folders.
func folders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// variables completes by those of our environment, which -e NAME passes on.
func variables(_ *cobra.Command, _ []string, begun string) (l []string, _ cobra.ShellCompDirective) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, begun) {
			l = append(l, name)
		}
	}
	return l, cobra.ShellCompDirectiveNoFileComp
}

// capabilities are the names that --cap-add and --cap-drop take.
func capabilities() []string {
	return strings.Fields(`ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
		DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN
		NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT
		SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)
}

// oneOf completes by these words, and lets anything else be typed.
func oneOf(words ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// containers lists those in a status, "" for all.
func containers(status string) lister {
	return func(ctx context.Context, c *client.Client) (names []string) {
		o := client.ListOptions{All: true}
		if status != "" {
			o.Filters = client.Filters{"status": {status}}
		}
		list, _ := c.ContainerList(ctx, o)
		for _, s := range list {
			for _, n := range s.Names {
				names = append(names, strings.TrimPrefix(n, "/"))
			}
		}
		return names
	}
}

func images(ctx context.Context, c *client.Client) (names []string) {
	list, _ := c.ImageList(ctx, false, nil)
	for _, i := range list {
		for _, tag := range i.RepoTags {
			if tag != "<none>:<none>" {
				names = append(names, tag, strings.TrimSuffix(tag, ":latest"))
			}
		}
	}
	return names
}

func volumes(ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.VolumeList(ctx, nil)
	for _, v := range r.Volumes {
		names = append(names, v.Name)
	}
	return names
}

func networks(ctx context.Context, c *client.Client) (names []string) {
	list, _ := c.NetworkList(ctx, nil)
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names
}

// contexts completes by the names of contexts, each only once on a line.
func (a *app) contexts(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	l := slices.DeleteFunc(a.choice().Contexts(), func(n string) bool { return slices.Contains(given, n) })
	return l, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) contextWords(name string) completer {
	switch name {
	case "inspect", "rm":
		return a.contexts
	case "use", "update":
		return a.first(a.contexts, cobra.NoFileCompletions)
	case "export":
		return a.first(a.contexts, nil)
	case "import":
		return a.first(cobra.NoFileCompletions, nil)
	}
	return cobra.NoFileCompletions
}

// servers completes by the registries that are logged in to.
func (a *app) servers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := a.credentialStore()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.Servers(), cobra.ShellCompDirectiveNoFileComp
}
