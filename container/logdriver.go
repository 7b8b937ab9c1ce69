package container

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container/spec"
	"hoy/keeper"
	"hoy/keeper/ship"
)

// logConfig is where the keeper logs. spec.ValidateLog has accepted the options.
func (c *Containers) logConfig(r *record) (*keeper.LogConfig, error) {
	driver, o := r.Host.LogConfig.Type, r.Host.LogConfig.Config
	if driver == "none" {
		return &keeper.LogConfig{Driver: driver}, nil
	}
	l := &keeper.LogConfig{Driver: driver, Path: c.logPath(r.ID)}
	attrs := logAttributes(r.Config, o)
	tag, err := spec.LogTag(o["tag"], spec.LogTagData{FullID: r.ID, ContainerName: "/" + r.Name,
		ImageFullID: r.Image.ID, ImageName: r.Config.Image, Command: commandLine(r.Config)})
	if err != nil {
		return nil, err
	}
	switch driver {
	case "json-file":
		logFiles(l, o, "")
		if l.Attrs = attrs; o["tag"] != "" {
			l.Attrs["tag"] = tag
		}
	case "local":
		l.MaxFile, l.Compress = 5, true
		logFiles(l, o, "")
	default:
		c.shipTo(l, r, tag, attrs)
	}
	return l, nil
}

// logFiles reads the options of the files, whose names have this prefix.
func logFiles(l *keeper.LogConfig, o map[string]string, prefix string) {
	if s, ok := o[prefix+"max-size"]; ok {
		if l.MaxSize, _ = units.RAMInBytes(s); l.MaxSize <= 0 {
			l.MaxSize = -1
		}
	}
	if s, ok := o[prefix+"max-file"]; ok {
		l.MaxFile, _ = strconv.Atoi(s)
	}
	if s, ok := o[prefix+"compress"]; ok {
		l.Compress, _ = strconv.ParseBool(s)
	}
}

// shipTo completes l for a driver that ships: the files are what the target may be
// behind, and what logs reads.
func (c *Containers) shipTo(l *keeper.LogConfig, r *record, tag string, attrs map[string]string) {
	o := r.Host.LogConfig.Config
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	l.Ship = &ship.Config{Driver: l.Driver, Options: maps.Clone(o), Tag: tag, Host: host, Attrs: attrs,
		ID: r.ID, Name: r.Name, ImageID: r.Image.ID, Image: r.Config.Image, Command: commandLine(r.Config), Created: r.Created}
	for _, key := range []string{"max-buffer-size", "fluentd-buffer-limit"} {
		if n, err := units.RAMInBytes(o[key]); err == nil && n > 0 {
			l.MaxBuffer = n
		}
	}
	l.MaxFile = 5
	logFiles(l, o, "cache-")
	if logsDisabled(r.Host) {
		l.Path, l.MaxFile, l.MaxSize = "", 2, max(l.MaxBuffer, 4<<20)
	}
}

// logsDisabled tells whether nothing of the log stays on this machine.
func logsDisabled(h *apicontainer.HostConfig) bool {
	disabled, _ := strconv.ParseBool(h.LogConfig.Config["cache-disabled"])
	return disabled || h.LogConfig.Type == "none"
}

// logAttributes are the labels and variables that go with every line.
func logAttributes(config *apicontainer.Config, o map[string]string) map[string]string {
	env := map[string]string{}
	for _, e := range config.Env {
		if k, v, ok := strings.Cut(e, "="); ok {
			env[k] = v
		}
	}
	attrs := map[string]string{}
	for _, from := range []struct {
		name   string
		values map[string]string
	}{{"labels", config.Labels}, {"env", env}} {
		names := strings.Split(o[from.name], ",")
		var pattern *regexp.Regexp
		if p := o[from.name+"-regex"]; p != "" {
			pattern, _ = regexp.Compile(p) // it did compile at create
		}
		for k, v := range from.values {
			if slices.Contains(names, k) || pattern != nil && pattern.MatchString(k) {
				attrs[k] = v
			}
		}
	}
	return attrs
}

func commandLine(config *apicontainer.Config) string {
	path, arguments := args(config)
	return strings.TrimSpace(fmt.Sprintf("%s %s", path, strings.Join(arguments, " ")))
}

// LogDelivery is what became of the lines of a log that is sent to a target.
type LogDelivery struct{ Sent, Dropped uint64 }

// LogDelivery counts the lines of a running container; nil: they go nowhere, or it
// does not run.
func (c *Containers) LogDelivery(id string) *LogDelivery {
	sent, dropped, err := keeper.Shipped(c.o.ExecRoot, id)
	if err != nil {
		return nil
	}
	return &LogDelivery{sent, dropped}
}
