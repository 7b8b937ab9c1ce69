package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"hoy/keeper"
	"hoy/volume"
)

// Open reads the records, adopts what the keeper holds, and removes what a crash
// left half-made. It must come before anything else gives away what running
// containers of an earlier engine have, such as network.Networks.Start.
func Open(ctx context.Context, o Options) (*Containers, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Containers{o: o, log: o.Log, index: newIndex(), closing: make(chan struct{})}
	c.supervisor = supervisor{start: c.startHeld, blocked: c.joinsRestarting, probe: c.probe, judged: c.healthJudged,
		log: o.Log, tasks: &c.tasks, ready: make(chan struct{}), ended: make(chan struct{})}
	c.SetDefaults(o.Host, o.StopTimeout)
	for _, dir := range []string{o.Root, filepath.Join(o.ExecRoot, "containers"), filepath.Join(o.ExecRoot, "execs")} {
		if err := os.MkdirAll(dir, 0o710); err != nil {
			return nil, fmt.Errorf("cannot open the containers: %w", err)
		}
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	if err := c.adopt(ctx); err != nil {
		return nil, err
	}
	if err := c.tidyLayers(); err != nil {
		return nil, err
	}
	c.loop.Go(c.watch)
	return c, nil
}

// load reads every record, several at a time: a thousand must not take long.
func (c *Containers) load() error {
	entries, err := os.ReadDir(c.o.Root)
	if err != nil {
		return fmt.Errorf("cannot list the containers: %w", err)
	}
	ids := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []*record
	for range 2 * goruntime.GOMAXPROCS(0) {
		wg.Go(func() {
			for id := range ids {
				if rec := c.loadOne(id); rec != nil {
					mu.Lock()
					all = append(all, rec)
					mu.Unlock()
				}
			}
		})
	}
	for _, e := range entries {
		switch {
		case isSpare(e.Name()):
			os.RemoveAll(filepath.Join(c.o.Root, e.Name()))
		case e.IsDir():
			ids <- e.Name()
		}
	}
	close(ids)
	wg.Wait()
	for _, rec := range all {
		c.know(rec)
	}
	return nil
}

// loadOne reads a record; nil: there is none, and what was half-made is gone.
func (c *Containers) loadOne(id string) *record {
	rec, err := loadRecord(c.recordPath(id))
	switch {
	case errors.Is(err, errNoRecord):
		if err := os.RemoveAll(c.dir(id)); err != nil {
			c.log.Warn("cannot remove a half-made container", "container", id, "error", err)
		}
		return nil
	case err == nil && rec.ID != id:
		err = fmt.Errorf("it is the record of %s", rec.ID)
		fallthrough
	case err != nil:
		// It may be another version's: it stays as it is.
		c.log.Error("cannot restore a container: it and all image layers and volumes are kept until its record can be read, or its directory is removed while no engine runs",
			"container", id, "directory", c.dir(id), "error", err)
		c.strangers.add(id)
		return nil
	}
	return rec
}

// strangers are the containers whose records could not be read: what they stand on and
// mount nobody knows.
type strangers struct {
	mu  sync.Mutex
	ids []string
}

func (s *strangers) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, id)
}

// Strangers are the containers whose records cannot be read. While there are any, nothing
// may be removed that a container might need, unless it is known by name.
func (c *Containers) Strangers() []string {
	c.strangers.mu.Lock()
	defer c.strangers.mu.Unlock()
	c.strangers.ids = slices.DeleteFunc(c.strangers.ids, func(id string) bool { return !c.unreadable(id) })
	return slices.Clone(c.strangers.ids)
}

// know takes a container of an earlier engine into the index.
func (c *Containers) know(rec *record) {
	if err := c.index.reserve(rec.Name, rec.ID); err != nil {
		old := rec.Name
		rec.Name = c.index.reserveRandom(rec.ID)
		c.log.Error("two containers have one name", "name", old, "container", rec.ID, "renamed", rec.Name)
	}
	k := newContainer(rec)
	k.shared = true // maybe, by a container that still runs
	c.index.add(k)
	for _, m := range rec.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		if _, err := c.o.Volumes.Use(volume.Request{Name: m.Name, Driver: m.Driver, Options: m.Options, Labels: m.Labels}, rec.ID); err != nil {
			c.log.Error("cannot use a volume", "container", rec.ID, "volume", m.Name, "error", err)
		}
	}
}

