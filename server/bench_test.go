package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
)

// The benchmarks leave out the socket: what remains is this package's own part
// of a request.

func BenchmarkPing(b *testing.B) {
	bench(b, func() *http.Request { return httptest.NewRequest("HEAD", "/_ping", nil) })
}

func BenchmarkStartNotFound(b *testing.B) {
	bench(b, func() *http.Request { return httptest.NewRequest("POST", "/v1.56/containers/0123456789ab/start", nil) })
}

func BenchmarkCreate(b *testing.B) {
	body, err := json.Marshal(apicontainer.CreateRequest{Config: &apicontainer.Config{Image: "i", Cmd: []string{"true"}}, HostConfig: &apicontainer.HostConfig{}})
	if err != nil {
		b.Fatal(err)
	}
	bench(b, func() *http.Request {
		r := httptest.NewRequest("POST", "/v1.56/containers/create?name=x", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		return r
	})
}

func bench(b *testing.B, request func() *http.Request) {
	fake := &backend{}
	s := New(Options{Containers: fake, Images: images{fake}, System: engine{fake}})
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), request())
	}
}
