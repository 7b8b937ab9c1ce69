package server

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/container"
)

// TestCreateCarriesTheRequest sends every kind of field through moby's client.
func TestCreateCarriesTheRequest(t *testing.T) {
	var got container.CreateRequest
	socket, _ := serve(t, &backend{create: func(r container.CreateRequest) (apicontainer.CreateResponse, error) {
		got = r
		return apicontainer.CreateResponse{ID: "id1", Warnings: []string{"w"}}, nil
	}})
	timeout := 5
	want := container.CreateRequest{
		Name:     "n",
		Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
		Config: &apicontainer.Config{
			Image: "i", AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true,
			ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}}, Labels: map[string]string{"a": "b"},
			OnBuild: []string{"RUN x"}, Shell: []string{"sh"}, StopSignal: "HUP", StopTimeout: &timeout,
		},
		HostConfig: &apicontainer.HostConfig{
			NetworkMode: "bridge", AutoRemove: true, PortBindings: network.PortMap{}, ContainerIDFile: "/cid", GroupAdd: []string{"audio"},
			DNS: []netip.Addr{netip.MustParseAddr("9.9.9.9")}, DNSOptions: []string{"ndots:1"}, DNSSearch: []string{"x"}, ExtraHosts: []string{"a:1.2.3.4"},
			Mounts: []mount.Mount{{Type: "volume", Source: "v", Target: "/v", VolumeOptions: &mount.VolumeOptions{Labels: map[string]string{"l": "m"}}}},
		},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"bridge": {MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 1}}}},
	}
	answer, err := docker(t, socket).ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name: want.Name, Platform: want.Platform, Config: want.Config, HostConfig: want.HostConfig, NetworkingConfig: want.NetworkingConfig,
	})
	if err != nil || answer.ID != "id1" || !reflect.DeepEqual(answer.Warnings, []string{"w"}) {
		t.Fatalf("got %+v, %v", answer, err)
	}
	if !same(t, got, want) {
		t.Errorf("the request changed on its way")
	}
}

// same compares by JSON: empty and missing lists mean the same.
func same(t *testing.T, got, want any) bool {
	t.Helper()
	var text [2][]byte
	for i, v := range []any{got, want} {
		var err error
		if text[i], err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(text[0], text[1]) {
		t.Logf("got  %s\nwant %s", text[0], text[1])
		return false
	}
	return true
}

func TestCreateRefusesBadBodies(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for _, c := range []struct{ kind, body, want string }{
		{"application/json", "", "invalid JSON: EOF"},
		{"application/json", "{", "invalid JSON"},
		{"application/json", "null", "config cannot be empty"},
		{"application/json", `{"HostConfig":{}}`, "config cannot be empty"},
		{"application/json", `{"Image":"a"} x`, "unexpected content after JSON"},
		{"application/json", `{"Image":1}`, "invalid JSON"},
		{"text/plain", `{"Image":"a"}`, "unsupported Content-Type header (text/plain): must be 'application/json'"},
		{"application/json", `{"Image":"` + strings.Repeat("a", maxBody) + `"}`, "larger than"},
	} {
		resp, body := call(t, socket, "POST", "/containers/create", strings.NewReader(c.body), "Content-Type", c.kind)
		if resp.StatusCode != 400 || !strings.Contains(body, c.want) {
			t.Errorf("%.40s: %d %s, want %s", c.body, resp.StatusCode, body, c.want)
		}
	}
}

// TestLargeRequests carries ten thousand variables and 100 kB arguments.
func TestLargeRequests(t *testing.T) {
	var got container.CreateRequest
	socket, _ := serve(t, &backend{create: func(r container.CreateRequest) (apicontainer.CreateResponse, error) {
		got = r
		return apicontainer.CreateResponse{ID: "1"}, nil
	}})
	config := &apicontainer.Config{Image: "i", Cmd: []string{strings.Repeat("x", 100_000)}}
	for range 10_000 {
		config.Env = append(config.Env, "A="+strings.Repeat("y", 50))
	}
	if _, err := docker(t, socket).ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: config}); err != nil {
		t.Fatal(err)
	}
	if len(got.Config.Env) != 10_000 || len(got.Config.Cmd[0]) != 100_000 {
		t.Errorf("%d variables, %d bytes", len(got.Config.Env), len(got.Config.Cmd[0]))
	}
}