// adopt compares the records with what the keeper holds.
func (c *Containers) adopt(ctx context.Context) error {
	held, err := c.o.Keeper.List(ctx)
	if err != nil {
		return err
	}
	byID := make(map[string]keeper.Held, len(held))
	for _, h := range held {
		byID[h.ID] = h
	}
	c.adoptExecs(byID)
	for _, k := range c.index.all() {
		c.adoptContainer(k, byID[k.id])
	}
	var lost []keeper.Held
	for _, h := range held {
		if k, err := c.index.get(h.ID); err == nil && k.id == h.ID && k.process != nil && k.process.Generation == h.Generation {
			continue
		}
		if _, err := c.index.exec(h.ID); err == nil {
			continue
		}
		if c.unreadable(h.ID) {
			c.leave(h.ID)
			continue
		}
		lost = append(lost, h)
	}
	if err := c.dismissAll(ctx, lost); err != nil {
		return err
	}
	if len(c.Strangers()) == 0 {
		c.o.Volumes.Tidy()
	}
	return nil
}

// unreadable tells of a container whose record could not be read: it may be another
// version's, or damaged. It keeps all it has for the engine that can read it.
func (c *Containers) unreadable(id string) bool {
	_, err := c.index.get(id)
	_, there := os.Lstat(c.dir(id))
	return err != nil && there == nil
}

// leave lets a container of which nothing else is known go on, with the addresses it has.
func (c *Containers) leave(id string) {
	run, err := loadRunning(c.runningPath(id))
	if err == nil && run != nil && run.Sandbox != nil {
		err = c.o.Networks.Adopt(*run.Sandbox)
	}
	if err != nil {
		c.log.Error("cannot adopt the network of a container that cannot be read", "container", id, "error", err)
	}
}

// adoptContainer brings a record's state up to date.
func (c *Containers) adoptContainer(k *Container, h keeper.Held) {
	run, err := loadRunning(c.runningPath(k.id))
	if err != nil {
		c.log.Error("cannot read the state of a container", "container", k.id, "error", err)
	}
	if run != nil {
		news := false
		k.update(func(r *record) { news = r.recall(run) })
		if news {
			c.mustSave(k)
		}
	}
	if run != nil && h.ID != "" && h.Generation == run.Generation {
		c.adoptProcess(k, run, h)
		return
	}
	c.neverRan(k, run)
}

// adoptProcess takes a process over. If it has ended, the exit comes as others do.
func (c *Containers) adoptProcess(k *Container, run *running, h keeper.Held) {
	if run.Sandbox != nil {
		k.rec().rename(run.Sandbox)
		if err := c.o.Networks.Adopt(*run.Sandbox); err != nil {
			c.log.Error("cannot adopt a container's network", "container", k.id, "error", err)
		}
	}
	for _, m := range k.rec().Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		if err := c.o.Volumes.Mount(m.Name, k.id); err != nil {
			c.log.Error("cannot adopt a container's volume", "container", k.id, "error", err)
		}
	}
	p := h.Process
	k.process = &process{Process: &p, cgroup: c.o.Cgroups.Load(run.Cgroup), done: make(chan struct{})}
	if run.Task {
		k.process.task = c.adoptTask(k.id, p.Pid)
		p.Pid = run.Pid
	}
	c.resumeCommitted(k)
	status := apicontainer.StateRunning
	if frozen, err := k.process.frozen(); err != nil {
		c.log.Error("cannot see whether a container is paused", "container", k.id, "error", err)
	} else if frozen {
		status = apicontainer.StatePaused
	}
	stale := k.rec().State.Generation != run.Generation
	k.update(func(r *record) {
		if stale {
			r.Supervision.catchUp(r.State.Status)
		}
		known := r.State.OOMKilled && !stale
		r.State = state{Status: status, OOMKilled: known, Generation: run.Generation, StartedAt: run.StartedAt.UTC(), FinishedAt: r.State.FinishedAt, Running: run}
	})
	if stale && !k.rec().Host.AutoRemove {
		c.mustSave(k)
	}
	c.completeUpdate(k)
}

