package daemon

import (
	"fmt"
	"os"

	"hoy/container"
	"hoy/linux/cgroup"
)

// placeGroups puts the containers' groups below what systemd has delegated to the
// engine's service, if it has, and returns the group for the keeper there.
func (d *Daemon) placeGroups(groups *cgroup.Host) (keeper *os.File, err error) {
	if !d.o.ownGroup {
		return nil, nil
	}
	service, ok := groups.Delegated()
	if !ok {
		return nil, nil
	}
	d.o.CgroupParent = service + "/containers"
	if keeper, err = groups.Leaf(service + "/keeper"); err != nil {
		return nil, fmt.Errorf("cannot make the keeper's cgroup: %w", err)
	}
	d.closing("the keeper's cgroup", keeper)
	return keeper, nil
}

// dropGroup removes this engine's own cgroup when nothing is left in it.
func (d *Daemon) dropGroup(groups *cgroup.Host, c *container.Containers) {
	if running, paused, _ := c.Count(); running+paused > 0 || !d.o.ownGroup {
		return
	}
	if err := groups.Load(d.o.CgroupParent).Remove(); err != nil {
		d.log.Debug("cannot remove the engine's cgroup", "error", err)
	}
}
