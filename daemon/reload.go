package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/pflag"
)

// setting is an option that takes effect while the engine runs.
type setting struct {
	flag string
	key  string // of the event's attribute; empty: docker's event has none
	take func(to, from *Options)
	show func(o *Options) string
}

// settings are dockerd's, with those of them that mean nothing here as they always
// are, because clients read the event's attributes.
func settings() []setting {
	return []setting{
		{"debug", "debug", func(to, from *Options) { to.Debug = from.Debug }, func(o *Options) string { return strconv.FormatBool(o.Debug) }},
		{"log-level", "", func(to, from *Options) { to.LogLevel = from.LogLevel }, nil},
		{"label", "labels", func(to, from *Options) { to.Labels = from.Labels }, func(o *Options) string { return jsonList(o.Labels) }},
		{"feature", "features", func(to, from *Options) { to.Features = from.Features }, func(o *Options) string { return fmt.Sprint(o.Features) }},
		{"shutdown-timeout", "shutdown-timeout", func(to, from *Options) { to.ShutdownTimeout = from.ShutdownTimeout }, func(o *Options) string { return strconv.Itoa(o.ShutdownTimeout) }},
		{"default-stop-timeout", "default-stop-timeout", func(to, from *Options) { to.StopTimeout = from.StopTimeout }, func(o *Options) string { return strconv.Itoa(o.StopTimeout) }},
		{"default-shm-size", "default-shm-size", func(to, from *Options) { to.ShmSize = from.ShmSize }, func(o *Options) string { return strconv.FormatInt(o.ShmSize, 10) }},
		{"default-ipc-mode", "default-ipc-mode", func(to, from *Options) { to.IpcMode = from.IpcMode }, func(o *Options) string { return o.IpcMode }},
		{"default-cgroupns-mode", "default-cgroupns-mode", func(to, from *Options) { to.CgroupnsMode = from.CgroupnsMode }, func(o *Options) string { return o.CgroupnsMode }},
		{"registry-mirror", "registry-mirrors", func(to, from *Options) { to.Mirrors = from.Mirrors }, func(o *Options) string { return jsonList(o.Mirrors) }},
		{"insecure-registry", "insecure-registries", func(to, from *Options) { to.InsecureRegistries = from.InsecureRegistries }, func(o *Options) string { return jsonList(o.InsecureRegistries) }},
		{"max-concurrent-downloads", "max-concurrent-downloads", func(to, from *Options) { to.MaxConcurrentDownloads = from.MaxConcurrentDownloads }, func(o *Options) string { return strconv.Itoa(o.MaxConcurrentDownloads) }},
		{"max-concurrent-uploads", "max-concurrent-uploads", func(to, from *Options) { to.MaxConcurrentUploads = from.MaxConcurrentUploads }, func(o *Options) string { return strconv.Itoa(o.MaxConcurrentUploads) }},
		{"max-download-attempts", "max-download-attempts", func(to, from *Options) { to.MaxDownloadAttempts = from.MaxDownloadAttempts }, func(o *Options) string { return strconv.Itoa(o.MaxDownloadAttempts) }},
		{"disk-budget", "", func(to, from *Options) { to.DiskBudget = from.DiskBudget }, nil},
		{"signature-policy", "", func(to, from *Options) { to.SignaturePolicy, to.signatures = from.SignaturePolicy, from.signatures }, nil},
		{"live-restore", "live-restore", func(to, from *Options) { to.LiveRestore = from.LiveRestore }, func(o *Options) string { return strconv.FormatBool(o.LiveRestore) }},
		{"add-runtime", "runtimes", func(to, from *Options) { to.Runtimes = from.Runtimes }, func(o *Options) string { return o.runtimeList() }},
		{"default-runtime", "default-runtime", func(to, from *Options) { to.DefaultRuntime = from.DefaultRuntime }, func(o *Options) string { return o.DefaultRuntime }},
		{"nri-opts", "nri-opts", func(_, _ *Options) {}, func(*Options) string { return "" }},
	}
}

func jsonList(l []string) string {
	if l == nil {
		return "[]"
	}
	b, _ := json.Marshal(l) // texts can always be encoded
	return string(b)
}

// reload reads the options again, as they were given at the start and as the
// configuration file is now. What can change changes, for all that happens from now
// on; of the rest it is said that it waits for the next start. An option whose key was
// taken out of the file has its default again. When something is wrong nothing changes.
func (d *Daemon) reload() error {
	read, warnings, err := parse(d.o.args, d.o.dockerd)
	if err != nil {
		return err
	}
	for _, w := range append(warnings, waiting(d.o.values, read.values)...) {
		d.log.Warn(w)
	}
	now := *d.options()
	attributes := map[string]string{}
	for _, s := range settings() {
		s.take(&now, &read)
		if s.key != "" {
			attributes[s.key] = s.show(&now)
		}
	}
	client, err := now.registries(d.log.Warn)
	if err != nil {
		return err
	}
	d.registries.Store(client)
	d.builder.ForgetRegistries()
	d.apply(&now)
	if name, err := os.Hostname(); err == nil {
		attributes["name"] = name
	}
	d.bus.Publish(events.DaemonEventType, events.ActionReload, d.id, attributes)
	d.log.Info("Reloaded configuration", "config", read.shown())
	return nil
}

// shown are the flags and keys that are not at their defaults, as a log may have them.
func (o *Options) shown() map[string]string {
	set := map[string]string{}
	Flags().VisitAll(func(f *pflag.Flag) {
		v := o.values[f.Name]
		if strings.HasSuffix(f.Name, "-proxy") {
			v = maskCredentials(v)
		}
		if v != f.DefValue {
			set[f.Name] = v
		}
	})
	return set
}

// apply makes options the present ones.
func (d *Daemon) apply(o *Options) {
	d.now.Store(o)
	if d.level != nil {
		d.level.Set(o.level())
	}
	if d.images.store != nil {
		d.images.store.SetTransfers(o.MaxConcurrentDownloads, o.MaxConcurrentUploads)
		d.images.store.TrimSoon() // the budget may be another
	}
	if d.containers != nil {
		d.containers.SetDefaults(o.defaults(d.host), time.Duration(o.StopTimeout)*time.Second)
	}
}

// options are the present ones: reload replaces them as a whole.
func (d *Daemon) options() *Options { return d.now.Load() }

// waiting names the flags and keys that changed and wait for the next start.
func waiting(started, read map[string]string) (warnings []string) {
	var live []string
	for _, s := range settings() {
		live = append(live, s.flag)
	}
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if read[name] != started[name] && !slices.Contains(live, name) {
			warnings = append(warnings, "--"+name+" has changed, which takes effect when the engine starts again")
		}
	}
	return warnings
}
