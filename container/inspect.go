package container

import (
	"context"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"

	"hoy/linux/pidfd"
)

// Driver is the name of the storage driver, as info and inspect show it.
const Driver = "overlayfs"

// Inspect describes a container. size reads its writable layer.
func (c *Containers) Inspect(ctx context.Context, ref string, size bool) (*apicontainer.InspectResponse, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	k.awaitExit()
	rec := k.rec()
	path, arguments := args(rec.Config)
	r := &apicontainer.InspectResponse{
		ID: rec.ID, Created: timestamp(rec.Created), Path: path, Args: arguments,
		State: rec.shownState(), RestartCount: rec.Supervision.Restarts, Image: rec.Image.ID, Name: "/" + rec.Name,
		Driver: Driver, Platform: rec.Image.Platform.OS,
		AppArmorProfile: c.o.AppArmor, ExecIDs: c.index.execsOf(k),
		HostConfig: c.shownHost(rec), Config: rec.Config,
		Storage:         &storage.Storage{RootFS: &storage.RootFSStorage{Snapshot: &storage.RootFSStorageSnapshot{Name: Driver}}},
		Mounts:          rec.shownMounts(),
		NetworkSettings: c.networkSettings(rec),

		ImageManifestDescriptor: rec.Image.Manifest,
	}
	if rec.State.Generation > 0 {
		files := rec.ID
		if other := c.networkOf(rec); other != nil {
			files = other.id
		}
		r.ResolvConfPath, r.HostnamePath, r.HostsPath = c.dir(files)+"/resolv.conf", c.dir(files)+"/hostname", c.dir(files)+"/hosts"
		if rec.Host.LogConfig.Type == "json-file" {
			r.LogPath = c.logPath(rec.ID)
		}
	}
	if size {
		rw, root, err := c.sizes(ctx, rec)
		if err != nil {
			return nil, err
		}
		r.SizeRw, r.SizeRootFs = &rw, &root
	}
	return r, nil
}

// awaitExit waits, a moment only, for an exit that has happened and has not come here: a
// client whose stream has ended asks how the container did.
func (k *Container) awaitExit() {
	k.mu.Lock()
	p := k.process
	k.mu.Unlock()
	if p != nil && pidfd.Dead(p.Pidfd) {
		ended(p, patience/5)
	}
}

// AskedMAC is the hardware address that was asked for on the container's own network; it
// may be none.
func (c *Containers) AskedMAC(id string) string {
	k, err := c.index.get(id)
	if err != nil {
		return ""
	}
	rec := k.rec()
	if e := rec.Endpoints[c.networkName(rec.Host.NetworkMode.NetworkName())]; e != nil {
		return e.MacAddress.String()
	}
	return ""
}

func (r *record) shownState() *apicontainer.State {
	s := &apicontainer.State{
		Status: r.State.Status, Running: r.isRunning(), Paused: r.isPaused(), Restarting: r.State.Status == apicontainer.StateRestarting, Dead: r.State.Status == apicontainer.StateDead,
		OOMKilled: r.State.OOMKilled, ExitCode: r.State.ExitCode, Error: r.State.Error,
		Health:    r.Supervision.Health,
		StartedAt: timestamp(r.State.StartedAt), FinishedAt: timestamp(r.State.FinishedAt),
	}
	if r.State.Running != nil {
		s.Pid = r.State.Running.Pid
	}
	return s
}

// networkOf returns the container whose network rec shares.
func (c *Containers) networkOf(rec *record) *Container {
	if !rec.Host.NetworkMode.IsContainer() {
		return nil
	}
	k, err := c.index.get(rec.Host.NetworkMode.ConnectedContainer())
	if err != nil {
		return nil
	}
	return k
}
