package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/moby/api/types/jsonstream"

	"hoy/build"
	"hoy/lib/buildlog"
	"hoy/lib/fault"
)

// TestBuildRequest: every parameter of POST /build arrives, or is refused with a reason.
func TestBuildRequest(t *testing.T) {
	var got build.Request
	socket, _ := serve(t, &backend{build: func(_ context.Context, r build.Request) (*build.Result, error) {
		text, _ := io.ReadAll(r.Context)
		got = r
		got.Context = bytes.NewReader(text)
		return &build.Result{}, nil
	}})
	const query = "/build?version=2&buildid=b&session=s&remote=client-session&dockerfile=d&target=t&nocache=1&pull=1" +
		"&extrahosts=a:1.2.3.4&extrahosts=b:host-gateway&networkmode=host&cgroupparent=/c&t=x&t=docker.io/library/x:latest&t=y:1&platform=linux/arm64" +
		"&memory=1&memswap=2&cpushares=3&cpuperiod=4&cpuquota=5&shmsize=6&cpusetcpus=0&cpusetmems=1" +
		`&buildargs={"A":"b","N":null}&labels={"l":"m"}&cachefrom=["i"]&ulimits=[{"Name":"nofile","Soft":1,"Hard":2}]&outputs=[{"Type":"tar","Attrs":{"dest":"-"}}]`
	auth := base64.URLEncoding.EncodeToString([]byte(`{"r":{"username":"u","password":"p"}}`))
	resp, text := call(t, socket, "POST", strings.ReplaceAll(query, `"`, "%22"), strings.NewReader("tar"), "X-Registry-Config", auth)
	if resp.StatusCode != 200 {
		t.Fatal(text)
	}
	context, _ := io.ReadAll(got.Context)
	b := "b"
	for what, ok := range map[string]bool{
		"context": string(context) == "tar", "id": got.ID == "b", "session": got.Session == "s", "remote": got.Remote == "client-session",
		"dockerfile": got.Dockerfile == "d", "target": got.Target == "t", "nocache": got.NoCache, "pull": got.Pull,
		"hosts": len(got.Hosts) == 2, "network": got.Network == "host", "cgroup": got.CgroupParent == "/c",
		"tags":     strings.Join(got.Tags, " ") == "docker.io/library/x:latest docker.io/library/y:1",
		"platform": strings.Join(got.Platforms, " ") == "linux/arm64",
		"limits":   got.Resources.Memory == 1 && got.Resources.MemorySwap == 2 && got.Resources.CPUShares == 3 && got.Resources.CPUPeriod == 4 && got.Resources.CPUQuota == 5,
		"cpusets":  got.Resources.CpusetCpus == "0" && got.Resources.CpusetMems == "1",
		"shm":      got.ShmSize == 6, "args": len(got.Args) == 2 && *got.Args["A"] == b && got.Args["N"] == nil,
		"labels": got.Labels["l"] == "m", "cache": got.CacheFrom[0] == "i", "ulimits": got.Ulimits[0].Hard == 2,
		"outputs": got.Outputs[0].Type == "tar" && got.Outputs[0].Attrs["dest"] == "-", "auth": got.Auth["r"].Password == "p",
	} {
		if !ok {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for query, want := range map[string]string{
		"version=3":                             "invalid version",
		"squash=1":                              "squash is only supported with experimental mode",
		"isolation=hyperv":                      "isolation",
		"securityopt=x":                         "security options are not supported on linux",
		"t=x@sha256:" + strings.Repeat("a", 64): "build tag cannot contain a digest",
		"t=X":                                   "invalid reference format",
		"platform=foobar":                       "unknown operating system or architecture",
		"memory=x":                              "memory",
		"buildargs=x":                           "error reading build args",
		"labels=x":                              "error reading labels",
		"outputs=[{}]":                          "outputs need BuildKit",
		"remote=client-session":                 "use builder version v2",
		"version=2&outputs=[{},{}]":             "multiple outputs not supported",
	} {
		if resp, text := call(t, socket, "POST", "/build?"+query, nil); resp.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, text)
		}
	}
}

// TestKitBuild: the answer's lines are docker's, to the byte.
func TestKitBuild(t *testing.T) {
	socket, _ := serve(t, &backend{build: func(_ context.Context, r build.Request) (*build.Result, error) {
		r.Trace(&control.StatusResponse{Vertexes: []*control.Vertex{{Digest: "d"}}})
		if r.Target == "bad" {
			return nil, errors.New("it <failed>")
		}
		return &build.Result{ImageID: "sha256:1"}, nil
	}})
	const trace = `{"id":"moby.buildkit.trace","aux":"CgMKAWQ="}` + "\r\n"
	for query, want := range map[string]string{
		"":            trace + `{"id":"moby.image.id","aux":{"ID":"sha256:1"}}` + "\r\n",
		"&target=bad": trace + `{"error":"it \u003cfailed\u003e","errorDetail":{"message":"it \u003cfailed\u003e"}}` + "\r\n",
		"&q=1":        `{"stream":"sha256:1\n"}` + "\r\n",
	} {
		resp, text := call(t, socket, "POST", "/build?version=2"+query, nil)
		if text != want || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %q, want %q", query, text, want)
		}
	}
}

