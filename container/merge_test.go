package container

import (
	"reflect"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestMergeCommand(t *testing.T) {
	type pair struct{ entrypoint, cmd []string }
	for _, tc := range []struct {
		what              string
		image, own, merge pair
	}{
		{"the image's", pair{[]string{"e"}, []string{"c"}}, pair{}, pair{[]string{"e"}, []string{"c"}}},
		{"own command", pair{[]string{"e"}, []string{"c"}}, pair{nil, []string{"x"}}, pair{[]string{"e"}, []string{"x"}}},
		{"own entrypoint leaves the image's command out", pair{[]string{"e"}, []string{"c"}}, pair{[]string{"x"}, nil}, pair{[]string{"x"}, nil}},
		{"both", pair{[]string{"e"}, []string{"c"}}, pair{[]string{"x"}, []string{"y"}}, pair{[]string{"x"}, []string{"y"}}},
		{"reset, with command", pair{[]string{"e"}, []string{"c"}}, pair{[]string{""}, []string{"y"}}, pair{nil, []string{"y"}}},
		{"an empty list keeps the image's command", pair{[]string{"e"}, []string{"c"}}, pair{[]string{}, nil}, pair{[]string{}, []string{"c"}}},
	} {
		c := &apicontainer.Config{Entrypoint: tc.own.entrypoint, Cmd: tc.own.cmd}
		img := dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{Entrypoint: tc.image.entrypoint, Cmd: tc.image.cmd}}
		if err := merge(c, img); err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
		if got := (pair{c.Entrypoint, c.Cmd}); !reflect.DeepEqual(got, tc.merge) {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.merge)
		}
	}
	for _, c := range []*apicontainer.Config{{}, {Entrypoint: []string{""}}} {
		if err := merge(c, dockerspec.DockerOCIImageConfig{}); err == nil || err.Error() != "no command specified" {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestMergeTheRest(t *testing.T) {
	port := func(s string) network.Port { return network.MustParsePort(s) }
	c := &apicontainer.Config{
		Cmd: []string{"x"}, Env: []string{"A=own", "B"}, User: "me", Labels: map[string]string{"l": "own"},
		Volumes: map[string]struct{}{"/own": {}}, ExposedPorts: network.PortSet{port("80/tcp"): {}},
		Healthcheck: &apicontainer.HealthConfig{Retries: 7},
	}
	img := dockerspec.DockerOCIImageConfig{
		ImageConfig: ocispec.ImageConfig{
			Env: []string{"A=image", "B=image", "C=image"}, User: "you", WorkingDir: "/w", StopSignal: "SIGQUIT",
			Labels: map[string]string{"l": "image", "m": "image"}, Volumes: map[string]struct{}{"/image": {}},
			ExposedPorts: map[string]struct{}{"53/udp": {}},
		},
		DockerOCIImageConfigExt: dockerspec.DockerOCIImageConfigExt{
			Healthcheck: &dockerspec.HealthcheckConfig{Test: []string{"CMD", "t"}, Retries: 1, Timeout: time.Second},
		},
	}
	if err := merge(c, img); err != nil {
		t.Fatal(err)
	}
	want := &apicontainer.Config{
		Cmd: []string{"x"}, Env: []string{"A=own", "B", "C=image"}, User: "me", WorkingDir: "/w", StopSignal: "SIGQUIT",
		Labels: map[string]string{"l": "own", "m": "image"}, Volumes: map[string]struct{}{"/own": {}, "/image": {}},
		ExposedPorts: network.PortSet{port("80/tcp"): {}, port("53/udp"): {}},
		Healthcheck:  &apicontainer.HealthConfig{Test: []string{"CMD", "t"}, Retries: 7, Timeout: time.Second},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if img.Labels["l"] != "image" || len(img.Volumes) != 1 {
		t.Error("the image's configuration was changed: other containers share it")
	}
}
