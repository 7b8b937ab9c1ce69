package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/util/entitlements"

	"hoy/test/eventually"
)

// says builds, and wants the log to hold words.
func (h *bench) says(dockerfile string, files map[string]string, change func(*client.SolveOpt), words ...string) {
	h.t.Helper()
	if change == nil {
		change = func(*client.SolveOpt) {}
	}
	got, err := h.build(h.t.Context(), dockerfile, files, change)
	if err != nil {
		h.t.Errorf("%v\n%s", err, got.log)
	}
	for _, w := range words {
		if !strings.Contains(got.log, w) {
			h.t.Errorf("%q is missing in:\n%s", w, got.log)
		}
	}
}

func TestMounts(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *bench) {
		h.busybox()
		const cached = "FROM busybox\nRUN --mount=type=cache,target=/cache echo %s >> /cache/f && cat /cache/f\n"
		h.says(fmt.Sprintf(cached, "one"), nil, nil, "one\n")
		h.says(fmt.Sprintf(cached, "two"), nil, nil, "one\ntwo\n")
		h.says(`FROM busybox AS other
RUN mkdir -p /deep/er && echo from-stage > /deep/er/f
FROM busybox
RUN --mount=type=bind,from=other,source=/deep,target=/d cat /d/er/f && ! touch /d/x
RUN --mount=type=bind,from=other,source=/deep/er/f,target=/file cat /file
RUN --mount=type=bind,target=/ctx cat /ctx/a && ! touch /ctx/b
RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && grep /t /proc/mounts
RUN test ! -e /d && test ! -e /file && test ! -e /ctx && test ! -e /t
`, map[string]string{"a": "from-context"}, nil, "from-stage\n", "from-context", "size=1024k")
		h.says("FROM busybox\nUSER app\nRUN --mount=type=secret,id=s,uid=1000 id -u; ls -ln /run/secrets; cat /run/secrets/s\nUSER root\nRUN test ! -e /run/secrets/s\n", nil, func(o *client.SolveOpt) {
			o.Session = append(o.Session, secretsprovider.FromMap(map[string][]byte{"s": []byte("the-secret")}))
		}, "the-secret", "1000")
	})
}

