package image

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Changes applies Dockerfile instructions, as docker import --change takes them, to
// an empty configuration.
func Changes(lines []string) (dockerspec.DockerOCIImageConfig, error) {
	return ChangesOn(dockerspec.DockerOCIImageConfig{}, lines)
}

// ChangesOn is Changes for a configuration that is there already. All changes together
// are one Dockerfile, as with docker: one of them may hold several instructions, or lines
// that go on.
func ChangesOn(config dockerspec.DockerOCIImageConfig, lines []string) (dockerspec.DockerOCIImageConfig, error) {
	c := changes{config: config}
	if len(lines) == 0 {
		return config, nil
	}
	file, err := parser.Parse(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		return config, fault.New(fault.Invalid, "%w", err)
	}
	for _, n := range file.AST.Children {
		if err := c.apply(n.Original); err != nil {
			return c.config, err
		}
	}
	return c.config, nil
}
