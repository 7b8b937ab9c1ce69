package options

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"hoy/client"
)

// buildOf parses a command line of build, whose words are apart by ~.
func buildOf(t *testing.T, line string) (*Build, client.BuildOptions, []Output, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"HAVE": "ours", "TOKEN": "secret"}
	e := Env{
		Lookup: func(n string) (string, bool) { v, ok := vars[n]; return v, ok },
		Open:   func(n string) (fs.File, error) { return os.Open(filepath.Join(dir, n)) },
	}
	o := new(Build)
	f := pflag.NewFlagSet("build", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.Register(f)
	if err := f.Parse(strings.FieldsFunc(line, func(r rune) bool { return r == '~' })); err != nil {
		return o, client.BuildOptions{}, nil, err
	}
	r, out, err := o.Request(e)
	return o, r, out, err
}

// TestBuildRequest: what the engine is asked for by each option.
func TestBuildRequest(t *testing.T) {
	for line, want := range map[string]string{
		"":                                     ``,
		"-t~a~-t~b:1":                          `"Tags":["a","b:1"]`,
		"--target~x":                           `"Target":"x"`,
		"--build-arg~A=1~--build-arg~HAVE":     `"Args":{"A":"1","HAVE":"ours"}`,
		"--build-arg~LACK":                     `"Args":{"LACK":null}`,
		"--label~a=b~--label~c":                `"Labels":{"a":"b","c":""}`,
		"--platform~linux/amd64,linux/arm64":   `"Platforms":["linux/amd64,linux/arm64"]`,
		"--no-cache":                           `"NoCache":true`,
		"--no-cache-filter~a,b":                `"NoCacheOf":["a","b"]`,
		"--pull":                               `"Pull":true`,
		"--cache-from~web":                     `"CacheFrom":["web"]`,
		"--cache-to~type=inline":               `"CacheTo":["type=inline"]`,
		"--network~none":                       `"Network":"none"`,
		"--network~host":                       `"Allow":["network.host"],"Network":"host"`,
		"--allow~security.insecure":            `"Allow":["security.insecure"]`,
		"--add-host~db:10.0.0.2":               `"Hosts":["db:10.0.0.2"]`,
		"--shm-size~1m":                        `"ShmSize":1048576`,
		"--ulimit~nofile=10:20":                `"Ulimits":[{"Name":"nofile","Hard":20,"Soft":10}]`,
		"--cgroup-parent~/x":                   `"CgroupParent":"/x"`,
		"--secret~id=TOKEN":                    `"Secrets":{"TOKEN":"c2VjcmV0"}`,
		"--secret~id=t,env=TOKEN":              `"Secrets":{"t":"c2VjcmV0"}`,
		"--secret~type=env,id=t,src=TOKEN":     `"Secrets":{"t":"c2VjcmV0"}`,
		"--secret~id=f,src=file":               `"Secrets":{"f":"ZnJvbSBhIGZpbGU="}`,
		"--secret~id=file":                     `"Secrets":{"file":"ZnJvbSBhIGZpbGU="}`,
		"--attest~type=provenance,mode=max":    `"Attest":["type=provenance,mode=max"]`,
		"--provenance~false":                   `"Attest":["type=provenance,disabled=true"]`,
		"--provenance~mode=max":                `"Attest":["type=provenance,mode=max"]`,
		"--sbom~true":                          `"Attest":["type=sbom"]`,
		"--check":                              `"Method":"lint"`,
		"--call~outline,format=json":           `"Method":"outline"`,
		"--rm~--force-rm~--isolation~default":  ``,
		"--builder~default":                    ``,
		"-o~out":                               `"Outputs":[{"Type":"local"}]`,
		"-o~-":                                 `"Outputs":[{"Type":"tar"}]`,
		"-o~type=tar,dest=x.tar":               `"Outputs":[{"Type":"tar"}]`,
		"-o~type=docker":                       `"Outputs":[{"Type":"image"}]`,
		"-o~type=docker,dest=x.tar":            `"Outputs":[{"Type":"docker"}]`,
		"-o~type=oci,dest=x,tar=false":         `"Outputs":[{"Type":"oci"}]`,
		"-o~type=image,name=a,push=true":       `"Outputs":[{"Type":"image","Attrs":{"name":"a","push":"true"}}]`,
		`-o~type=image,"name=a,b"`:             `"Outputs":[{"Type":"image","Attrs":{"name":"a,b"}}]`,
		"--push":                               `"Outputs":[{"Type":"registry"}]`,
		"--push~-o~type=image":                 `"Outputs":[{"Type":"image","Attrs":{"push":"true"}}]`,
		"--load~-o~out":                        `"Outputs":[{"Type":"local"},{"Type":"image"}]`,
		"--annotation~a=b":                     `"Outputs":[{"Type":"image","Attrs":{"annotation.a":"b"}}]`,
		"--annotation~index,manifest:a=b":      `"Outputs":[{"Type":"image","Attrs":{"annotation-index.a":"b","annotation-manifest.a":"b"}}]`,
		"--annotation~manifest[linux/arm]:a=b": `"Outputs":[{"Type":"image","Attrs":{"annotation-manifest[linux/arm].a":"b"}}]`,
	} {
		_, r, _, err := buildOf(t, line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := said(t, r); got != want {
			t.Errorf("%s:\n got %s\nwant %s", line, got, want)
		}
	}
}

// said is what of a request is not as without options.
func said(t *testing.T, r client.BuildOptions) string {
	t.Helper()
	if r.Network == "default" {
		r.Network = ""
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "Resources")
	for k, v := range all {
		switch string(v) {
		case "null", `""`, "0", "false", "{}":
			delete(all, k)
		}
	}
	if b, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(b), "{"), "}")
}

