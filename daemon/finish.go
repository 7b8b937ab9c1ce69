package daemon

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container/spec"
	"hoy/lib/fault"
	"hoy/lib/version"
	"hoy/linux/seccomp"
	"hoy/signature"
)

// finish turns texts into values and checks what the flags cannot check themselves.
func (f *flags) finish() (warnings []string, err error) {
	for _, step := range []func() ([]string, error){f.finishPlaces, f.finishNetworking, f.finishContainers, f.finishRuntime, f.finishRegistries} {
		more, err := step()
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, more...)
	}
	return warnings, nil
}

func (f *flags) finishPlaces() (_ []string, err error) {
	o := f.o
	if o.MaxLayerSize, err = units.RAMInBytes(f.maxLayer); err != nil || o.MaxLayerSize < 0 {
		return nil, fault.New(fault.Invalid, "--max-layer-size: invalid size: %q", f.maxLayer)
	}
	if o.DiskBudget, err = units.RAMInBytes(f.diskBudget); err != nil || o.DiskBudget < 0 {
		return nil, fault.New(fault.Invalid, "--disk-budget: invalid size: %q", f.diskBudget)
	}
	f.finishTLS()
	if f.dockerSocket {
		o.complete()
		o.Hosts = append(o.Hosts, dockerSocket)
	}
	if _, err := logLevel(o.LogLevel); err != nil {
		return nil, err
	}
	if o.LogFormat != "text" && o.LogFormat != "json" {
		return nil, fault.New(fault.Invalid, "--log-format: %q is neither text nor json", o.LogFormat)
	}
	for _, h := range o.Hosts {
		if _, _, err := o.splitHost(h); err != nil {
			return nil, err
		}
	}
	if o.Labels, err = uniqueLabels(o.Labels); err != nil {
		return nil, err
	}
	return nil, f.finishMinAPI()
}

// finishTLS is dockerd's: TLS verifies clients unless it is told not to, and whoever
// mentions --tlsverify wants TLS.
func (f *flags) finishTLS() {
	o := f.o
	o.Plain = o.dockerd || f.Changed("tls") && !o.TLS || f.Changed("tlsverify") && !f.tlsVerify
	verify := f.Changed("tlsverify")
	if verify || !f.Changed("tls") && os.Getenv("DOCKER_TLS_VERIFY") != "" {
		o.TLS = true
	}
	o.TLSVerify = o.TLS && (!verify || f.tlsVerify)
}

// finishMinAPI takes dockerd's range.
func (f *flags) finishMinAPI() error {
	o := f.o
	if v := os.Getenv("DOCKER_MIN_API_VERSION"); v != "" && !f.Changed("min-api-version") {
		o.MinAPI = v
	}
	minor, err := strconv.Atoi(strings.TrimPrefix(o.MinAPI, "1."))
	newest, _ := strconv.Atoi(strings.TrimPrefix(version.API, "1."))
	switch {
	case err != nil || !strings.HasPrefix(o.MinAPI, "1.") || minor < 24:
		return fault.New(fault.Invalid, "--min-api-version: minimum supported API version is 1.24: %s", o.MinAPI)
	case minor > newest:
		return fault.New(fault.Invalid, "--min-api-version: maximum supported API version is %s: %s", version.API, o.MinAPI)
	}
	return nil
}

func (f *flags) finishContainers() (_ []string, err error) {
	o := f.o
	if o.ShmSize, err = units.RAMInBytes(f.shmSize); err != nil {
		return nil, fault.New(fault.Invalid, "--default-shm-size: %w", err)
	}
	for _, u := range f.ulimits {
		limit, err := units.ParseUlimit(u)
		if err != nil {
			return nil, fault.New(fault.Invalid, "--default-ulimit: %w", err)
		}
		o.Ulimits = append(o.Ulimits, limit)
	}
	if o.StopTimeout < 0 {
		return nil, fault.New(fault.Invalid, "invalid default stop timeout: %d", o.StopTimeout)
	}
	if err := oneOf("default-cgroupns-mode", o.CgroupnsMode, "private", "host"); err != nil {
		return nil, err
	}
	if err := oneOf("default-ipc-mode", o.IpcMode, "private", "shareable"); err != nil {
		return nil, err
	}
	if o.LogOpts, err = pairs("--log-opt", f.logOpts); err != nil {
		return nil, err
	}
	warnings, err := spec.ValidateLog(apicontainer.LogConfig{Type: o.LogDriver, Config: o.LogOpts})
	if err != nil {
		return nil, fault.New(fault.Invalid, "--log-driver, --log-opt: %w", err)
	}
	if f.userns != "" {
		if o.UserMap, err = subordinateIDs(f.userns); err != nil {
			return nil, err
		}
	}
	return warnings, f.finishSeccomp()
}

