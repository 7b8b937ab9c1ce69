package options

import (
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"
)

// Update are the options of update: limits of a container that is there.
type Update struct {
	limits                Create
	publishAdd, publishRm list
}

// Register adds the options to f.
func (u *Update) Register(f *pflag.FlagSet) {
	u.limits.flags = f
	u.limits.changeable(f)
	f.StringVar(&u.limits.restart, "restart", "", "Restart when it ends: no, on-failure[:max-retries], always, unless-stopped")
	u.limits.unhealthy(f)
	f.Var(u.publishAdd.of("list", checkPublish), "publish-add", "Publish a port, as -p of run does")
	f.Var(u.publishRm.of("list", checkPublish), "publish-rm", "Publish a port no longer: as it was published, or port[/protocol] for all of that port")
}

// Ports are those to be published, and those to be no longer.
func (u *Update) Ports() (add, remove network.PortMap, err error) {
	add, remove = network.PortMap{}, network.PortMap{}
	for _, l := range []struct {
		values []string
		into   network.PortMap
	}{{u.publishAdd.v, add}, {u.publishRm.v, remove}} {
		for _, s := range l.values {
			p, err := parsePublish(s)
			if err != nil {
				return nil, nil, err
			}
			p.add(network.PortSet{}, l.into)
		}
	}
	return add, remove, nil
}

// OnUnhealthy is what should become of the container when it is unhealthy; "": as is.
func (u *Update) OnUnhealthy() string { return u.limits.onUnhealthy }

// Config is what to ask the engine for. What no option names stays as it is.
func (u *Update) Config(f *pflag.FlagSet) (c container.UpdateConfig, err error) {
	if f.NFlag() == 0 {
		return c, errors.New("you must provide one or more flags when using this command")
	}
	limits, err := u.limits.limits()
	if err != nil {
		return c, err
	}
	c.Resources = *limits
	c.RestartPolicy, err = parseRestart(u.limits.restart)
	return c, err
}