// TestBuildLimits: limits by their own flags and by name are the same.
func TestBuildLimits(t *testing.T) {
	_, one, _, err := buildOf(t, "-m~2g~--memory-swap~-1~-c~5~--cpu-period~6~--cpu-quota~7~--cpuset-cpus~0-1~--cpuset-mems~0")
	if err != nil {
		t.Fatal(err)
	}
	_, other, _, err := buildOf(t, "--resource~memory=2g~--resource~memory-swap=-1~--resource~cpu-shares=5~--resource~cpu-period=6~--resource~cpu-quota=7~--resource~cpuset-cpus=0-1~--resource~cpuset-mems=0")
	if err != nil {
		t.Fatal(err)
	}
	a, b := one.Resources, other.Resources
	if a.Memory != 2<<30 || a.MemorySwap != -1 || a.CPUShares != 5 || a.CPUPeriod != 6 || a.CPUQuota != 7 || a.CpusetCpus != "0-1" || a.CpusetMems != "0" {
		t.Errorf("%+v", a)
	}
	if a.Memory != b.Memory || a.MemorySwap != b.MemorySwap || a.CPUShares != b.CPUShares || a.CPUPeriod != b.CPUPeriod || a.CPUQuota != b.CPUQuota || a.CpusetCpus != b.CpusetCpus || a.CpusetMems != b.CpusetMems {
		t.Errorf("%+v, want %+v", b, a)
	}
}

// TestBuildPlaces: where the archives go that the engine sends.
func TestBuildPlaces(t *testing.T) {
	for line, want := range map[string][2]string{ // file, folder
		"-o~out": {"", "out"}, "-o~-": {"-", ""}, "-o~type=local,dest=a/b": {"", "a/b"}, "-o~type=tar": {"-", ""}, "-o~type=tar,dest=x": {"x", ""},
		"-o~type=oci": {"-", ""}, "-o~type=oci,dest=x,tar=false": {"", "x"}, "-o~type=docker,dest=x": {"x", ""}, "-o~type=image": {"", ""},
	} {
		_, _, out, err := buildOf(t, line)
		if err != nil || len(out) != 1 || out[0].File != want[0] || out[0].Folder != want[1] {
			t.Errorf("%s: %+v, %v", line, out, err)
		}
	}
}