// TestCgroupParent: what --cgroup-parent has steps be in goes with them, unless it was
// there before.
func TestCgroupParent(t *testing.T) {
	h := newBench(t)
	h.busybox()
	groups := h.b.o.Cgroups
	base := fmt.Sprintf("/hoy-build-parent-%d", os.Getpid())
	there, err := groups.Create(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Remove()
	below := base + "/not/there"
	h.says("FROM busybox AS a\nRUN cat /proc/self/cgroup\nFROM busybox AS b\nRUN sleep 0.1\nFROM busybox\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\nRUN true\n", nil, func(o *client.SolveOpt) {
		o.FrontendAttrs = map[string]string{"cgroup-parent": below}
	})
	eventually.True(t, "cgroups above the steps are gone", func() bool { return !groups.Exists(base + "/not") })
	if !groups.Exists(base) {
		t.Error("a cgroup that was there before is gone")
	}
}

func TestNetworkModes(t *testing.T) {
	h := newBench(t)
	h.busybox()
	h.says("FROM busybox\nRUN ip addr show dev eth0 && cat /etc/hosts && hostname\n", nil, func(o *client.SolveOpt) {
		o.FrontendAttrs = map[string]string{"add-hosts": "there=192.0.2.7", "hostname": "builder"}
	}, "inet 10.214.0.", "192.0.2.7\tthere", "127.0.0.1\tbuilder", "builder\n")
	h.says("FROM busybox\nRUN --network=none ip link | grep -c mtu\n", nil, nil, "1\n")
	const host = "FROM busybox\nRUN --network=host ip link\n"
	if _, err := h.build(t.Context(), host, nil); err == nil {
		t.Error("a step has the host's network without a word of the client's")
	}
	h.says(host, nil, func(o *client.SolveOpt) {
		o.AllowedEntitlements = []string{entitlements.EntitlementNetworkHost.String()}
	}, "hoybuild0")
}

func TestLimits(t *testing.T) {
	h := newBench(t)
	h.busybox()
	h.says("FROM busybox\nRUN ulimit -n && df /dev/shm | tail -1\n", nil, func(o *client.SolveOpt) {
		o.FrontendAttrs = map[string]string{"ulimit": "nofile=123:123", "shm-size": "2097152"}
	}, "123\n", "2048")
}

func TestFailedSteps(t *testing.T) {
	h := newBench(t)
	h.busybox()
	for _, tc := range []struct{ run, want string }{
		{"exit 7", "exit code: 7"},
		{"sh -c 'kill -9 $$'; exit $?", "exit code: 137"},
		{`["/nothing"]`, `exec: "/nothing"`},
		{`["/etc/passwd"]`, `exec: "/etc/passwd"`},
	} {
		_, err := h.build(t.Context(), "FROM busybox\nRUN "+tc.run+"\n", nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("RUN %s: %v, want %q", tc.run, err, tc.want)
		}
	}
	if _, err := h.build(t.Context(), "FROM busybox\nUSER nobody-there\nRUN true\n", nil); err == nil || !strings.Contains(err.Error(), "nobody-there") {
		t.Errorf("an unknown user: %v", err)
	}
}

// TestCancelledStep has a build end as soon as nobody wants it any more.
func TestCancelledStep(t *testing.T) {
	h := newBench(t)
	h.busybox()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		h.stepRuns()
		cancel(errors.New("enough"))
	}()
	begin := time.Now()
	_, err := h.build(ctx, "FROM busybox\nRUN sleep 1000\n", nil)
	if err == nil {
		t.Error("a cancelled build succeeds")
	}
	t.Logf("%v after %v", err, time.Since(begin))
	h.says("FROM busybox\nRUN echo on\n", nil, nil, "on\n")
}

// stepRuns waits until a step is under way.
func (h *bench) stepRuns() {
	eventually.True(h.t, "a step", func() bool {
		dirs, _ := filepath.Glob(filepath.Join(h.execRoot(), "keeper/build-*"))
		return len(dirs) > 0
	})
}

func TestCachedSteps(t *testing.T) {
	h := newBench(t)
	h.busybox()
	const file = "FROM busybox\nCOPY a /a\nRUN cat /a > /b\n"
	first, err := h.build(t.Context(), file, map[string]string{"a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.build(t.Context(), file, map[string]string{"a": "1"})
	if err != nil || again.digest != first.digest || !strings.Contains(strings.Join(again.cached, "\n"), "RUN cat /a") {
		t.Errorf("%v; of the cache are %q", err, again.cached)
	}
	changed, err := h.build(t.Context(), file, map[string]string{"a": "2"})
	if err != nil || len(changed.cached) > 1 {
		t.Errorf("%v; of the cache are %q", err, changed.cached)
	}
}

// TestPrunedCache has images outlive the cache of their steps, and the cache images.
func TestPrunedCache(t *testing.T) {
	h := newBench(t)
	h.busybox()
	const file = "FROM busybox\nRUN echo content > /f\n"
	if _, err := h.build(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	report, err := h.b.Prune(t.Context(), PruneOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", report)
	im, err := h.store.Get(t.Context(), "built")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range im.Layers {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the image has lost a layer with the cache: %v", err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(im.Layers[0], "f")); err != nil || string(b) != "content\n" {
		t.Errorf("the image has lost a file with the cache: %q, %v", b, err)
	}
	if _, err := h.build(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Remove(t.Context(), "built", false, nil); err != nil {
		t.Fatal(err)
	}
	again, err := h.build(t.Context(), file, nil)
	if err != nil || !strings.Contains(strings.Join(again.cached, "\n"), "RUN echo content") {
		t.Errorf("%v; of the cache are %q", err, again.cached)
	}
}
