package image

import (
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// Changes applies Dockerfile instructions, as docker import --change takes them, to
// an empty configuration.
func Changes(lines []string) (dockerspec.DockerOCIImageConfig, error) {
	return ChangesOn(dockerspec.DockerOCIImageConfig{}, lines)
}

// ChangesOn is Changes for a configuration that is there already.
func ChangesOn(config dockerspec.DockerOCIImageConfig, lines []string) (dockerspec.DockerOCIImageConfig, error) {
	c := changes{config: config}
	for _, l := range lines {
		if err := c.apply(l); err != nil {
			return c.config, err
		}
	}
	return c.config, nil
}
