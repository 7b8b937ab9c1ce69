package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/atomicfile"
	"hoy/network"
)

// A container on disk is a directory named by its id, in Options.Root:
//
//	<id>/record.json     what the container is and the state it is in (record)
//	<id>/<id>-json.log   its output, with rotated predecessors .1, .2 …
//	<id>/hosts  hostname  resolv.conf   bind-mounted under /etc
//	.spare-N/            what a removed container left for the next (spares)
//
// A directory without a record is a create or remove that did not finish, and
// is removed at the next start. What is true only while this kernel runs is in
// Options.ExecRoot, which does not survive a reboot:
//
//	containers/<id>.json   the running process (running)
//	execs/<id>.json        an exec (execRecord)
//
// The files are JSON objects with a version, replaced atomically. The record of
// a container that is removed at its exit is written once and not synced: a
// power failure takes such a container away anyhow. It may leave the record's name
// without its content: that it is such a one the file's mode says. Any other record
// is synced, so that one that is empty or cut off is damage, and kept.
const recordVersion = 1

// recordMode and temporaryMode are the modes of records. Nobody but root gets at either.
const recordMode, temporaryMode = 0o600, 0o640

// record is everything that is known of a container. A record is never changed:
// whoever changes something stores a changed copy, so that readers need no lock.
type record struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Name    string    `json:"name"` // without slash
	Created time.Time `json:"created"`

	Image     imageRecord                             `json:"image"`
	Config    *apicontainer.Config                    `json:"config"` // merged with the image's
	Host      *apicontainer.HostConfig                `json:"hostConfig"`
	Endpoints map[string]*apinetwork.EndpointSettings `json:"endpoints,omitempty"` // as asked for, by the network's name
	Mounts    []mountPoint                            `json:"mounts,omitempty"`

	State       state       `json:"state"`
	Supervision supervision `json:"supervision,omitzero"`
}

// imageRecord is what is remembered of the image: it may be removed or retagged
// while the container lives.
type imageRecord struct {
	ID       string              `json:"id,omitempty"`
	Chain    string              `json:"chain,omitempty"`  // pinned against removal
	Layers   []string            `json:"layers,omitempty"` // directories, top first
	Manifest *ocispec.Descriptor `json:"manifest,omitempty"`
	Platform ocispec.Platform    `json:"platform"`
	Size     int64               `json:"size,omitempty"` // bytes of the unpacked layers
}

// state is the part of a record that changes.
type state struct {
	Status     apicontainer.ContainerState `json:"status"`
	Generation uint64                      `json:"generation"` // counts the starts
	StartedAt  time.Time                   `json:"startedAt"`
	FinishedAt time.Time                   `json:"finishedAt"`
	ExitCode   int                         `json:"exitCode"`
	Error      string                      `json:"error,omitempty"`
	OOMKilled  bool                        `json:"oomKilled,omitempty"`

	Running *running `json:"-"` // nil: not running
}

// running is a container's process, in the exec root.
type running struct {
	Version    int              `json:"version"`
	ID         string           `json:"id"`
	Generation uint64           `json:"generation"`
	Pid        int              `json:"pid"`
	StartedAt  time.Time        `json:"startedAt"`
	Cgroup     string           `json:"cgroup"`
	Shm        string           `json:"shm,omitempty"` // directory of a shareable /dev/shm
	Sandbox    *network.Sandbox `json:"sandbox,omitempty"`
	Task       bool             `json:"task,omitempty"` // another runtime's; the keeper holds what stands for it

	// What an engine that is killed has done and not yet said in the container's record:
	Asked  *asked         `json:"asked,omitempty"`
	Update *pendingUpdate `json:"update,omitempty"`
}

// asked is what the record says of networks, as of the last change during this run.
type asked struct {
	Endpoints map[string]*apinetwork.EndpointSettings `json:"endpoints,omitempty"`
	Ports     apinetwork.PortMap                      `json:"ports,omitempty"`
}

// pendingUpdate is an Update under way.
type pendingUpdate struct {
	Resources     apicontainer.Resources     `json:"resources"`
	RestartPolicy apicontainer.RestartPolicy `json:"restartPolicy"`
	OnUnhealthy   string                     `json:"onUnhealthy,omitempty"`
}

// images are those whose layers the container needs: its own, and those it mounts.
func (r *record) images() []imageRecord {
	list := []imageRecord{r.Image}
	for _, m := range r.Mounts {
		if m.Image != nil {
			list = append(list, *m.Image)
		}
	}
	return list
}

// isRunning tells whether the container is up in docker's sense: a paused one is, and
// one that waits for its restart.
func (r *record) isRunning() bool {
	return r.State.Status == apicontainer.StateRunning || r.State.Status == apicontainer.StateRestarting || r.isPaused()
}

func (r *record) isPaused() bool { return r.State.Status == apicontainer.StatePaused }

func (c *Containers) dir(id string) string        { return filepath.Join(c.o.Root, id) }
func (c *Containers) recordPath(id string) string { return filepath.Join(c.o.Root, id, "record.json") }
func (c *Containers) logPath(id string) string {
	return filepath.Join(c.o.Root, id, id+"-json.log")
}
func (c *Containers) runningPath(id string) string {
	return filepath.Join(c.o.ExecRoot, "containers", id+".json")
}
func (c *Containers) execPath(id string) string {
	return filepath.Join(c.o.ExecRoot, "execs", id+".json")
}

// save writes the record of k as it is now. Saves of one container follow each
// other, so that an older state never replaces a newer one; none comes after its removal.
func (c *Containers) save(k *Container) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	if k.removed {
		return nil
	}
	r := k.rec()
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot save container %s: %w", r.ID, err)
	}
	if r.Host.AutoRemove {
		return c.writeRecord(r.ID, b)
	}
	return atomicfile.WriteSync(c.recordPath(r.ID), b, recordMode)
}

// errNoRecord says that a directory holds no container: its making or removing
// was cut short.
var errNoRecord = errors.New("no record")

func loadRecord(path string) (*record, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(b) == 0 && isTemporary(path) {
		return nil, errNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read container: %w", err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("cannot read container %s: %w", path, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("cannot read container %s: version %d, this engine knows %d", path, r.Version, recordVersion)
	}
	if r.Config == nil || r.Host == nil || r.ID == "" {
		return nil, fmt.Errorf("cannot read container %s: incomplete", path)
	}
	fillPlaces(r.Host.PortBindings)
	return &r, nil
}

func loadRunning(path string) (*running, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r running
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("version %d, this engine knows %d", r.Version, recordVersion)
	}
	return &r, nil
}

// isTemporary tells whether a record is one of a container that is removed at its exit.
func isTemporary(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().Perm() == temporaryMode
}

// writeJSON writes a file of the exec root.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, b, 0o600)
}

// replaceJSON is writeJSON by way of the file spare, which may be there.
func replaceJSON(spare, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := overwrite(spare, b, 0o600); err != nil {
		return err
	}
	return os.Rename(spare, path)
}
