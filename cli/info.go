package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"hoy/client"
)

// information is the engine's with ours beside it, as docker's templates name it.
type information struct {
	*system.Info
	ClientInfo clientInfo
}

// clientInfo is our side. Programs beside us, as docker's plugins are, we have none.
type clientInfo struct {
	Debug bool
	clientVersion
	Plugins  []struct{ Name, Version string }
	Warnings []string
}

func newInfo(a *app) *cobra.Command {
	var text string
	cmd := &cobra.Command{Use: "info [OPTIONS]", Short: "Display system-wide information", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			got, failed := c.Info(ctx)
			i := information{&got, clientInfo{Debug: a.global.debug, clientVersion: a.ourVersion(c.APIVersion()), Plugins: []struct{ Name, Version string }{}}}
			if text == "" {
				fmt.Fprintf(a.Out, "Client: hoy\n Version:    %s\n Context:    %s\n Debug Mode: %v\n\nServer:\n", i.ClientInfo.Version, i.ClientInfo.Context, a.global.debug)
				if failed == nil {
					printInfo(a.Out, got)
					for _, w := range got.Warnings {
						fmt.Fprintln(a.Err, w)
					}
				}
				return failed
			}
			if failed != nil {
				return failed
			}
			p, err := a.lines(text)
			if err != nil {
				return &exit{64, err}
			}
			return p.Row(i)
		})}
	cmd.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	return cmd
}

// infoPrinter prints lines of info; those without a value are left out.
type infoPrinter struct{ w io.Writer }

func (p infoPrinter) line(name string, value any) {
	if s := fmt.Sprint(value); s != "" {
		fmt.Fprintf(p.w, " %s: %s\n", name, s)
	}
}

// printInfo prints what an engine is, in docker's order and words.
func printInfo(w io.Writer, i system.Info) {
	p := infoPrinter{w}
	p.line("Containers", i.Containers)
	fmt.Fprintf(w, "  Running: %d\n  Paused: %d\n  Stopped: %d\n", i.ContainersRunning, i.ContainersPaused, i.ContainersStopped)
	p.line("Images", i.Images)
	p.line("Server Version", i.ServerVersion)
	p.line("Storage Driver", i.Driver)
	pairsOf(w, i.DriverStatus)
	p.line("Logging Driver", i.LoggingDriver)
	p.line("Cgroup Driver", i.CgroupDriver)
	p.line("Cgroup Version", i.CgroupVersion)
	fmt.Fprintf(w, " Plugins:\n  Volume: %s\n  Network: %s\n", strings.Join(i.Plugins.Volume, " "), strings.Join(i.Plugins.Network, " "))
	if len(i.Plugins.Log) > 0 {
		fmt.Fprintf(w, "  Log: %s\n", strings.Join(i.Plugins.Log, " "))
	}
	p.list("CDI spec directories", i.CDISpecDirs)
	p.devices(i.DiscoveredDevices)
	p.line("Swarm", i.Swarm.LocalNodeState)
	p.line("Runtimes", strings.Join(slices.Sorted(maps.Keys(i.Runtimes)), " "))
	p.line("Default Runtime", i.DefaultRuntime)
	p.line("Init Binary", i.InitBinary)
	if len(i.SecurityOptions) > 0 {
		fmt.Fprintln(w, " Security Options:")
		for _, s := range i.SecurityOptions {
			securityOption(w, s)
		}
	}
	p.machine(i)
	p.settings(i)
	fmt.Fprintln(w)
}

func (p infoPrinter) machine(i system.Info) {
	p.line("Kernel Version", i.KernelVersion)
	p.line("Operating System", i.OperatingSystem)
	p.line("OSType", i.OSType)
	p.line("Architecture", i.Architecture)
	p.line("CPUs", i.NCPU)
	p.line("Total Memory", units.BytesSize(float64(i.MemTotal)))
	p.line("Name", i.Name)
	p.line("ID", i.ID)
	p.line("Docker Root Dir", i.DockerRootDir)
}

func (p infoPrinter) settings(i system.Info) {
	p.line("Debug Mode", i.Debug)
	if i.Debug {
		fmt.Fprintf(p.w, "  File Descriptors: %d\n  Goroutines: %d\n  System Time: %s\n  EventsListeners: %d\n", i.NFd, i.NGoroutines, i.SystemTime, i.NEventsListener)
	}
	p.line("HTTP Proxy", i.HTTPProxy)
	p.line("HTTPS Proxy", i.HTTPSProxy)
	p.line("No Proxy", i.NoProxy)
	p.list("Labels", i.Labels)
	p.line("Experimental", i.ExperimentalBuild)
	p.registries(i.RegistryConfig)
	p.line("Live Restore Enabled", i.LiveRestoreEnabled)
	if i.FirewallBackend != nil {
		p.line("Firewall Backend", i.FirewallBackend.Driver)
		pairsOf(p.w, i.FirewallBackend.Info)
	}
	if len(i.DefaultAddressPools) > 0 {
		fmt.Fprintln(p.w, " Default Address Pools:")
		for _, pool := range i.DefaultAddressPools {
			fmt.Fprintf(p.w, "   Base: %s, Size: %d\n", pool.Base, pool.Size)
		}
	}
}

// list prints texts below a name; an empty one is left out.
func (p infoPrinter) list(name string, texts []string) {
	if len(texts) > 0 {
		fmt.Fprintf(p.w, " %s:\n  %s\n", name, strings.Join(texts, "\n  "))
	}
}

func (p infoPrinter) devices(devices []system.DeviceInfo) {
	var l []string
	for _, d := range devices {
		l = append(l, d.Source+": "+d.ID)
	}
	p.list("Discovered Devices", l)
}

// registries prints those that are reached without TLS, and the mirrors.
func (p infoPrinter) registries(c *registry.ServiceConfig) {
	if c == nil {
		return
	}
	var insecure []string
	for _, name := range slices.Sorted(maps.Keys(c.IndexConfigs)) {
		if !c.IndexConfigs[name].Secure {
			insecure = append(insecure, name)
		}
	}
	for _, cidr := range c.InsecureRegistryCIDRs {
		insecure = append(insecure, cidr.String())
	}
	p.list("Insecure Registries", insecure)
	p.list("Registry Mirrors", c.Mirrors)
}

func pairsOf(w io.Writer, list [][2]string) {
	for _, p := range list {
		fmt.Fprintf(w, "  %s: %s\n", p[0], p[1])
	}
}

// securityOption prints name=seccomp,profile=builtin as a name with its details.
func securityOption(w io.Writer, s string) {
	for _, f := range strings.Split(s, ",") {
		k, v, _ := strings.Cut(f, "=")
		switch {
		case k == "name":
			fmt.Fprintf(w, "  %s\n", v)
		case v == "":
			fmt.Fprintf(w, "  %s\n", k)
		default:
			fmt.Fprintf(w, "   %s: %s\n", strings.ToUpper(k[:1])+k[1:], v)
		}
	}
}
