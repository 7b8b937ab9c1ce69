package spec

import (
	"encoding/json"
	"strings"
	"text/template"
)

// LogTagData is what a tag's template may name, as docker has it.
type LogTagData struct {
	FullID, ContainerName, ImageFullID, ImageName, Command string
}

// ID is what docker shows of the container's id.
func (d LogTagData) ID() string { return d.FullID[:min(12, len(d.FullID))] }

// Name is the container's name without slash.
func (d LogTagData) Name() string { return strings.TrimPrefix(d.ContainerName, "/") }

// FullName is the container's name as inspect shows it.
func (d LogTagData) FullName() string { return d.ContainerName }

// ImageID is what docker shows of the image's id.
func (d LogTagData) ImageID() string {
	id := strings.TrimPrefix(d.ImageFullID, "sha256:")
	return id[:min(12, len(id))]
}

// ImageFullName is the image as it was asked for.
func (d LogTagData) ImageFullName() string { return d.ImageName }

// DaemonName is the engine's name in logs.
func (d LogTagData) DaemonName() string { return "docker" }

// LogTag fills in the template of the option tag. An empty one is the short id.
func LogTag(text string, d LogTagData) (string, error) {
	if text == "" {
		return d.ID(), nil
	}
	functions := template.FuncMap{"json": jsonText, "split": strings.Split, "join": strings.Join,
		"lower": strings.ToLower, "upper": strings.ToUpper, "truncate": truncate}
	t, err := template.New("log-tag").Funcs(functions).Parse(text)
	if err != nil {
		return "", invalid("invalid log tag: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return "", invalid("invalid log tag: %w", err)
	}
	return b.String(), nil
}

func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func truncate(s string, n int) string { return s[:max(0, min(n, len(s)))] }
