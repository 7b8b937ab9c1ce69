package engine

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestAbsurdValues: what no kernel takes is the client's mistake, of which a line tells, and
// leaves nothing.
func TestAbsurdValues(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	post := func(path string, body any) (status int, said struct{ ID, Message string }) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := e.HTTP().Post("http://engine"+path, "application/json", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		json.NewDecoder(resp.Body).Decode(&said)
		return resp.StatusCode, said
	}
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	type object = map[string]any
	long, deep := "/"+strings.Repeat("x", 300), strings.Repeat("/x", 35_000)
	for name, c := range map[string]object{
		"a directory's name":     {"WorkingDir": long},
		"a directory's path":     {"WorkingDir": deep},
		"a volume's place":       {"Volumes": object{long: object{}}},
		"a deep volume's place":  {"Volumes": object{deep: object{}}},
		"a bind's place":         {"HostConfig": object{"Binds": []string{"/tmp:" + deep}}},
		"a masked path":          {"HostConfig": object{"MaskedPaths": []string{long}}},
		"a read-only path":       {"HostConfig": object{"ReadonlyPaths": []string{deep}}},
		"a cgroup parent":        {"HostConfig": object{"CgroupParent": strings.Repeat("x", 70_000)}},
		"a deep cgroup parent":   {"HostConfig": object{"CgroupParent": deep}},
		"a cgroup parent's line": {"HostConfig": object{"CgroupParent": "a\nb"}},
		"processors":             {"HostConfig": object{"CpusetCpus": ","}},
		"a user":                 {"User": strings.Repeat("u", 70_000)},
	} {
		c["Image"], c["Cmd"] = "busybox", []string{"true"}
		status, said := post("/containers/create", c)
		if status == http.StatusCreated {
			id := said.ID
			status, said = post("/containers/"+id+"/start", object{})
			e.Hoy("rm", "-v", id)
		}
		if status != http.StatusBadRequest || said.Message == "" || len(said.Message) > 5000 {
			t.Errorf("%s: %d, %d bytes: %.200s", name, status, len(said.Message), said.Message)
		}
	}
	for _, set := range []string{"CpusetCpus", "CpusetMems"} {
		if status, said := post("/containers/con/update", object{set: ","}); status != http.StatusBadRequest {
			t.Errorf("update of %s: %d %s", set, status, said.Message)
		}
	}
	e.Hoy("rm", "-f", "con")
	if left := e.Hoy("volume", "ls", "-q"); left != "" {
		t.Errorf("volumes are left: %s", left)
	}
	e.nothingLeft()
}
