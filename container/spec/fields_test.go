package spec

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// field is what becomes of one field of a create request: exactly one of the three.
type field struct {
	effective string         // the test that shows it
	rejected  func(*request) // an example that Validate refuses
	warned    func(*request) // an example that yields a warning
}

func by(test string) field           { return field{effective: test} }
func refuse(f func(*request)) field  { return field{rejected: f} }
func discard(f func(*request)) field { return field{warned: f} }
func aMount(m mount.Mount) func(*request) {
	return func(r *request) { m.Target = "/t"; r.h.Mounts = []mount.Mount{m} }
}

const (
	built    = "TestBuildGolden"
	ways     = "TestMounts"
	checked  = "TestValidateErrors"
	carried  = "TestCreateCarriesTheRequest" // reaches the backend; the record keeps and inspect shows it
	defaults = "TestValidateDefaults"
)

// fields says for every field of a create request what becomes of it.
func fields() map[string]field {
	all := map[string]field{}
	for _, part := range []map[string]field{configFields(), hostFields(), resourceFields(), mountFields(), networkFields()} {
		for name, f := range part {
			all[name] = f
		}
	}
	return all
}

func configFields() map[string]field {
	return map[string]field{
		"Config.Hostname": by(built), "Config.Domainname": by(built), "Config.User": by(built),
		"Config.AttachStdin": by(carried), "Config.AttachStdout": by(carried), "Config.AttachStderr": by(carried),
		"Config.ExposedPorts": by(carried), "Config.Tty": by(built), "Config.OpenStdin": by(carried), "Config.StdinOnce": by(carried),
		"Config.Env": by("TestProcessEnv"), "Config.Cmd": by(built), "Config.Entrypoint": by(built), "Config.WorkingDir": by(built),
		"Config.Healthcheck": by("TestNewCheckup"),
		"Config.ArgsEscaped": discard(func(r *request) { r.c.ArgsEscaped = true }),
		"Config.Image":       by(carried), "Config.Volumes": by(ways), "Config.NetworkDisabled": by(defaults),
		"Config.OnBuild": by(carried), "Config.Labels": by(carried), "Config.Shell": by(carried),
		"Config.StopSignal": by(carried), "Config.StopTimeout": by(carried),

		"HealthcheckConfig.Test": by("TestNewCheckup"), "HealthcheckConfig.Interval": by("TestNewCheckup"), "HealthcheckConfig.Timeout": by("TestNewCheckup"),
		"HealthcheckConfig.StartPeriod": by("TestNewCheckup"), "HealthcheckConfig.StartInterval": by("TestNewCheckup"), "HealthcheckConfig.Retries": by("TestNewCheckup"),
	}
}

func hostFields() map[string]field {
	return map[string]field{
		"HostConfig.Binds": by(ways), "HostConfig.ContainerIDFile": by(carried), "HostConfig.LogConfig": by(checked),
		"LogConfig.Type": by(checked), "LogConfig.Config": by(checked),
		"HostConfig.NetworkMode":  by(built),
		"HostConfig.PortBindings": by("TestPortRequests"), "PortBinding.HostIP": by("TestPortRequests"), "PortBinding.HostPort": by("TestPortRequests"),
		"HostConfig.RestartPolicy": by("TestNext"), "RestartPolicy.Name": by("TestNext"), "RestartPolicy.MaximumRetryCount": by("TestNext"),
		"HostConfig.AutoRemove": by(carried), "HostConfig.VolumeDriver": by("TestLocalVolumes"),
		"HostConfig.VolumesFrom": by("TestVolumesFrom"),
		"HostConfig.ConsoleSize": by(built), "HostConfig.Annotations": by(built),
		"HostConfig.CapAdd": by(built), "HostConfig.CapDrop": by(built), "HostConfig.CgroupnsMode": by(built),
		"HostConfig.DNS": by("TestResolvConf"), "HostConfig.DNSOptions": by("TestResolvConf"), "HostConfig.DNSSearch": by("TestResolvConf"), "HostConfig.ExtraHosts": by("TestHosts"),
		"HostConfig.GroupAdd": by(carried), "HostConfig.IpcMode": by(built),
		"HostConfig.Cgroup":      refuse(func(r *request) { r.h.Cgroup = "container:a" }),
		"HostConfig.Links":       by("TestLinkedHosts"),
		"HostConfig.OomScoreAdj": by(built), "HostConfig.PidMode": by(built), "HostConfig.Privileged": by(built),
		"HostConfig.PublishAllPorts": by("TestPortRequests"),
		"HostConfig.ReadonlyRootfs":  by(built), "HostConfig.SecurityOpt": by(built),
		"HostConfig.StorageOpt": by("TestStorageSize"),
		"HostConfig.Tmpfs":      by(ways), "HostConfig.UTSMode": by(built), "HostConfig.UsernsMode": by("TestUsernsHost"),
		"HostConfig.ShmSize": by(built), "HostConfig.Sysctls": by(built), "HostConfig.Runtime": by(checked), "HostConfig.Umask": by(built),
		"HostConfig.Isolation": refuse(func(r *request) { r.h.Isolation = "hyperv" }),
		"HostConfig.Resources": by(built), "HostConfig.Mounts": by(ways),
		"HostConfig.MaskedPaths": by(built), "HostConfig.ReadonlyPaths": by(built), "HostConfig.Init": by("TestUsesInit"),
	}
}

