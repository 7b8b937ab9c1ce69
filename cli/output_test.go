package cli

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

var update = flag.Bool("update", false, "write the golden files")

// twoContainers are what the fake lists: one with everything, one with little.
func twoContainers() []container.Summary {
	web := container.Summary{
		ID: "4c01db0b339c4b1b1e1d7b2b4f0b1d2c3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b", Names: []string{"/web", "/other/alias"}, Image: "nginx:1.27",
		ImageID: "sha256:1", Command: "/docker-entrypoint.sh nginx -g 'daemon off;'", Created: time.Now().Add(-2 * time.Hour).Unix(),
		State: "running", Status: "Up 2 hours", Labels: map[string]string{"b": "2", "com.example.some-thing": "1"}, SizeRw: 1095, SizeRootFs: 192_000_000,
		Ports: []container.PortSummary{
			{IP: netip.MustParseAddr("0.0.0.0"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {IP: netip.MustParseAddr("::"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
			{IP: netip.MustParseAddr("0.0.0.0"), PrivatePort: 81, PublicPort: 8081, Type: "tcp"}, {PrivatePort: 443, Type: "tcp"}, {PrivatePort: 444, Type: "tcp"}, {PrivatePort: 53, Type: "udp"},
		},
		Mounts:          []container.MountPoint{{Type: mount.TypeVolume, Name: "a-volume-with-a-long-name", Driver: "local"}, {Type: mount.TypeBind, Source: "/srv"}},
		NetworkSettings: &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{"web": {}, "bridge": {}}},
	}
	old := container.Summary{ID: strings.Repeat("ab", 32), Names: []string{"/old"}, Image: "sha256:" + strings.Repeat("cd", 32), Command: "sh", Created: time.Now().Add(-50 * 24 * time.Hour).Unix(), State: "exited", Status: "Exited (1) 3 weeks ago"}
	return []container.Summary{web, old}
}

// TestOutput holds what commands print, in testdata/output.golden.
func TestOutput(t *testing.T) {
	f := newFake(t)
	f.json("GET /containers/json", 200, twoContainers())
	f.json("GET /images/json", 200, []image.Summary{
		{ID: "sha256:" + strings.Repeat("12", 32), RepoTags: []string{"debian:12", "registry.example:5000/team/debian:stable"}, RepoDigests: []string{"debian@sha256:" + strings.Repeat("34", 32)}, Created: time.Now().Add(-72 * time.Hour).Unix(), Size: 116_543_210, SharedSize: -1, Containers: -1},
		{ID: "sha256:" + strings.Repeat("56", 32), Created: time.Now().Add(-time.Minute).Unix(), Size: 999, SharedSize: -1, Containers: 2},
	})
	f.json("GET /volumes", 200, volume.ListResponse{Volumes: []volume.Volume{{Name: "z", Driver: "local", Scope: "local"}, {Name: "data", Driver: "local", Mountpoint: "/v/data", Labels: map[string]string{"a": "b"}}}})
	f.json("GET /networks", 200, []network.Summary{{Network: network.Network{ID: strings.Repeat("9a", 32), Name: "bridge", Driver: "bridge", Scope: "local", EnableIPv4: true}}})
	f.json("GET /version", 200, system.VersionResponse{Version: "0.1.0", APIVersion: "1.56", Components: []system.ComponentVersion{{Name: "Engine", Version: "0.1.0", Details: map[string]string{"ApiVersion": "1.56", "MinAPIVersion": "1.40", "GoVersion": "go1.26", "Os": "linux", "Arch": "amd64", "GitCommit": "abc", "Experimental": "false"}}, {Name: "keeper", Version: "1", Details: map[string]string{"Protocol": "1"}}}})
	f.json("GET /info", 200, system.Info{ID: "an-id", Containers: 3, ContainersRunning: 1, ContainersStopped: 2, Images: 4, ServerVersion: "0.1.0", Driver: "overlayfs", DriverStatus: [][2]string{{"Layers", "12"}}, LoggingDriver: "json-file", CgroupDriver: "cgroupfs", CgroupVersion: "2", Plugins: system.PluginsInfo{Volume: []string{"local"}, Network: []string{"bridge", "host", "none"}, Log: []string{"json-file", "none"}}, SecurityOptions: []string{"name=seccomp,profile=builtin", "name=cgroupns"}, KernelVersion: "6.18.0", OperatingSystem: "Debian", OSType: "linux", Architecture: "x86_64", NCPU: 2, MemTotal: 4 << 30, Name: "host", DockerRootDir: "/var/lib/hoy", Warnings: []string{"WARNING: No swap limit support"}})
	f.json("GET /containers/web/json", 200, map[string]any{"Id": "4c01", "Name": "/web", "Config": map[string]any{"Cmd": []string{"a", "b"}, "Env": []string{"X=<&>"}}, "State": map[string]any{"ExitCode": 3, "Running": true}, "NewField": map[string]any{"Deep": 12345678901}})
	f.refuse("GET /containers/nope/json", 404, "No such container: nope")
	f.refuse("GET /images/nope/json", 404, "No such image: nope")
	f.refuse("GET /networks/nope", 404, "network nope not found")
	f.refuse("GET /volumes/nope", 404, "get nope: no such volume")
	var got strings.Builder
	for _, line := range []string{
		"ps", "ps -a --no-trunc", "ps -s", "ps -q", "ps -aq --no-trunc", "ps --format table~{{.Names}}\\t{{.Ports}}\\t{{.Label~\"com.example.some-thing\"}}",
		"ps --format {{.ID}}:{{.Names}}:{{.Networks}}:{{.Mounts}}:{{.LocalVolumes}}:{{.State}}", "ps --format {{.Names|upper}}~{{json~.Labels}}", "ps --format {{.Nope}}", "ps -h", "help nosuch", "help container nosuch", "--log-level nosuch ps",
		"images", "images --digests --no-trunc", "images -q", "image ls --format {{.Repository}}={{.Tag}}={{.Size}}={{.Containers}}",
		"volume ls", "volume ls -q", "volume ls --format json", "network ls", "network ls -q --no-trunc", "version", "version --format {{.Server.Version}}/{{.Client.APIVersion}}", "info", "info -f {{.ServerVersion}}~{{join~.Plugins.Network~\"+\"}}",
		"inspect web", "inspect -f {{.State.ExitCode}}~{{.Name}} web", "inspect -f {{json~.Config.Cmd}} web", "inspect -f {{.NewField.Deep}} web", "inspect -f {{.Nope}} web", "inspect -f {{.Id web", "inspect --type container web nope", "inspect nope", "inspect --type sofa web",
	} {
		words := strings.Fields(line)
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "~", " ")
		}
		code, out, errs := f.hoy("", words...)
		got.WriteString("$ hoy " + line + "\n" + trimEnds(out))
		if errs != "" {
			got.WriteString("stderr: " + errs)
		}
		if code != 0 {
			got.WriteString("code: " + string('0'+rune(code%10)) + "\n")
		}
		got.WriteString("\n")
	}
	golden(t, "testdata/output.golden", hideVersions(got.String()))
}

// trimEnds takes the spaces at the ends of lines away, as editors do to golden files.
func trimEnds(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// hideVersions drops the lines that say what this test was built with.
func hideVersions(s string) string {
	var out []string
	for _, l := range strings.Split(s, "\n") {
		if !strings.HasPrefix(l, " Go version:        ") && !strings.HasPrefix(l, " OS/Arch:           ") && !strings.HasPrefix(l, " Git commit:        ") && !strings.HasPrefix(l, " Version:  ") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s differs at line %d (run with -update to accept):\n%s", name, i+1, got)
		}
	}
}

func TestEventLine(t *testing.T) {
	var b strings.Builder
	m := events.Message{Type: "container", Action: "die", Actor: events.Actor{ID: "c0ffee", Attributes: map[string]string{"name": "x", "exitCode": "3"}}, TimeNano: 1767312000000000001}
	if err := printEvent(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	want := time.Unix(0, m.TimeNano).Format(nanoTime) + " container die c0ffee (exitCode=3, name=x)\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"": "", "10m": "1767354600.000000000", "1h30m": "1767349800.000000000", "2026-01-02T12:00:00Z": "1767355200.000000000",
		"2026-01-02T12:00:00.5Z": "1767355200.500000000", "2026-01-02": "1767312000.000000000", "2026-01-02T12:00": "1767355200.000000000", "1767355200": "1767355200", "1767355200.5": "1767355200.5", "0": "0",
	} {
		if got, err := moment(in, now); err != nil || got != want {
			t.Errorf("moment(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"yesterday", "1.2.3", "2026-13-01", "10 m"} {
		if got, err := moment(in, now); err == nil {
			t.Errorf("moment(%q) = %q, want an error", in, got)
		}
	}
}

// TestHelp holds run's help: every flag under a heading.
func TestHelp(t *testing.T) {
	var o, e strings.Builder
	if code := Main([]string{"run", "--help"}, Streams{Out: &o, Err: &e}); code != 0 || e.String() != "" {
		t.Fatal(code, e.String())
	}
	golden(t, "testdata/run-help.golden", trimEnds(o.String()))
}

// TestEveryCommandHasHelp builds the whole tree.
func TestHelpWithoutCommand(t *testing.T) {
	f := newFake(t)
	for _, line := range []string{"", "container", "image", "volume"} {
		words := strings.Fields(line)
		_, help, _ := f.hoy("", append([]string{"help"}, words...)...)
		if code, out, errs := f.hoy("", words...); code != 0 || out != "" || errs != help {
			t.Errorf("hoy %s: code %d, stdout %q, stderr %q; want the help there", line, code, out, errs)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, e := range entries() {
		words := []string{e.name, "--help"}
		if e.group != "" {
			words = append([]string{e.group}, words...)
		}
		var o, errs strings.Builder
		if code := Main(words, Streams{Out: &o, Err: &errs}); code != 0 || !strings.HasPrefix(o.String(), "Usage:  hoy "+strings.Join(words[:len(words)-1], " ")) {
			t.Errorf("hoy %q: code %d\n%s%s", words, code, o.String(), errs.String())
		}
	}
}

func TestCompletion(t *testing.T) {
	var o, e strings.Builder
	if code := Main([]string{"__complete", "run", "--entry"}, Streams{Out: &o, Err: &e}); code != 0 || !strings.Contains(o.String(), "--entrypoint") {
		t.Errorf("code %d, %q %q", code, o.String(), e.String())
	}
	if code := Main([]string{"completion", "bash"}, Streams{Out: &o, Err: &e}); code != 0 {
		t.Errorf("code %d, %q", code, e.String())
	}
}