// finishSeccomp reads the profile, so that a bad one ends the start and not each
// container's.
func (f *flags) finishSeccomp() error {
	o := f.o
	if o.SeccompProfile == "" {
		o.SeccompProfile = "builtin"
	}
	switch o.SeccompProfile {
	case "builtin":
		return nil
	case "unconfined":
		o.seccomp = o.SeccompProfile
		return nil
	}
	b, err := os.ReadFile(o.SeccompProfile)
	if err != nil {
		return fault.New(fault.Invalid, "opening seccomp profile failed: %w", err)
	}
	if _, err := seccomp.Parse(b, nil); err != nil {
		return fault.New(fault.Invalid, "--seccomp-profile %s: %w", o.SeccompProfile, err)
	}
	o.seccomp = string(b)
	return nil
}

// finishRuntime checks what asks for another runtime, or for another way of running.
func (f *flags) finishRuntime() (warnings []string, err error) {
	if err := f.finishRuntimes(); err != nil {
		return nil, err
	}
	for _, opt := range f.execOpts {
		k, v, ok := strings.Cut(opt, "=")
		k, v = strings.ToLower(strings.TrimSpace(k)), strings.TrimSpace(v)
		switch {
		case !ok || k == "" || v == "":
			return nil, fault.New(fault.Invalid, "invalid exec-opt (%s): must be formatted 'opt=value'", opt)
		case k != "native.cgroupdriver":
			return nil, fault.New(fault.Invalid, "invalid exec-opt (%s): unknown option: '%s'", opt, k)
		case v == "systemd":
			warnings = append(warnings, "--exec-opt "+opt+" has no effect: groups are made in the group that systemd has delegated to the engine, without asking it for each")
		case v != "cgroupfs":
			return nil, fault.New(fault.Invalid, "invalid exec-opt (%s): want cgroupfs or systemd", opt)
		}
	}
	more, err := f.finishFeatures()
	return append(warnings, more...), err
}

// finishFeatures reads name and name=bool. Those that hold anyhow and those that can
// be chosen say nothing.
func (f *flags) finishFeatures() (warnings []string, err error) {
	f.o.Features = map[string]bool{}
	for _, text := range f.features {
		name, value, ok := strings.Cut(text, "=")
		on := true
		if ok {
			if on, err = strconv.ParseBool(value); err != nil {
				return nil, fault.New(fault.Invalid, "--feature %s: %q is not a boolean value", name, value)
			}
		}
		f.o.Features[name] = on
		holds := name == "cdi" || on && (name == "containerd-snapshotter" || name == "buildkit")
		if !holds {
			warnings = append(warnings, fmt.Sprintf("--feature %s=%v has no effect: this engine does not know the choice", name, on))
		}
	}
	return warnings, nil
}

func (f *flags) finishRegistries() ([]string, error) {
	o := f.o
	for _, n := range []struct {
		what  string
		value int
	}{
		{"max concurrent downloads", o.MaxConcurrentDownloads},
		{"max concurrent uploads", o.MaxConcurrentUploads},
		{"max download attempts", o.MaxDownloadAttempts},
	} {
		if n.value < 0 {
			return nil, fault.New(fault.Invalid, "invalid %s: %d", n.what, n.value)
		}
	}
	if o.SignaturePolicy != "" {
		p, err := signature.Load(o.SignaturePolicy)
		if err != nil {
			return nil, err
		}
		o.signatures = p
	}
	_, err := o.registries(nil)
	return nil, err
}