// TestBuildRefused: nothing is accepted and ignored.
func TestBuildRefused(t *testing.T) {
	for line, want := range map[string]string{
		"--ssh~default":                           "give a key or a token by --secret",
		"--squash":                                "gives one layer",
		"--security-opt~seccomp=unconfined":       "RUN --security=insecure",
		"--policy~reset=true":                     "not built yet",
		"--builder~mine":                          "there is one builder",
		"--isolation~hyperv":                      "only the isolation of Linux",
		"--network~web":                           "not supported by builds",
		"--no-cache~--no-cache-filter~a":          "conflicting options",
		"-q~--progress~plain":                     "conflicting options",
		"--progress~loud":                         "is none of",
		"--call~nothing":                          "invalid --call",
		"--call~check,format=xml":                 "invalid --call",
		"--secret~src=x":                          "has no id",
		"--secret~id=a,what=b":                    "unexpected key",
		"--secret~id=a,type=odd":                  "unsupported secret type",
		"--secret~id=nope":                        "cannot read the secret nope",
		"--secret~id=a,env=NOPE":                  "is not set",
		"-o~type=odd":                             "unknown output",
		"-o~type=local":                           "dest is required for local exporter",
		"-o~type=local,dest=x,mode=delete":        "not built yet",
		"-o~type=oci,tar=false":                   "dest is required for oci exporter",
		"-o~type=image,dest=x":                    "has no dest",
		"-o~dest=x,foo=bar":                       "has no type",
		"-o~-~-o~type=oci":                        "cannot both be written",
		"-o~out~--iidfile~x":                      "incompatible with image ID file",
		"--cache-to~type=local,dest=x":            "not built yet",
		"--allow~everything":                      "unknown entitlement",
		"--annotation~novalue":                    "expected key=value",
		"--annotation~odd:a=b":                    "unknown annotation type",
		"--attest~mode=max":                       "has no type",
		"--build-context~x":                       "expected key=value",
		"--resource~disk=1":                       "known are memory",
		"--resource~cpu-quota=much":               "invalid --resource",
		"--build-arg~=x":                          "is no environment variable",
		"--add-host~x":                            "bad format for add-host",
		"--ulimit~x":                              "ulimit",
		"--shm-size~big":                          "is no size",
		"--check~--call~targets":                  "conflicting options",
		"--memory~1q":                             "is no size",
		"--cache-from~ref=x":                      "has no type",
		"--allow~buildx.local.delete":             "not built yet",
		"--call~check,ignorestatus=maybe":         "true or false",
		"-o~type=docker,dest=x,tar=perhaps":       "neither true nor false",
		"--secret~id":                             "must be a key=value pair",
		"-o~type=tar,dest=x~-o~type=oci,dest=x":   "cannot both be written to x",
		"-o~type=local,dest=x~-o~type=tar,dest=x": "cannot both be written to x",
	} {
		_, _, _, err := buildOf(t, line)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func TestBuildDefaultPlatform(t *testing.T) {
	t.Setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
	for line, want := range map[string]string{"": "linux/arm64", "--platform~linux/amd64": "linux/amd64"} {
		if _, r, _, err := buildOf(t, line); err != nil || len(r.Platforms) != 1 || r.Platforms[0] != want {
			t.Errorf("%q: %v, %v", line, r.Platforms, err)
		}
	}
}

func TestBuildCall(t *testing.T) {
	o, _, _, err := buildOf(t, "--call~check,format=json,ignorestatus=1")
	if want := (Call{Method: "lint", JSON: true, IgnoreStatus: true}); err != nil || o.Call != want {
		t.Errorf("%+v, %v", o.Call, err)
	}
}
