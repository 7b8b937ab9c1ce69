// Package container keeps the engine's containers: their records, their states and what may be done to them.
package container

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/container/cdi"
	"hoy/container/spec"
	"hoy/image"
	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/linux/cgroup"
	"hoy/linux/idmap"
	"hoy/network"
	"hoy/shim"
)

// Options configure Open.
type Options struct {
	Root     string // directory of the containers' directories
	ExecRoot string // what does not survive a reboot

	Images   Images
	Layers   Layers
	Volumes  Volumes
	Networks Networks
	Runtime  Runtime
	Keeper   Keeper
	Shim     shim.Program // for containers of other runtimes
	Cgroups  *cgroup.Host
	Events   *Bus

	Host          spec.Host     // as SetDefaults
	StopTimeout   time.Duration // as SetDefaults
	CgroupParent  string        // this engine's own group, "/hoy"
	UserMap       *idmap.Map
	CDI           cdi.Registry // where devices are described
	HostGateway   netip.Addr   // what host-gateway stands for in --add-host
	HostGateway6  netip.Addr   // the same; either may be none
	LinkVariables bool         // links of the default network give environment variables
	DNS           []netip.Addr
	DNSSearch     []string
	DNSOptions    []string
	LogOptions    map[string]string // default options of the default log driver
	AppArmor      string            // name of the default profile, where the kernel has AppArmor

	SeccompProfile string // of containers that name none: JSON, "unconfined", or "" for docker's
	Log            *slog.Logger
}

// Containers is the set of containers of one engine.
//
// A container is created, then started; it runs until its first process ends, may
// be started again, and is removed in the end:
//
//	created ──start──▶ running ──exit──▶ exited ──remove──▶ gone
//	                      ▲                 │
//	                      └──────start──────┘
//
// By its policy, or its health, a container may be restarting in the place of exited:
// it waits to be started by the engine.
// While it runs it may be paused: its processes are frozen (see Pause).
//
// Each start has a number, its generation. The keeper knows processes by id and
// generation, so that after a crash of either side nobody mistakes one start for
// another. Nothing here spans containers: each has an operation lock, held by
// create, start, exit and remove, and a state that readers see as an immutable
// record. List and Inspect wait for nobody; stop and kill only for the exit.
//
//	cs, err := container.Open(ctx, o)
//	made, err := cs.Create(ctx, container.CreateRequest{Name: "web", Config: config})
//	exit, err := cs.Wait(ctx, made.ID, container.WaitConditionNextExit)
//	err = cs.Start(ctx, made.ID)
//	status := <-exit
//
// It implements the server's Containers.
type Containers struct {
	o         Options
	log       *slog.Logger
	index     *index
	strangers strangers
	seccomp   profiles
	spares    spares
	walkers   walkers
	now       atomic.Pointer[defaults]
	tasks     sync.WaitGroup // work behind an answer; Close waits
	closing   chan struct{}
	pruning   sync.Mutex // held by the one Prune at a time
	loop      sync.WaitGroup

	supervisor supervisor
}

// Container is one container.
type Container struct {
	id    string
	op    operation // held while the container is created, started, ended, removed
	views views     // its files in others' hands
	meter meter

	record atomic.Pointer[record] // immutable; replaced under mu

	saving  sync.Mutex
	removed bool // by saving: its directory is gone, or about to be another's

	mu        sync.Mutex
	shared    bool                // other containers have, or may have, this one's files under /etc, and its network namespace
	removing  bool                // a removal is under way: nothing else may begin
	returning int                 // restarts under way: its exit does not remove it
	process   *process            // nil when not running
	pending   []keeper.Attachment // clients waiting for the start
	comeback  *comeback           // the restart it waits for, if any
	pause     time.Duration       // before the present run, if that is a restart

	// attaching is held for reading while a client is told that it is attached and
	// becomes pending: a start takes it once, to see all who were told before.
	attaching sync.RWMutex
	waiters   []waiter
}

// process is a running container's first process.
type process struct {
	*keeper.Process       // of another runtime's: the stand-in, but Pid is the process's own
	task            *task // another runtime's; nil: hoy's own
	cgroup          *cgroup.Group
	freezer         sync.Mutex    // held while the cgroup is frozen or thawed
	signals         sync.Mutex    // held until a signal that was sent is told of: before the end that it brings
	done            chan struct{} // closed when the exit is known
	// unpinned is closed when the engine's own descriptors of its mounts are; nil: there are none.
	unpinned chan struct{}
	spec     atomic.Pointer[specs.Spec] // the parts an exec needs; nil after adoption, until the first exec

	// Under the container's mu:
	halted bool        // no policy starts it again
	read   bool        // a client has been attached to its output
	probes *time.Timer // for the next probe of its health; nil: no health check
	pauses int         // how often it was paused

	ooms    uint64 // kills for lack of memory that are known
	oomDue  bool   // they will be counted soon
	unwatch func() // ends the kernel's telling of them; nil: it does not
}

func (k *Container) rec() *record { return k.record.Load() }

