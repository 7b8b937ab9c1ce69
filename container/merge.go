package container

import (
	"maps"
	"slices"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

// merge completes c, which it changes, by the image's configuration. What c says
// wins; sets and environments are united. An entrypoint of c's own leaves the
// image's command out.
func merge(c *apicontainer.Config, image dockerspec.DockerOCIImageConfig) error {
	c.User = first(c.User, image.User)
	c.WorkingDir = first(c.WorkingDir, image.WorkingDir)
	c.StopSignal = first(c.StopSignal, image.StopSignal)
	c.Env = mergeEnv(c.Env, image.Env)
	c.Labels = unite(c.Labels, image.Labels)
	if c.Volumes = unite(c.Volumes, image.Volumes); len(c.Volumes) == 0 {
		c.Volumes = nil
	}
	if len(image.ExposedPorts) > 0 {
		ports := network.PortSet{}
		for p := range image.ExposedPorts {
			port, err := network.ParsePort(p)
			if err != nil {
				return fault.New(fault.Invalid, "cannot use the image: invalid port %q: %w", p, err)
			}
			ports[port] = struct{}{}
		}
		c.ExposedPorts = unite(c.ExposedPorts, ports)
	}
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = image.Cmd
		}
		if c.Entrypoint == nil {
			c.Entrypoint = image.Entrypoint
		}
	}
	if c.Healthcheck == nil {
		c.Healthcheck = image.Healthcheck
	} else if image.Healthcheck != nil {
		mergeHealth(c.Healthcheck, image.Healthcheck)
	}
	c.Shell = image.Shell
	c.OnBuild = image.OnBuild
	// [""] is how a client resets the image's entrypoint.
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" {
		c.Entrypoint = nil
	}
	if len(c.Entrypoint) == 0 && len(c.Cmd) == 0 {
		return fault.New(fault.Invalid, "no command specified")
	}
	return nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// unite returns both maps as one; what is in a wins.
func unite[M ~map[K]V, K comparable, V any](a, b M) M {
	u := maps.Clone(b)
	if u == nil {
		u = M{}
	}
	maps.Copy(u, a)
	return u
}

// mergeEnv appends to env what image has besides.
func mergeEnv(env, image []string) []string {
	for _, e := range image {
		name, _, _ := strings.Cut(e, "=")
		if !slices.ContainsFunc(env, func(own string) bool {
			n, _, _ := strings.Cut(own, "=")
			return n == name
		}) {
			env = append(env, e)
		}
	}
	return env
}

func mergeHealth(h, image *apicontainer.HealthConfig) {
	if len(h.Test) == 0 {
		h.Test = image.Test
	}
	for _, f := range []struct{ own, image *time.Duration }{
		{&h.Interval, &image.Interval}, {&h.Timeout, &image.Timeout},
		{&h.StartPeriod, &image.StartPeriod}, {&h.StartInterval, &image.StartInterval},
	} {
		if *f.own == 0 {
			*f.own = *f.image
		}
	}
	if h.Retries == 0 {
		h.Retries = image.Retries
	}
}
