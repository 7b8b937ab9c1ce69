package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"hoy/container"
	"hoy/lib/fault"
	"hoy/lib/filters"
)

func TestVersions(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/version", 200, `"ApiVersion":"1.56"`},
		{"/v1.56/version", 200, `"ApiVersion":"1.56"`},
		{"/v1.40/version", 200, `"ApiVersion":"1.56"`},
		{"/v1.57/version", 400, `{"message":"client version 1.57 is too new. Maximum supported API version is 1.56"}`},
		{"/v2.0/version", 400, `client version 2.0 is too new`},
		{"/v1.39/version", 400, `{"message":"client version 1.39 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version"}`},
		{"/v1.23/version", 400, "client version 1.23 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version\n"},
		{"/volumes/v1", 404, `{"message":"get v1: no such volume"}`},
		{"/nope", 404, `{"message":"page not found"}`},
		{"/v1.50/nope", 404, `{"message":"page not found"}`},
		{"/v1.54/images/a/attestations", 404, `{"message":"page not found"}`},
		{"/v1.55/images/a/attestations", 200, `[]`},
	} {
		resp, body := call(t, socket, "GET", c.path, nil)
		if resp.StatusCode != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %s", c.path, resp.StatusCode, body)
		}
	}
}

func TestPing(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for method, want := range map[string]string{"GET": "OK", "HEAD": ""} {
		resp, body := call(t, socket, method, "/_ping", nil)
		if resp.StatusCode != 200 || body != want {
			t.Errorf("%s: %d %q", method, resp.StatusCode, body)
		}
		for name, value := range map[string]string{
			"Api-Version": "1.56", "Ostype": "linux", "Docker-Experimental": "false", "Builder-Version": "2",
			"Server": "hoy/0.1 (linux)", "Swarm": "inactive", "Content-Type": "text/plain; charset=utf-8",
		} {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: header %s is %q", method, name, got)
			}
		}
	}
}

func TestErrorKindsBecomeStatuses(t *testing.T) {
	for kind, status := range map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 400, fault.NotFound: 404, fault.Conflict: 409, fault.NotModified: 304,
		fault.Forbidden: 403, fault.Unauthorized: 401, fault.Unavailable: 503, fault.NotImplemented: 501,
	} {
		b := &backend{start: func(context.Context, string) error { return fmt.Errorf("outer: %w", fault.New(kind, "inner <&>")) }}
		socket, _ := serve(t, b)
		resp, body := call(t, socket, "POST", "/containers/x/start", nil)
		want := `{"message":"outer: inner <&>"}` + "\n"
		if status == 304 {
			want = ""
		}
		if resp.StatusCode != status || body != want {
			t.Errorf("kind %d: %d %q", kind, resp.StatusCode, body)
		}
	}
}