// TestCreateByOldVersions gives a request the meaning it had.
func TestCreateByOldVersions(t *testing.T) {
	const mac = `"MacAddress":"02:00:00:00:00:01"`
	for name, c := range map[string]struct {
		version version
		body    string
		refused string
		check   func(container.CreateRequest) bool
	}{
		"IPC was shareable":            {39, `{"Image":"i"}`, "", func(r container.CreateRequest) bool { return r.HostConfig.IpcMode == "shareable" }},
		"and later the default":        {40, `{"Image":"i"}`, "", func(r container.CreateRequest) bool { return r.HostConfig.IpcMode == "" }},
		"binds were recursive":         {39, `{"Image":"i","HostConfig":{"Mounts":[{"Type":"bind","BindOptions":{"NonRecursive":true}}]}}`, "", recursive(true)},
		"and need not be":              {40, `{"Image":"i","HostConfig":{"Mounts":[{"Type":"bind","BindOptions":{"NonRecursive":true}}]}}`, "", recursive(false)},
		"cgroup namespace of the host": {40, `{"Image":"i"}`, "", func(r container.CreateRequest) bool { return r.HostCgroupns }},
		"one of its own with 1.41":     {41, `{"Image":"i"}`, "", func(r container.CreateRequest) bool { return !r.HostCgroupns }},
		"platforms came with 1.41":     {40, `{"Image":"i"}`, "", func(r container.CreateRequest) bool { return r.Platform == nil }},
		"and are meant since":          {41, `{"Image":"i"}`, "", func(r container.CreateRequest) bool { return r.Platform.Architecture == "arm64" }},
		"capabilities in one list":     {40, `{"Image":"i","HostConfig":{"Capabilities":["x"]}}`, "Capabilities are not supported", nil},
		"console size came with 1.42":  {41, `{"Image":"i","HostConfig":{"ConsoleSize":[1,2]}}`, "", func(r container.CreateRequest) bool { return r.HostConfig.ConsoleSize == [2]uint{} }},
		"annotations with 1.43":        {42, `{"Image":"i","HostConfig":{"Annotations":{"a":"b"}}}`, "", func(r container.CreateRequest) bool { return r.HostConfig.Annotations == nil }},
		"the container's address":      {43, `{"Image":"i",` + mac + `}`, "", hasMAC},
		"the default network's name":   {43, `{"Image":"i",` + mac + `,"HostConfig":{"NetworkMode":"default"}}`, "", hasMAC},
		"deprecated in 1.44":           {44, `{"Image":"i",` + mac + `}`, "", hasMAC},
		"gone in 1.52":                 {52, `{"Image":"i",` + mac + `}`, "no longer supported", nil},
		"two addresses that differ":    {44, `{"Image":"i",` + mac + `,"NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:00:00:00:00:02"}}}}`, "must match", nil},
		"no address with host":         {43, `{"Image":"i",` + mac + `,"HostConfig":{"NetworkMode":"host"}}`, "conflicting options: mac-address and the network mode", nil},
		"an endpoint's before 1.44":    {43, `{"Image":"i","NetworkingConfig":{"EndpointsConfig":{"bridge":{` + mac + `}}}}`, "", func(r container.CreateRequest) bool { return !hasMAC(r) }},
		"one network before 1.44":      {43, `{"Image":"i","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":null}}}`, "multiple network endpoints: a, b", nil},
		"read-only was not recursive": {43, `{"Image":"i","HostConfig":{"Mounts":[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}]}}`, "", func(r container.CreateRequest) bool {
			return r.ShallowReadOnly
		}},
		"forced recursion":    {43, `{"Image":"i","HostConfig":{"Mounts":[{"Type":"bind","BindOptions":{"ReadOnlyForceRecursive":true}}]}}`, "needs API v1.44", nil},
		"subpath with 1.45":   {44, `{"Image":"i","HostConfig":{"Mounts":[{"Type":"volume","VolumeOptions":{"Subpath":"a"}}]}}`, "needs API v1.45", nil},
		"images with 1.48":    {47, `{"Image":"i","HostConfig":{"Mounts":[{"Type":"image"}]}}`, "needs API v1.48", nil},
		"umask with 1.56":     {55, `{"Image":"i","HostConfig":{"Umask":18}}`, "", func(r container.CreateRequest) bool { return r.HostConfig.Umask == nil }},
		"umask is there then": {56, `{"Image":"i","HostConfig":{"Umask":18}}`, "", func(r container.CreateRequest) bool { return *r.HostConfig.Umask == 18 }},
	} {
		t.Run(name, func(t *testing.T) {
			var got container.CreateRequest
			socket, s := serve(t, &backend{create: func(r container.CreateRequest) (apicontainer.CreateResponse, error) {
				got = r
				return apicontainer.CreateResponse{ID: "1"}, nil
			}})
			s.oldest = minVersion
			resp, body := call(t, socket, "POST", "/v"+c.version.String()+"/containers/create?platform=linux/arm64", strings.NewReader(c.body), "Content-Type", "application/json")
			switch {
			case c.refused != "":
				if resp.StatusCode != 400 || !strings.Contains(body, c.refused) {
					t.Errorf("%d %s", resp.StatusCode, body)
				}
			case resp.StatusCode != 201 || !c.check(got):
				t.Errorf("%d %s: %+v", resp.StatusCode, body, got)
			case name == "deprecated in 1.44" && !strings.Contains(body, "now deprecated"):
				t.Errorf("no warning: %s", body)
			}
		})
	}
}