// TestClassicBuild: words, ids and errors of the classic builder.
func TestClassicBuild(t *testing.T) {
	socket, _ := serve(t, &backend{classic: func(_ context.Context, r build.Request, c build.Classic) (*build.Result, error) {
		if r.Target == "early" {
			return nil, fault.New(fault.Invalid, "nothing said yet")
		}
		c.Stdout("Step 1/1 : FROM x\n")
		c.Stderr("oh")
		if c.Keep {
			c.Stdout("kept\n")
		}
		c.Progress(jsonstream.Message{Status: "Pulling"})
		if r.Target == "bad" {
			return nil, errors.New("no")
		}
		c.Image("sha256:2")
		return &build.Result{ImageID: "sha256:2"}, nil
	}})
	const words = `{"stream":"Step 1/1 : FROM x\n"}` + "\r\n" + `{"stream":"\u001b[91moh\u001b[0m"}` + "\r\n"
	const pulling = `{"status":"Pulling"}` + "\r\n"
	for query, want := range map[string]string{
		"":                   words + pulling + `{"aux":{"ID":"sha256:2"}}` + "\r\n",
		"rm=0":               words + `{"stream":"kept\n"}` + "\r\n" + pulling + `{"aux":{"ID":"sha256:2"}}` + "\r\n",
		"rm=0&forcerm=1&q=1": `{"stream":"sha256:2\n"}` + "\r\n",
		"q=1&target=bad":     words + pulling + `{"error":"no","errorDetail":{"message":"no"}}` + "\r\n",
		"target=early":       `{"message":"nothing said yet"}` + "\n",
	} {
		if _, text := call(t, socket, "POST", "/build?"+query, nil); text != want {
			t.Errorf("%s: got %q, want %q", query, text, want)
		}
	}
}

// TestBuildAside: what goes on beside a build.
func TestBuildAside(t *testing.T) {
	b := &backend{}
	socket, _ := serve(t, b)
	if call(t, socket, "POST", "/build?version=2&buildid=upload-request:x", strings.NewReader("tar")); b.uploaded != "x: tar" {
		t.Error(b.uploaded)
	}
	if call(t, socket, "POST", "/build/cancel?id=x", nil); b.uploaded != "cancelled x" {
		t.Error(b.uploaded)
	}
	if resp, _ := call(t, socket, "POST", "/build/cancel", nil); resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
	_, text := call(t, socket, "POST", `/build/prune?all=1&keep-storage=1&max-used-space=2&min-free-space=3&filters={"until":["24h"]}`, nil)
	if p := b.pruned; !p.All || p.Reserved != 1 || p.MaxUsed != 2 || p.MinFree != 3 || p.Filters.Get("until")[0] != "24h" || text != `{"CachesDeleted":["a"],"SpaceReclaimed":3}`+"\n" {
		t.Errorf("%+v: %s", p, text)
	}
	if call(t, socket, "POST", "/v1.47/build/prune?reserved-space=5&keep-storage=1&max-used-space=2", nil); b.pruned.Reserved != 1 || b.pruned.MaxUsed != 0 {
		t.Errorf("%+v", b.pruned)
	}
	for path, want := range map[string]string{
		"/build/prune?reserved-space=x":       "reserved-space is in bytes and expects an integer",
		`/build/prune?filters={"nope":["x"]}`: "invalid filter",
	} {
		if resp, text := call(t, socket, "POST", path, nil); resp.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %s", path, text)
		}
	}
}

// TestBuildConnections: a client that asks for h2c has its connection served, with what
// it sent behind the request.
func TestBuildConnections(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for path, want := range map[string]string{"/grpc": "control", "/session": "more"} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: u\r\n\r\nmore")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "h2c" {
			t.Fatal(resp, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != want {
			t.Errorf("%s: %q", path, rest)
		}
		c.Close()
		if resp, _ := call(t, socket, "POST", path, nil); resp.StatusCode != 400 {
			t.Errorf("%s without an upgrade: %s", path, resp.Status)
		}
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	q, _ := http.NewRequest("POST", "http://x/moby.buildkit.v1.Control/Info", nil)
	q.Header.Set("Content-Type", "application/grpc")
	resp, err := transport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTeapot {
		t.Errorf("a call of gRPC: %s", resp.Status)
	}
}

// TestHoyBuild: parts go in, events come out.
func TestHoyBuild(t *testing.T) {
	socket, _ := serve(t, &backend{build: func(_ context.Context, r build.Request) (*build.Result, error) {
		text, _ := io.ReadAll(r.Context)
		other, _ := io.ReadAll(r.Archives["other"])
		r.Trace(&control.StatusResponse{Logs: []*control.VertexLog{{Vertex: "v", Stream: 1, Msg: append(append(text, other...), r.Secrets["id"]...)}}})
		r.Outputs[0].W.Write([]byte("archive"))
		return &build.Result{ImageID: strings.Join(append(append(r.NoCacheOf, r.CacheTo...), r.Contexts["base"]), " ")}, nil
	}})
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	w.WriteField("secrets", `{"id":"c2VjcmV0"}`)
	w.WriteField("context:other", "other")
	w.WriteField("context", "tar")
	w.Close()
	_, text := call(t, socket, "POST", "/hoy/build?nocachefilter=a&nocachefilter=b&cacheto=c&buildcontext=base=docker-image://x&outputs=[{%22Type%22:%22tar%22}]", &body, "Content-Type", w.FormDataContentType())
	var got []buildlog.Event
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var e buildlog.Event
		if d.Decode(&e) != nil {
			break
		}
		got = append(got, e)
	}
	if len(got) != 4 || string(got[0].Log.Data) != "tarothersecret" || string(got[1].Chunk.Data) != "archive" || !got[2].Chunk.Last || got[3].Result.ImageID != "a b c docker-image://x" {
		t.Error(text)
	}
	_, text = call(t, socket, "POST", "/hoy/build?method=lint&remote=x", nil)
	if text != `{"Result":{"Text":"lint"}}`+"\n" {
		t.Error(text)
	}
	if resp, text := call(t, socket, "POST", "/hoy/build?buildcontext=x", nil); resp.StatusCode != 400 || !strings.Contains(text, "want NAME=URL") {
		t.Error(text)
	}
}
