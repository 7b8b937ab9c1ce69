package server

import (
	"encoding/json"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestKeepFields(t *testing.T) {
	full := apicontainer.Summary{
		ID: "1", Names: []string{"/a"}, Image: "b", ImageID: "c", ImageManifestDescriptor: &ocispec.Descriptor{}, Command: "d", Created: 5,
		Ports: []apicontainer.PortSummary{{}}, Labels: map[string]string{"e": "f"}, State: "running", Status: "Up", Health: &apicontainer.HealthSummary{},
		NetworkSettings: &apicontainer.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{}}, Mounts: []apicontainer.MountPoint{{}},
	}
	list := []apicontainer.Summary{full}
	b, err := json.Marshal(keepFields(list, []string{"Id", "Names", "Status"}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"Id":"1","Names":["/a"],"Created":5,"Status":"Up"}]`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}