// neverRan settles a container that the keeper does not hold: it does not run, and
// how it ended, if it ran, nobody knows. One that is removed at its exit goes.
func (c *Containers) neverRan(k *Container, run *running) {
	c.removeRunning(k.id)
	rec := k.rec()
	if rec.Host.AutoRemove {
		// As docker's: its record is not written again after its creation, so that nobody
		// knows whether it ever ran.
		c.endTask(k.id)
		c.removeLocked(k, RemoveOptions{Volumes: true})
		return
	}
	if run == nil && (!rec.isRunning() || rec.State.Status == apicontainer.StateRestarting) {
		return
	}
	c.endTask(k.id)
	c.unshareShm(k.id)
	if run != nil {
		if err := c.o.Cgroups.Load(run.Cgroup).Remove(); err != nil {
			c.log.Warn("cannot remove cgroup", "container", k.id, "error", err)
		}
	}
	k.update(func(r *record) {
		r.State.Status, r.State.Running = "exited", nil
		r.State.ExitCode = 255
		r.State.Error = "the machine or the keeper went down while the container ran: its exit code is unknown"
		if r.State.FinishedAt.Before(r.State.StartedAt) {
			r.State.FinishedAt = time.Now().UTC()
		}
		if run != nil {
			r.State.Generation = max(r.State.Generation, run.Generation)
		}
	})
	c.mustSave(k)
}

// dismiss ends a process that belongs to nothing: its start was cut short before
// it was recorded, so whoever asked for it was told of no success.
func (c *Containers) dismiss(h keeper.Held) {
	if h.Exit != nil {
		return // the exit comes as others do
	}
	group := c.o.Cgroups.Load(c.o.CgroupParent + "/" + h.ID)
	if err := group.Kill(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("cannot end a process", "id", h.ID, "error", err)
	}
	if h.Pidfd != nil {
		kill(h.Pidfd)
	}
}

// adoptExecs takes the execs of the running containers over.
func (c *Containers) adoptExecs(held map[string]keeper.Held) {
	entries, _ := os.ReadDir(filepath.Join(c.o.ExecRoot, "execs"))
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !c.adoptExec(id, held) {
			os.Remove(filepath.Join(c.o.ExecRoot, "execs", e.Name()))
		}
	}
}

func (c *Containers) adoptExec(id string, held map[string]keeper.Held) bool {
	var r execRecord
	b, err := os.ReadFile(c.execPath(id))
	if err != nil || json.Unmarshal(b, &r) != nil || r.ID != id || len(r.Config.Cmd) == 0 {
		return false
	}
	k, err := c.index.get(r.Container)
	if err != nil {
		return false
	}
	x := &exec{id: id, container: k, generation: r.Generation, config: r.Config, started: true, code: r.ExitCode, done: make(chan struct{})}
	x.keys, _ = detachKeys(r.Config.DetachKeys)
	h, ok := held[id]
	switch {
	case r.ExitCode != nil:
		close(x.done)
		time.AfterFunc(execMemory, func() { c.forgetExec(x) })
	case !ok:
		return false
	default:
		p := h.Process
		if r.Pid != 0 {
			p.Pid = r.Pid
		}
		x.process = &p
	}
	c.index.addExec(x)
	return true
}

// tidyLayers removes the layers, and the files of the exec root, of containers
// that do not exist: their creation or removal was cut short.
func (c *Containers) tidyLayers() error {
	ids, err := c.o.Layers.List()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := os.Lstat(c.dir(id)); err == nil {
			continue // known, or kept because its record cannot be read
		}
		if names := c.o.Volumes.Forsake(id); len(names) > 0 { // before the layer, which tells of it
			c.log.Info("removed the volumes of a container whose creation was cut short", "container", id, "volumes", names)
		}
		if err := c.o.Layers.Remove(id); err != nil {
			c.log.Warn("cannot remove a layer without container", "layer", id, "error", err)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(c.o.ExecRoot, "containers"))
	for _, e := range entries {
		id := strings.TrimSuffix(e.Name(), ".json")
		if k, err := c.index.get(id); (err != nil || k.id != id) && !c.unreadable(id) {
			os.Remove(filepath.Join(c.o.ExecRoot, "containers", e.Name()))
			c.unshareShm(id)
		}
	}
	bundles, _ := os.ReadDir(c.tasksDir())
	for _, e := range bundles {
		if k, err := c.index.get(e.Name()); err == nil && k.id == e.Name() && k.process != nil || c.unreadable(e.Name()) {
			continue
		}
		c.endTask(e.Name()) // of a start that was cut short
	}
	return nil
}