func recursive(want bool) func(container.CreateRequest) bool {
	return func(r container.CreateRequest) bool { return r.HostConfig.Mounts[0].BindOptions.NonRecursive != want }
}

func hasMAC(r container.CreateRequest) bool {
	e := r.NetworkingConfig.EndpointsConfig["bridge"]
	return e != nil && e.MacAddress.String() == "02:00:00:00:00:01"
}

func FuzzCreateBody(f *testing.F) {
	for _, s := range []string{
		`{"Image":"i"}`, `{"Image":"i","MacAddress":"02:00:00:00:00:01","HostConfig":{"NetworkMode":"default","Mounts":[{"Type":"bind"}]}}`,
		`{"NetworkingConfig":{"EndpointsConfig":{"a":null}},"Env":null}`, `[]`, `null`, `{"HostConfig":{"PortBindings":{"80/tcp":[{}]}}}`,
	} {
		f.Add([]byte(s), 43)
	}
	f.Fuzz(func(t *testing.T, data []byte, v int) {
		var b createBody
		if b.decode(bytes.NewReader(data), version(v)) != nil || b.complete() != nil {
			return
		}
		if _, err := b.adapt(version(v)); err == nil && (b.Config == nil || b.HostConfig == nil || b.NetworkingConfig == nil) {
			t.Errorf("%s: incomplete", data)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v1.50/containers/json", "/containers/a/b/json", "/v9999999999999999999.1/x", "/images//json", "//", "", "/v1./info"} {
		f.Add(s)
	}
	table := newTable(routes())
	f.Fuzz(func(t *testing.T, path string) {
		r := &request{server: New(Options{})}
		rest, err := r.cutVersion(path)
		if err != nil {
			return
		}
		if r.version < minVersion || r.version > maxVersion {
			t.Errorf("%q: version %v", path, r.version)
		}
		if route, vars := table.find("GET", rest); route != nil && strings.Contains(route.path, "{") && vars[0] == "" {
			t.Errorf("%q: %s without its variable", path, route.path)
		}
	})
}

// TestUnplacedPorts: of ports without a place dockerd says from 1.52 on that they will end.
func TestUnplacedPorts(t *testing.T) {
	for v, warns := range map[version]int{51: 0, 52: 1, 56: 1} {
		ports := network.PortMap{network.MustParsePort("80/tcp"): nil, network.MustParsePort("81/tcp"): {{HostPort: "8081"}}}
		warnings := warnUnplaced(ports, v)
		if len(warnings) != warns || warns == 1 && !strings.Contains(warnings[0], "port-bindings: 80/tcp.") {
			t.Errorf("%d: %q", v, warnings)
		}
	}
}
