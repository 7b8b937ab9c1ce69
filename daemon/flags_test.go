package daemon

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"hoy/network/firewall"
	"hoy/network/ipam"
)

// file writes a configuration file and returns the flag that names it.
func file(t testing.TB, content string) string {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--config-file=" + path
}

func TestParse(t *testing.T) {
	empty := file(t, "")
	for _, tc := range []struct {
		args []string
		is   func(o Options) bool
	}{
		{nil, func(o Options) bool {
			return o.DataRoot == "/var/lib/hoy" && o.ExecRoot == "/run/hoy" && slices.Equal(o.Hosts, []string{"unix:///run/hoy/hoy.sock"}) &&
				o.Bridge == "hoy0" && o.CgroupParent == "/hoy" && o.ShmSize == 64<<20 && o.IPMasq
		}},
		{[]string{"--exec-root", "/x", "--data-root=/y"}, func(o Options) bool {
			return o.Hosts[0] == "unix:///x/hoy.sock" && o.DataRoot == "/y" && strings.HasPrefix(o.CgroupParent, "/hoy-")
		}},
		{[]string{"-H", "unix:///a", "-H", "tcp://127.0.0.1:1", "--docker-socket"}, func(o Options) bool {
			return slices.Equal(o.Hosts, []string{"unix:///a", "tcp://127.0.0.1:1", "unix:///var/run/docker.sock"})
		}},
		{[]string{"--docker-socket"}, func(o Options) bool {
			return slices.Equal(o.Hosts, []string{"unix:///run/hoy/hoy.sock", "unix:///var/run/docker.sock"})
		}},
		{[]string{"--bip", "10.1.0.1/24", "-b", "br1", "--mtu", "1400", "--ip-masq=false"}, func(o Options) bool {
			return o.BIP == netip.MustParsePrefix("10.1.0.1/24") && o.Bridge == "br1" && o.MTU == 1400 && !o.IPMasq
		}},
		{[]string{"--default-address-pool", "base=172.80.0.0/16,size=24"}, func(o Options) bool {
			return slices.Equal(o.Pools, []ipam.Pool{{Base: netip.MustParsePrefix("172.80.0.0/16"), Size: 24}})
		}},
		{[]string{"--tlsverify"}, func(o Options) bool { return o.TLS && o.TLSVerify }},
		{[]string{"--tlsverify=false"}, func(o Options) bool { return o.TLS && !o.TLSVerify && o.Plain }},
		{[]string{"--tls"}, func(o Options) bool { return o.TLS && o.TLSVerify && !o.Plain }},
		{[]string{"--tls=false"}, func(o Options) bool { return !o.TLS && !o.TLSVerify && o.Plain }},
		{[]string{"--min-api-version", "1.44", "--default-stop-timeout=0"}, func(o Options) bool { return o.MinAPI == "1.44" && o.StopTimeout == 0 }},
		{[]string{"--label=a=b", "--label=a=b"}, func(o Options) bool { return slices.Equal(o.Labels, []string{"a=b"}) }},
		{[]string{"--default-ulimit", "nofile=10:20", "--log-opt", "max-size=1m", "--dns", "1.1.1.1", "--label", "a=b", "-D"}, func(o Options) bool {
			return o.Ulimits[0].Hard == 20 && o.LogOpts["max-size"] == "1m" && o.DNS[0] == netip.MustParseAddr("1.1.1.1") && o.Debug
		}},
		{[]string{"--icc=false", "--ipv6", "--fixed-cidr-v6=fd00:1::/64", "--fixed-cidr=172.17.5.0/24", "--default-gateway=172.17.0.9", "--ip=127.0.0.1"}, func(o Options) bool {
			return !o.ICC && o.IPv6 && o.FixedCIDR6 == netip.MustParsePrefix("fd00:1::/64") && o.FixedCIDR == netip.MustParsePrefix("172.17.5.0/24") &&
				o.Gateway == netip.MustParseAddr("172.17.0.9") && o.BindIP == netip.MustParseAddr("127.0.0.1")
		}},
		{[]string{"--ip=0.0.0.0", "--published-ports=open", "--default-network-opt=bridge=a=b=c", "--default-network-opt=bridge=d=e"}, func(o Options) bool {
			return !o.BindIP.IsValid() && o.Unguarded && reflect.DeepEqual(o.NetworkOpts, map[string]map[string]string{"bridge": {"a": "b=c", "d": "e"}})
		}},
		{[]string{"--bridge-accept-fwmark=2/3"}, func(o Options) bool { return o.Admit == firewall.AdmitMark{Value: 2, Mask: 3} }},
		{[]string{"--bridge-accept-fwmark=0x10"}, func(o Options) bool { return o.Admit == firewall.AdmitMark{Value: 16, Mask: 1<<32 - 1} }},
		{[]string{"--userns-remap=default"}, func(o Options) bool { return o.UserMap != nil && o.UserMap.UIDs[0].Size == 65536 }},
	} {
		o, warnings, err := Parse(append(tc.args, empty))
		if err != nil || len(warnings) > 0 || !tc.is(o) {
			t.Errorf("%v: %+v, %v, %v", tc.args, o, warnings, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	empty := file(t, "")
	for args, says := range map[string]string{
		"--nonsense":                                      "unknown flag: --nonsense",
		"argument":                                        "takes no argument",
		"--bip=x":                                         "--bip",
		"--host=ftp://x":                                  "--host ftp://x",
		"--host=unix://relative":                          "--host",
		"--log-level=loud":                                "--log-level",
		"--log-driver=nonsense":                           `plugin "nonsense" not found`,
		"--min-api-version=1.23":                          "minimum supported API version is 1.24",
		"--min-api-version=1.99":                          "maximum supported API version is 1.56",
		"--exec-opt=x":                                    "must be formatted 'opt=value'",
		"--exec-opt=isolation=x":                          "unknown option: 'isolation'",
		"--default-runtime=x":                             "specified default runtime 'x' does not exist",
		"--seccomp-profile=/nonexistent":                  "opening seccomp profile failed",
		"--mtu=-1":                                        "invalid default MTU: -1",
		"--max-concurrent-downloads=-1":                   "invalid max concurrent downloads: -1",
		"--registry-mirror=x":                             "invalid mirror",
		"--insecure-registry=a b":                         "invalid insecure registry",
		"--authorization-plugin=x":                        "there are no plugins",
		"--feature=x=perhaps":                             "not a boolean",
		"--default-ipc-mode=x":                            "--default-ipc-mode",
		"--default-address-pool=base=10.0.0.0/8":          "size",
		"--default-address-pool=base=10.0.0.0/24,size=16": "size",
		"--fixed-cidr=x":                                  "--fixed-cidr",
		"--default-gateway-v6=x":                          "--default-gateway-v6",
		"--default-network-opt=bridge=x":                  "want driver=key=value",
		"--bridge-accept-fwmark=x":                        "want mark[/mask]",
		"--bridge-accept-fwmark=4/3":                      "must have the bits",
		"--published-ports=x":                             "--published-ports",
		"--default-shm-size=x":                            "--default-shm-size",
		"--label=x":                                       "--label",
		"--log-opt=x":                                     "--log-opt",
		"--config-file=/nonexistent":                      "/nonexistent",
	} {
		list := []string{args}
		if !strings.HasPrefix(args, "--config-file") {
			list = append(list, empty)
		}
		if _, _, err := Parse(list); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if _, _, err := Parse([]string{"--label=a=b", "--label=a=c", empty}); err == nil || !strings.Contains(err.Error(), "conflict labels for a=c and a=b") {
		t.Error(err)
	}
	if _, _, err := Parse([]string{"--help"}); !errors.Is(err, pflag.ErrHelp) {
		t.Error(err)
	}
}

func TestConfigFile(t *testing.T) {
	o, warnings, err := Parse([]string{file(t, `{
		"hosts": ["unix:///a"], "debug": true, "mtu": 1400, "log-opts": {"max-size": "2m", "max-file": "5"},
		"default-address-pools": [{"base": "10.9.0.0/16", "size": 24}], "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1000000, "Hard": 1048576}},
		"storage-driver": "overlay2", "runtimes": {"x": {"path": "/x"}}, "dns": ["9.9.9.9"], "features": {"buildkit": true}, "min-api-version": "1.24", "proxies": {"no-proxy": "192.0.2.1"},
		"default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1400"}}
	}`)})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.Hosts, []string{"unix:///a"}) || !o.Debug || o.MTU != 1400 || o.DNS[0].String() != "9.9.9.9" ||
		!reflect.DeepEqual(o.LogOpts, map[string]string{"max-size": "2m", "max-file": "5"}) ||
		o.NetworkOpts["bridge"]["com.docker.network.driver.mtu"] != "1400" ||
		len(o.Pools) != 1 || o.Runtimes["x"].Path != "/x" || o.Pools[0].Size != 24 || o.Ulimits[0].Soft != 1000000 || o.Ulimits[0].Hard != 1048576 {
		t.Errorf("%+v", o)
	}
	if len(warnings) != 0 || o.MinAPI != "1.24" || o.NoProxy != "192.0.2.1" {
		t.Errorf("%q", warnings)
	}
	if _, _, err := Parse([]string{file(t, "\uFEFF{\"debug\": true}\n")}); err != nil {
		t.Errorf("a byte order mark: %v", err)
	}
	for content, says := range map[string]string{
		`{"x": 1, "y": 2}`:              "don't match any configuration option: x, y",
		`{"debug": true, "mtu": 1400}`:  "both as a flag and in the configuration file: mtu: (from flag: 1300, from file: 1400)",
		`{"config-file": "x"}`:          "config-file",
		`{`:                             "unexpected EOF",
		`{} {}`:                         "something follows",
		`[]`:                            "cannot unmarshal",
		`{"debug": "true"}`:             "unexpected value true",
		`{"mtu": "1400"}`:               "mtu",
		`{"log-opts": {"max-file": 3}}`: "unexpected value 3 for max-file",
		`{"hosts": "unix:///x"}`:        "hosts",
		`{"proxies": {"x": "y"}}`:       "don't match any configuration option: x",
		`{"host-gateway-ip": "192.0.2.1", "host-gateway-ips": ["192.0.2.1"]}`: "must not both be specified",
		`{"debug": "perhaps"}`:           "debug",
		`{"log-opts": {"a": {"b": "c"}}`: "unexpected EOF",
		`{"dns": [["x"]]}`:               "dns",
		`{"bip": null}`:                  "bip",
	} {
		if _, _, err := Parse([]string{"--mtu=1300", file(t, content)}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add(`{"hosts":["fd://"],"log-opts":{"a":"b"}}`)
	f.Add(`{"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}`)
	f.Add(`{"default-ulimits":{"nofile":{"Name":null,"Soft":1e99}}}`)
	f.Fuzz(func(t *testing.T, content string) {
		o := DefaultOptions()
		flags := newFlags(&o)
		if _, err := flags.applyFile([]byte(content)); err == nil {
			flags.finish()
		}
	})
}

// TestByTheNameDockerd: dockerd's defaults hold where hoyd's are others, and what is said
// holds by either name.
func TestByTheNameDockerd(t *testing.T) {
	for _, c := range []struct {
		dockerd              bool
		args                 []string
		live, plain, foreign bool
	}{
		{false, nil, true, false, false},
		{false, []string{"--bridge=br9", "--live-restore=false"}, false, false, false},
		{true, nil, false, true, false},
		{true, []string{"--live-restore", "--bridge=br9"}, true, true, true},
		{true, []string{"--bridge=docker0"}, false, true, false},
		{true, []string{"--bridge=none"}, false, true, false},
	} {
		o, _, err := parse(append(c.args, "--config-file=testdata/empty.json"), c.dockerd)
		if err != nil {
			t.Fatal(err)
		}
		if o.LiveRestore != c.live || o.Plain != c.plain || o.foreignBridge() != c.foreign {
			t.Errorf("dockerd %v, %q: %v %v %v", c.dockerd, c.args, o.LiveRestore, o.Plain, o.foreignBridge())
		}
	}
}