// plans says what somebody is about to do once it does not run.
func (k *Container) plans() (removing, returning bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.removing, k.returning > 0
}

// update stores a changed copy of the record. change must not touch what the
// record's pointers, slices and maps refer to.
func (k *Container) update(change func(*record)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.updateLocked(change)
}

func (k *Container) updateLocked(change func(*record)) {
	r := *k.rec()
	change(&r)
	k.record.Store(&r)
}

// running returns the container's process, or docker's error.
func (k *Container) running() (*process, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.process != nil:
		return k.process, nil
	case k.rec().State.Status == apicontainer.StateRestarting:
		return nil, fault.New(fault.Conflict, "Container %s %w", k.id, errRestarting)
	}
	return nil, fault.New(fault.Conflict, "container %s is not running", k.id)
}

// operation is a lock that can be waited for with a context.
type operation chan struct{}

func newOperation() operation { return make(operation, 1) }

func (o operation) lock(ctx context.Context) error {
	select {
	case o <- struct{}{}:
		return nil
	default:
	}
	select {
	case o <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o operation) unlock() { <-o }

// claim finds a container and takes its operation lock, which the caller gives back.
func (c *Containers) claim(ctx context.Context, ref string) (*Container, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	return k, k.op.lock(ctx)
}

// event publishes what happened to a container, with docker's attributes.
func (c *Containers) event(k *Container, a events.Action, extra ...string) {
	r := k.rec()
	attributes := make(map[string]string, len(r.Config.Labels)+2+len(extra)/2)
	for name, v := range r.Config.Labels {
		attributes[name] = v
	}
	attributes["name"] = r.Name
	if r.Config.Image != "" {
		attributes["image"] = r.Config.Image
	}
	for i := 0; i+1 < len(extra); i += 2 {
		attributes[extra[i]] = extra[i+1]
	}
	c.o.Events.Publish(events.ContainerEventType, a, r.ID, attributes)
}

// networkEvents publishes that a container joined or left networks.
func (c *Containers) networkEvents(k *Container, a events.Action, endpoints []network.Endpoint) {
	for _, e := range endpoints {
		c.o.Events.Publish(events.NetworkEventType, a, e.NetworkID, map[string]string{"container": k.id, "name": e.Network, "type": e.Driver})
	}
}

// Users returns the containers made from the image with this ID, or that mount it.
func (c *Containers) Users(imageID string) (ids []string, runs []bool) {
	for _, k := range c.index.all() {
		if r := k.rec(); slices.ContainsFunc(r.images(), func(i imageRecord) bool { return i.ID == imageID }) {
			ids, runs = append(ids, r.ID), append(runs, r.isRunning())
		}
	}
	return ids, runs
}

// UsersOfManifest returns the containers made from the image manifest with this digest.
func (c *Containers) UsersOfManifest(digest string) (ids []string, runs []bool) {
	for _, k := range c.index.all() {
		r := k.rec()
		if m := r.Image.Manifest; m != nil && m.Digest.String() == digest {
			ids, runs = append(ids, r.ID), append(runs, r.isRunning())
		}
	}
	return ids, runs
}

// Uses returns which images containers use, and by which names.
func (c *Containers) Uses() []image.Use {
	var l []image.Use
	for _, k := range c.index.all() {
		r := k.rec()
		l = append(l, image.Use{ID: r.Image.ID, Name: r.Config.Image})
		for _, m := range r.Mounts {
			if m.Image != nil {
				l = append(l, image.Use{ID: m.Image.ID, Name: m.Name})
			}
		}
	}
	return l
}

// Chains returns the chain IDs of the image layers that containers stand on; whole: there
// is none of which that is not known.
func (c *Containers) Chains() (l []string, whole bool) {
	seen := map[string]bool{}
	for _, k := range c.index.all() {
		for _, i := range k.rec().images() {
			if i.Chain != "" && !seen[i.Chain] {
				seen[i.Chain] = true
				l = append(l, i.Chain)
			}
		}
	}
	return l, len(c.Strangers()) == 0
}

// Count returns how many containers there are, by state.
func (c *Containers) Count() (running, paused, stopped int) {
	for _, k := range c.index.all() {
		switch k.rec().State.Status {
		case apicontainer.StateRunning:
			running++
		case apicontainer.StatePaused:
			paused++
		default:
			stopped++
		}
	}
	return running, paused, stopped
}

// later runs f behind an answer; Close waits for it.
func (c *Containers) later(f func()) { c.tasks.Go(f) }

// Close stops handling exits and waits for what goes on behind answers. The
// containers run on.
func (c *Containers) Close() error {
	close(c.closing)
	c.loop.Wait()
	c.supervisor.close()
	c.tasks.Wait()
	return nil
}

// patience is how long the engine waits for what should happen at once.
const patience = 10 * time.Second

// Name returns the name of the container with this id, empty when there is none.
func (c *Containers) Name(id string) string {
	if k, err := c.index.get(id); err == nil && k.id == id {
		return k.rec().Name
	}
	return ""
}