func resourceFields() map[string]field {
	m := map[string]field{
		"DeviceMapping.PathOnHost": by(built), "DeviceMapping.PathInContainer": by(built), "DeviceMapping.CgroupPermissions": by(built),
		"WeightDevice.Path": by(built), "WeightDevice.Weight": by(built), "ThrottleDevice.Path": by(built), "ThrottleDevice.Rate": by(built),
		"Ulimit.Name": by(built), "Ulimit.Hard": by(built), "Ulimit.Soft": by(built),
		"Resources.CPUCount":           discard(func(r *request) { r.h.CPUCount = 1 }),
		"Resources.CPUPercent":         discard(func(r *request) { r.h.CPUPercent = 1 }),
		"Resources.IOMaximumIOps":      refuse(func(r *request) { r.h.IOMaximumIOps = 1 }),
		"Resources.IOMaximumBandwidth": refuse(func(r *request) { r.h.IOMaximumBandwidth = 1 }),
	}
	for _, name := range strings.Fields(`CPUShares Memory NanoCPUs CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps
		BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CPUPeriod CPUQuota CPURealtimePeriod CPURealtimeRuntime
		CpusetCpus CpusetMems Devices DeviceCgroupRules MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits`) {
		m["Resources."+name] = by(built)
	}
	m["Resources.DeviceRequests"] = by("TestCDI")
	for _, name := range []string{"Driver", "Count", "DeviceIDs", "Capabilities", "Options"} {
		m["DeviceRequest."+name] = by("TestDeviceRequests")
	}
	return m
}

func mountFields() map[string]field {
	return map[string]field{
		"Mount.Type": by(ways), "Mount.Source": by(ways), "Mount.Target": by(ways), "Mount.ReadOnly": by(built),
		"Mount.Consistency": refuse(aMount(mount.Mount{Type: "tmpfs", Consistency: "x"})), // a mount here is always consistent
		"Mount.BindOptions": by(ways), "Mount.VolumeOptions": by(ways), "Mount.TmpfsOptions": by(ways),
		"Mount.ImageOptions":      by("TestImageMounts"),
		"Mount.ClusterOptions":    refuse(aMount(mount.Mount{Type: "cluster", ClusterOptions: &mount.ClusterOptions{}})),
		"BindOptions.Propagation": by(built), "BindOptions.NonRecursive": by(built), "BindOptions.CreateMountpoint": by(ways),
		"BindOptions.ReadOnlyNonRecursive": by(built), "BindOptions.ReadOnlyForceRecursive": by("TestBuildRefuses"),
		"VolumeOptions.NoCopy": by(ways), "VolumeOptions.Labels": by("TestLocalVolumes"),
		"VolumeOptions.Subpath":      by("TestVolumeSubpath"),
		"VolumeOptions.DriverConfig": by(ways), "Driver.Name": by(ways),
		"Driver.Options":         by("TestLocalVolumes"),
		"ImageOptions.Subpath":   by("TestImageMounts"),
		"TmpfsOptions.SizeBytes": by(ways), "TmpfsOptions.Mode": by(ways), "TmpfsOptions.Options": by(ways),
	}
}

