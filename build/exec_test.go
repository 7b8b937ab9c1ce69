package build

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/entitlements"
)

// output is a writer for a process that runs meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) Close() error { return nil }

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// TestProcessesInStep is what a front end, or somebody who looks why a step has failed,
// does: further processes in a container, with and without a terminal, signals, codes.
func TestProcessesInStep(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *bench) {
		h.busybox()
		_, err := h.c.Build(t.Context(), client.SolveOpt{}, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			def, err := llb.Image("docker.io/library/busybox:latest").Marshal(ctx)
			if err != nil {
				return nil, err
			}
			res, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
			if err != nil {
				return nil, err
			}
			ref, err := res.SingleRef()
			if err != nil {
				return nil, err
			}
			box, err := c.NewContainer(ctx, gateway.NewContainerRequest{Mounts: []gateway.Mount{{Dest: "/", MountType: pb.MountType_BIND, Ref: ref}}})
			if err != nil {
				return nil, err
			}
			defer box.Release(ctx)
			inBox(ctx, t, box)
			return gateway.NewResult(), nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	})
}

func inBox(ctx context.Context, t *testing.T, box gateway.Container) {
	env := []string{"PATH=/bin"}
	var out, both output
	first, err := box.Start(ctx, gateway.StartRequest{Args: []string{"sleep", "1000"}, Env: env, Cwd: "/"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := box.Start(ctx, gateway.StartRequest{Args: []string{"sh", "-c", "cat; id -u; echo to-err >&2"}, Env: env, Cwd: "/tmp", User: "app",
		Stdin: io.NopCloser(strings.NewReader("from-stdin\n")), Stdout: &out, Stderr: &both,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil || out.String() != "from-stdin\n1000\n" || both.String() != "to-err\n" {
		t.Errorf("%v, %q, %q", err, out.String(), both.String())
	}
	var screen output
	tty, err := box.Start(ctx, gateway.StartRequest{Args: []string{"sh", "-c", "tty; stty size; ps | grep -c sleep"}, Env: env, Tty: true, Stdin: io.NopCloser(strings.NewReader("")), Stdout: &screen})
	if err != nil {
		t.Fatal(err)
	}
	if err := tty.Wait(); err != nil || !strings.Contains(screen.String(), "/dev/pts/") {
		t.Errorf("%v, %q", err, screen.String())
	}
	// An end with another code than 0 is that of all: BuildKit has it so.
	if err := first.Signal(ctx, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if exit, ok := errors.AsType[*gatewayapi.ExitError](first.Wait()); !ok || exit.ExitCode != 137 {
		t.Errorf("after SIGKILL: %+v", exit)
	}
}

// TestInsecureStep has a step hold all rights where the engine's configuration and the
// client allow it, and not otherwise.
func TestInsecureStep(t *testing.T) {
	h := newBench(t)
	yes := true
	h.b.o.Config.Entitlements.SecurityInsecure = &yes
	h.busybox()
	const file = "# check=skip=all\nFROM busybox\nRUN --security=insecure grep -e CapEff -e Seccomp: /proc/self/status && mount -t tmpfs none /mnt || mkdir /mnt && mount -t tmpfs none /mnt && ls -d /dev/fuse\n"
	if _, err := h.build(t.Context(), file, nil); err == nil {
		t.Error("a step has all rights without a word of the client's")
	}
	h.says(file, nil, func(o *client.SolveOpt) {
		o.AllowedEntitlements = []string{entitlements.EntitlementSecurityInsecure.String()}
	}, "Seccomp:\t0", "CapEff:\t000001ff", "/dev/fuse")
}
