package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	bkcontrol "github.com/moby/buildkit/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/container/spec"
	"hoy/image"
	"hoy/lib/cleanup"
	"hoy/linux/cgroup"
	"hoy/linux/idmap"
	"hoy/network"
)

// Options are what a Builder stands on.
type Options struct {
	Root     string       // directory of its own, which may be removed while no engine runs
	ExecRoot string       // what does not survive a reboot: that of the engine
	Images   *image.Store // where results go, and which keeps what the cache has

	Runtime  Runtime
	Keeper   Keeper
	Networks Networks
	Cgroups  *cgroup.Host

	// Steps are as containers that are told nothing else.
	Host           spec.Host  // what the machine offers
	CgroupParent   string     // the engine's own group
	UserMap        *idmap.Map // user namespace; nil: the host's
	SeccompProfile string     // JSON, "unconfined", or "" for docker's
	Resolve        network.ResolvConf

	Registries docker.RegistryHosts // how registries are reached
	// Gateway is what the name host-gateway stands for in a client's extra hosts;
	// invalid: there is none.
	Gateway netip.Addr

	// Pull brings an image into the store for the classic builder, as the engine does
	// where no build is.
	Pull func(ctx context.Context, ref reference.Named, p *ocispec.Platform, auth registry.AuthConfig, say func(jsonstream.Message)) error
	// Tag gives an image of the store a name.
	Tag func(ctx context.Context, id, name string) error

	// Exported is told of an image that a build has put into the store, and Named of
	// each name that it was given; nil: nobody is.
	Exported func(ctx context.Context, image ocispec.Descriptor)
	Named    func(ctx context.Context, name string, image ocispec.Descriptor)

	Config Config // of daemon.json

	Log *slog.Logger
}

// Builder builds images.
//
//	b, err := build.Open(ctx, build.Options{Root: "/var/lib/hoy/build", Images: store, …})
//	…
//	err = b.Close()
//
// Open is cheap. BuildKit is opened when somebody first asks for a build, for what the
// cache holds or for its pruning, and stays open until Close.
type Builder struct {
	o        Options
	sessions *session.Manager
	front    front

	mu     sync.Mutex
	opened *controller // guarded by mu; nil until it is needed
	closed bool        // guarded by mu
}

// controller is BuildKit, opened.
type controller struct {
	*bkcontrol.Controller
	sessions *session.Manager
	worker   *worker
	server   *controlServer
	closers  cleanup.Stack
}

var errClosed = errors.New("the engine is ending: it builds no more")

// Open makes a Builder. It starts nothing, and opens no file unless an engine was killed
// while it built.
func Open(ctx context.Context, o Options) (*Builder, error) {
	sessions, err := session.NewManager()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	kitLog(o.Log)
	wholeLogs()
	if err := sweep(&o); err != nil {
		return nil, fmt.Errorf("cannot tidy up after builds: %w", err)
	}
	return &Builder{o: o, sessions: sessions}, nil
}

// wholeLogs has BuildKit keep all output of steps, unless the environment says otherwise,
// which is its only way to be told. By itself it cuts what comes too quickly.
func wholeLogs() {
	for _, limit := range []string{"BUILDKIT_STEP_LOG_MAX_SIZE", "BUILDKIT_STEP_LOG_MAX_SPEED"} {
		if os.Getenv(limit) == "" {
			os.Setenv(limit, "-1")
		}
	}
}

// control returns BuildKit, which it opens the first time.
func (b *Builder) control(ctx context.Context) (*controller, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	if b.opened != nil {
		return b.opened, nil
	}
	c, err := b.open(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("cannot open the builder: %w", err)
	}
	b.opened = c
	return c, nil
}

// Close ends all builds.
func (b *Builder) Close() error {
	b.mu.Lock()
	c := b.opened
	b.opened, b.closed = nil, true
	b.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.close()
}

// ForgetRegistries has registries be reached as the options say now: BuildKit keeps for a
// while how it has reached them.
func (b *Builder) ForgetRegistries() { resolver.DefaultPool.Clear() }