func networkFields() map[string]field {
	m := map[string]field{
		"NetworkingConfig.EndpointsConfig": by(carried),
	}
	for name, f := range map[string]func(*request){
		"NetworkID": func(r *request) { r.e.NetworkID = "x" }, "EndpointID": func(r *request) { r.e.EndpointID = "x" },
		"Gateway": func(r *request) { r.e.Gateway = addr("10.0.0.1") }, "IPAddress": func(r *request) { r.e.IPAddress = addr("10.0.0.1") },
		"IPPrefixLen": func(r *request) { r.e.IPPrefixLen = 8 }, "IPv6Gateway": func(r *request) { r.e.IPv6Gateway = addr("fd00::1") },
		"GlobalIPv6Address": func(r *request) { r.e.GlobalIPv6Address = addr("fd00::1") }, "GlobalIPv6PrefixLen": func(r *request) { r.e.GlobalIPv6PrefixLen = 64 },
		"DNSNames": func(r *request) { r.e.DNSNames = []string{"a"} },
	} {
		m["EndpointSettings."+name] = discard(f)
	}
	for _, name := range []string{
		"EndpointSettings.MacAddress", "EndpointSettings.IPAMConfig", "EndpointIPAMConfig.IPv4Address", "EndpointIPAMConfig.IPv6Address",
		"EndpointIPAMConfig.LinkLocalIPs", "EndpointSettings.Links", "EndpointSettings.Aliases", "EndpointSettings.DriverOpts", "EndpointSettings.GwPriority",
	} {
		m[name] = by("TestAttachRequest")
	}
	return m
}

// TestEveryFieldIsAccountedFor walks the request's types: no field is silently ignored.
func TestEveryFieldIsAccountedFor(t *testing.T) {
	known, tests, seen := fields(), testFunctions(t), map[string]bool{}
	for _, root := range []any{container.Config{}, container.HostConfig{}, network.NetworkingConfig{}} {
		walk(reflect.TypeOf(root), seen)
	}
	for name := range seen {
		f, ok := known[name]
		if !ok {
			t.Errorf("%s is neither effective, refused nor warned about", name)
			continue
		}
		switch {
		case f.effective != "":
			if !tests[f.effective] {
				t.Errorf("%s: there is no test %s", name, f.effective)
			}
		case f.rejected != nil:
			if _, err := newRequest(f.rejected).validate(); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotImplemented) && !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s is not refused: %v", name, err)
			}
		default:
			if warnings, err := newRequest(f.warned).validate(); err != nil || len(warnings) == 0 {
				t.Errorf("%s is not warned about: %v", name, err)
			}
		}
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("%s is no field of a request", name)
		}
	}
}

// walk collects "Type.Field" of t and of the structs in it, however deep.
func walk(t reflect.Type, seen map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		walk(t.Elem(), seen)
	case reflect.Map:
		walk(t.Key(), seen)
		walk(t.Elem(), seen)
	case reflect.Struct:
		for f := range fieldsOf(t) {
			if name := t.Name() + "." + f.Name; !seen[name] {
				seen[name] = true
				walk(f.Type, seen)
			}
		}
	}
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}

// testFunctions are the names of all tests of the tree.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestUsernsHost keeps a container out of the user namespace others get.
func TestUsernsHost(t *testing.T) {
	in := baseInput()
	in.Host.UserNamespace, in.HostConfig.UsernsMode = true, "host"
	s, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Linux.Namespaces {
		if n.Type == "user" {
			t.Error("got a user namespace")
		}
	}
}

// TestBlockDevicesNeedPaths guards the one limit whose target is a path.
func TestBlockDevicesNeedPaths(t *testing.T) {
	r := newRequest(func(r *request) { r.h.BlkioDeviceReadBps = []*blkiodev.ThrottleDevice{{Path: "sda"}} })
	if _, err := r.validate(); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
