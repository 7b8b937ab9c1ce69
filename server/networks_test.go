package server

import (
	"encoding/json"
	"strings"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

// TestConnectMAC lets a client ask for a hardware address since version 1.54.
func TestConnectMAC(t *testing.T) {
	socket, _ := serve(t, &backend{})
	const body = `{"Container":"c","EndpointConfig":{"MacAddress":"02:00:00:00:00:01"}}`
	for path, want := range map[string]int{"/v1.53/networks/n/connect": 200, "/v1.54/networks/n/connect": 400} {
		if resp, text := call(t, socket, "POST", path, strings.NewReader(body), "Content-Type", "application/json"); resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, resp.StatusCode, text, want)
		}
	}
	resp, text := call(t, socket, "POST", "/networks/n/disconnect", strings.NewReader(`{"Container":"c","Force":true}`), "Content-Type", "application/json")
	if resp.StatusCode != 409 || !strings.Contains(text, "disconnect c from n, force true") {
		t.Errorf("disconnect: %d %s", resp.StatusCode, text)
	}
}

// TestUpdatePorts changes published ports with an update, which docker cannot.
func TestUpdatePorts(t *testing.T) {
	b := &backend{update: func(*apicontainer.HostConfig) (apicontainer.UpdateResponse, error) {
		return apicontainer.UpdateResponse{}, nil
	}}
	socket, _ := serve(t, b)
	resp, text := call(t, socket, "POST", "/containers/c/update", strings.NewReader(`{"PublishAdd":{"80/tcp":[{"HostPort":"8080"}]},"PublishRm":{"81/tcp":[]}}`), "Content-Type", "application/json")
	if resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	if add := b.published[0][apinetwork.MustParsePort("80/tcp")]; len(add) != 1 || add[0].HostPort != "8080" {
		t.Errorf("added: %v", b.published[0])
	}
	if _, ok := b.published[1][apinetwork.MustParsePort("81/tcp")]; !ok {
		t.Errorf("removed: %v", b.published[1])
	}
}

// TestAliasesOfOld: an old client looks for the short id among the aliases.
func TestAliasesOfOld(t *testing.T) {
	e := &apinetwork.EndpointSettings{Aliases: []string{"a"}}
	c := &apicontainer.InspectResponse{
		ID: strings.Repeat("1", 64), Config: &apicontainer.Config{Hostname: strings.Repeat("1", 12)}, HostConfig: &apicontainer.HostConfig{},
		NetworkSettings: &apicontainer.NetworkSettings{Networks: map[string]*apinetwork.EndpointSettings{"back": e, "bridge": {}}},
	}
	for v, want := range map[version]string{44: `"Aliases":["a","111111111111"]`, 45: `"Aliases":["a"]`, 56: `"Aliases":["a"]`} {
		b, err := json.Marshal(inspectFor(inspected{InspectResponse: c}, v))
		if err != nil || !strings.Contains(string(b), want) || strings.Count(string(b), `"Aliases":[`) != 1 {
			t.Errorf("1.%d: %s, %v, want %s", v, b, err, want)
		}
	}
	if len(e.Aliases) != 1 {
		t.Error("the container itself has changed:", e.Aliases)
	}
}