// TestLongMessage: an error that repeats a value of any length is one that can be read.
func TestLongMessage(t *testing.T) {
	value := strings.Repeat("é", 70_000)
	b := &backend{start: func(context.Context, string) error {
		return fault.New(fault.Invalid, "invalid value %s: it is too long", value)
	}}
	socket, _ := serve(t, b)
	resp, body := call(t, socket, "POST", "/containers/x/start", nil)
	var said errorBody
	if err := json.Unmarshal([]byte(body), &said); err != nil || resp.StatusCode != 400 {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	if len(said.Message) > 5000 || !strings.HasPrefix(said.Message, "invalid value éé") || !strings.HasSuffix(said.Message, "é: it is too long") || strings.Contains(said.Message, "\uFFFD") {
		t.Errorf("%d bytes: %.60s", len(said.Message), said.Message)
	}
}

func TestAPanicIsOneRequestsOwn(t *testing.T) {
	socket, _ := serve(t, &backend{start: func(context.Context, string) error { panic("bug") }})
	for range 2 {
		resp, body := call(t, socket, "POST", "/containers/x/start", nil)
		if resp.StatusCode != 500 || !strings.Contains(body, "internal error: bug") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}

// TestTheTableIsWhole holds the table against Docker's list of operations.
func TestTheTableIsWhole(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for line := range strings.Lines(operations) {
		method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if route, _ := newTable(routes()).find(method, strings.NewReplacer("{id}", "x", "{name}", "a/b").Replace(path)); route == nil {
			t.Errorf("%s %s has no route", method, path)
		} else if route.path != path && !(method == "OPTIONS") {
			t.Errorf("%s %s is answered by %s", method, path, route.path)
		}
	}
	for path, want := range map[string]string{
		"GET /swarm":                    "503 {\"message\":\"This node is not a swarm manager.",
		"GET /services":                 "503 {\"message\":\"This node is not a swarm manager.",
		"GET /plugins":                  "200 []",
		"GET /containers/x/checkpoints": "501 {\"message\":\"checkpoints is not built yet\"}",
	} {
		method, path, _ := strings.Cut(path, " ")
		resp, body := call(t, socket, method, path, nil)
		if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, want) {
			t.Errorf("%s %s: %s", method, path, got)
		}
	}
}

func TestNamesWithSlashes(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for _, ref := range []string{"a", "host:5000/a/b:c", "a/json", "a@sha256:0123", "json"} {
		_, body := call(t, socket, "GET", "/v1.50/images/"+ref+"/json", nil)
		if !strings.Contains(body, `"Id":"`+ref+`"`) {
			t.Errorf("%s: %s", ref, body)
		}
	}
}

func TestOptionsReachTheBackend(t *testing.T) {
	var got []any
	b := &backend{
		stop:   func(ref, signal string, timeout *int) error { got = append(got, ref, signal, *timeout); return nil },
		remove: func(ref string, o container.RemoveOptions) error { got = append(got, ref, o); return nil },
		resize: func(rows, cols uint16) error { got = append(got, rows, cols); return nil },
		list: func(o container.ListOptions) ([]apicontainer.Summary, error) {
			got = append(got, o.All, o.Limit, o.Filters.Get("label"))
			return nil, nil
		},
	}
	socket, _ := serve(t, b)
	for _, c := range []struct {
		method, path string
		status       int
		want         []any
	}{
		{"POST", "/v1.50/containers/a/stop?t=3&signal=HUP", 204, []any{"a", "HUP", 3}},
		{"POST", "/v1.41/containers/a/stop?t=3&signal=HUP", 204, []any{"a", "", 3}},
		{"DELETE", "/containers/a?force=1&v=true&link=0", 204, []any{"a", container.RemoveOptions{Force: true, Volumes: true}}},
		{"POST", "/containers/a/resize?h=24&w=80", 200, []any{uint16(24), uint16(80)}},
		{"POST", "/exec/a/resize?h=24&w=80", 200, []any{uint16(24), uint16(80)}},
		{"GET", `/containers/json?all=1&limit=2&filters={"label":{"a=b":true}}`, 200, []any{true, 2, []string{"a=b"}}},
		{"GET", `/containers/json?filters={"label":["x"]}`, 200, []any{false, 0, []string{"x"}}},
	} {
		got = nil
		resp, body := call(t, socket, c.method, c.path, nil)
		if resp.StatusCode != c.status || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s %s: %d %s, %v", c.method, c.path, resp.StatusCode, body, got)
		}
	}
	for _, path := range []string{"/containers/json?filters=x", `/containers/json?filters={"nope":["1"]}`, "/containers/json?limit=x", "/events?since=x", "/events?since=2&until=1"} {
		if resp, body := call(t, socket, "GET", path, nil); resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"/containers/a/resize?h=x&w=1", "/containers/a/stop?t=x", "/containers/a/wait?condition=x"} {
		if resp, body := call(t, socket, "POST", path, nil); resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// TestWaitAnswersTwice gives the head when the waiter is registered, and the
// body at the end.
func TestWaitAnswersTwice(t *testing.T) {
	exit := make(chan apicontainer.WaitResponse, 1)
	socket, _ := serve(t, &backend{wait: func(_ string, c apicontainer.WaitCondition) (<-chan apicontainer.WaitResponse, error) {
		if c != apicontainer.WaitConditionNextExit {
			return nil, errors.New("condition " + string(c))
		}
		return exit, nil
	}})
	// moby's client returns from ContainerWait when it has the head.
	w := docker(t, socket).ContainerWait(t.Context(), "x", client.ContainerWaitOptions{Condition: apicontainer.WaitConditionNextExit})
	exit <- apicontainer.WaitResponse{StatusCode: 7}
	select {
	case r := <-w.Result:
		if r.StatusCode != 7 {
			t.Errorf("got %+v", r)
		}
	case err := <-w.Error:
		t.Error(err)
	}
}

// TestWaitOfOldVersions: before 1.30 there were no conditions, and before 1.34 a removal that
// failed had no answer.
func TestWaitOfOldVersions(t *testing.T) {
	for _, c := range []struct{ path, condition, body string }{
		{"/v1.29/containers/x/wait?condition=removed", "not-running", "{\"Error\":{\"Message\":\"busy\"},\"StatusCode\":7}\n"},
		{"/v1.33/containers/x/wait?condition=removed", "removed", ""},
		{"/v1.34/containers/x/wait?condition=removed", "removed", "{\"Error\":{\"Message\":\"busy\"},\"StatusCode\":7}\n"},
	} {
		var got apicontainer.WaitCondition
		socket, s := serve(t, &backend{wait: func(_ string, c apicontainer.WaitCondition) (<-chan apicontainer.WaitResponse, error) {
			exit := make(chan apicontainer.WaitResponse, 1)
			exit <- apicontainer.WaitResponse{StatusCode: 7, Error: &apicontainer.WaitExitError{Message: "busy"}}
			got = c
			return exit, nil
		}})
		if resp, body := call(t, socket, "POST", c.path, nil); resp.StatusCode != 400 || !strings.Contains(body, "Minimum supported API version is 1.40") {
			t.Errorf("not asked for: %d %s", resp.StatusCode, body)
		}
		s.oldest = minVersion
		if resp, body := call(t, socket, "POST", c.path, nil); resp.StatusCode != 200 || body != c.body || string(got) != c.condition {
			t.Errorf("%s: %d %q, %s", c.path, resp.StatusCode, body, got)
		}
	}
}

func TestEvents(t *testing.T) {
	live := make(chan events.Message, 1)
	message := func(id string) events.Message {
		return events.Message{Type: "container", Action: "start", Actor: events.Actor{ID: id, Attributes: map[string]string{"image": "i"}}}
	}
	b := &backend{events: func(_ context.Context, since, _ time.Time, _ filters.Filters) ([]events.Message, <-chan events.Message, error) {
		if since.Equal(time.Unix(5, 500_000_000)) {
			return []events.Message{message("old")}, nil, nil
		}
		return []events.Message{message("past")}, live, nil
	}}
	socket, _ := serve(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	r := docker(t, socket).Events(ctx, client.EventsListOptions{})
	if m := <-r.Messages; m.Actor.ID != "past" {
		t.Errorf("got %+v", m)
	}
	live <- message("live")
	if m := <-r.Messages; m.Actor.ID != "live" {
		t.Errorf("got %+v", m)
	}
	cancel()
	for _, c := range []struct{ path, accept, media, body string }{
		{"/v1.51", "", "application/json", `{"status":"start","id":"old","from":"i","Type"`},
		{"/v1.52", "", "application/jsonl", `{"Type"`},
		{"/v1.52", "application/json-seq", "application/json-seq", "\x1e{\"Type\""},
		{"/v1.52", "text/html, application/x-ndjson", "application/x-ndjson", `{"Type"`},
		{"/v1.52", "application/json-seq;q=0, */*", "application/jsonl", `{"Type"`},
	} {
		resp, body := call(t, socket, "GET", c.path+"/events?since=5.5&until=6", nil, "Accept", c.accept)
		if got := resp.Header.Get("Content-Type"); got != c.media || !strings.HasPrefix(body, c.body) || !strings.HasSuffix(body, "\n") {
			t.Errorf("%s %q: %s %q", c.path, c.accept, got, body)
		}
	}
}

// TestShutdownEndsStreams but finishes operations. A client sees that its stream was cut off.
func TestShutdownEndsStreams(t *testing.T) {
	started, finish := make(chan bool), make(chan bool)
	b := &backend{
		events: func(context.Context, time.Time, time.Time, filters.Filters) ([]events.Message, <-chan events.Message, error) {
			started <- true
			return nil, make(chan events.Message), nil
		},
		logs: func(ctx context.Context, _ container.LogOptions, w container.LogSink) error {
			w.Begin(true)
			w.Write(1, []byte("line"))
			started <- true
			<-ctx.Done()
			return ctx.Err()
		},
		start: func(context.Context, string) error { started <- true; <-finish; return nil },
	}
	socket, s := serve(t, b)
	stream, operation := make(chan string, 2), make(chan int, 1)
	for _, path := range []string{"/events", "/containers/a/logs?follow=1&stdout=1"} {
		go func() { stream <- cutOff(t, socket, path) }()
	}
	go func() {
		resp, _ := call(t, socket, "POST", "/containers/a/start", nil)
		operation <- resp.StatusCode
	}()
	for range 3 {
		<-started
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if got := []string{<-stream, <-stream}; !slices.Contains(got, "") || !slices.Contains(got, "line") {
		t.Errorf("the streams: %q", got)
	}
	finish <- true
	if status := <-operation; status != http.StatusNoContent {
		t.Errorf("the operation answered %d", status)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// cutOff returns what comes of an answer that does not come to its end.
func cutOff(t *testing.T, socket, path string) string {
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Error(err)
		return err.Error()
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: engine\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Error(err)
		return err.Error()
	}
	text, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%s ends with %v", path, err)
	}
	return string(text)
}

func TestMobysClient(t *testing.T) {
	socket, _ := serve(t, &backend{list: func(container.ListOptions) ([]apicontainer.Summary, error) {
		return []apicontainer.Summary{{ID: "c1", Names: []string{"/n"}}}, nil
	}})
	c := docker(t, socket)
	ping, err := c.Ping(t.Context(), client.PingOptions{})
	if err != nil || ping.APIVersion != "1.56" || ping.OSType != "linux" {
		t.Errorf("ping: %+v, %v", ping, err)
	}
	if v, err := c.ServerVersion(t.Context(), client.ServerVersionOptions{}); err != nil || v.Version != "0.1" {
		t.Errorf("version: %+v, %v", v, err)
	}
	if i, err := c.Info(t.Context(), client.InfoOptions{}); err != nil || i.Info.Name != "here" {
		t.Errorf("info: %+v, %v", i, err)
	}
	list, err := c.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("status", "running")})
	if err != nil || len(list.Items) != 1 || !slices.Equal(list.Items[0].Names, []string{"/n"}) {
		t.Errorf("list: %+v, %v", list, err)
	}
	if l, err := c.ImageList(t.Context(), client.ImageListOptions{}); err != nil || len(l.Items) != 1 {
		t.Errorf("images: %+v, %v", l, err)
	}
	if v, err := c.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: "v"}); err != nil || v.Volume.Name != "v" {
		t.Errorf("volume: %+v, %v", v, err)
	}
	if l, err := c.NetworkList(t.Context(), client.NetworkListOptions{}); err != nil || len(l.Items) != 0 {
		t.Errorf("networks: %+v, %v", l, err)
	}
}

func TestInspectForOldClients(t *testing.T) {
	socket, _ := serve(t, &backend{})
	_, old := call(t, socket, "GET", "/v1.51/containers/c1/json", nil)
	_, now := call(t, socket, "GET", "/v1.52/containers/c1/json", nil)
	if !strings.Contains(old, `"MacAddress":"02:00:00:00:00:01","Gateway":""`) || strings.Contains(now, `"Gateway":"",`+`"IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"Bridge"`) {
		t.Errorf("1.51: %s\n1.52: %s", old, now)
	}
	if !strings.Contains(old, `"Networks":{"bridge"`) {
		t.Errorf("no list of networks: %s", old)
	}
}
