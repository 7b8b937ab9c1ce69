package server

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	apicontainer "github.com/moby/moby/api/types/container"
	apiregistry "github.com/moby/moby/api/types/registry"

	"hoy/build"
	"hoy/lib/fault"
)

// buildRequest reads the parameters that POST /build and POST /hoy/build share.
func (r *request) buildRequest() (b build.Request, err error) {
	b = build.Request{
		ID:           r.value("buildid"),
		Session:      r.value("session"),
		Remote:       r.value("remote"),
		Dockerfile:   r.value("dockerfile"),
		Target:       r.value("target"),
		NoCache:      r.flag("nocache"),
		Pull:         r.flag("pull"),
		Hosts:        r.form()["extrahosts"],
		Network:      r.value("networkmode"),
		CgroupParent: r.value("cgroupparent"),
		Auth:         r.buildCredentials(),
	}
	if len(r.form()["securityopt"]) > 0 {
		return b, fault.New(fault.Invalid, "security options are not supported on linux")
	}
	if i := apicontainer.Isolation(r.value("isolation")); !i.IsValid() {
		return b, fault.New(fault.Invalid, "unsupported isolation: %q", i)
	} else if !i.IsDefault() {
		return b, fault.New(fault.Invalid, "invalid isolation %q: linux has the default one only", i)
	}
	if b.Tags, err = buildTags(r.form()["t"]); err != nil {
		return b, err
	}
	if r.version >= 32 {
		if b.Platforms, err = buildPlatforms(r.form()["platform"]); err != nil {
			return b, err
		}
	}
	if err := r.buildResources(&b); err != nil {
		return b, err
	}
	for _, p := range []struct {
		name, what string
		into       any
	}{
		{"buildargs", "build args", &b.Args},
		{"labels", "labels", &b.Labels},
		{"cachefrom", "cache-from", &b.CacheFrom},
		{"ulimits", "ulimit settings", &b.Ulimits},
		{"outputs", "outputs", &b.Outputs},
	} {
		if text := r.value(p.name); text != "" && (p.name != "outputs" || r.version >= 40) {
			if err := json.Unmarshal([]byte(text), p.into); err != nil {
				return b, fault.New(fault.Invalid, "error reading %s: %w", p.what, err)
			}
		}
	}
	return b, nil
}

// buildResources reads the limits of each step.
func (r *request) buildResources(b *build.Request) error {
	c := &b.Resources
	c.CpusetCpus, c.CpusetMems = r.value("cpusetcpus"), r.value("cpusetmems")
	for name, into := range map[string]*int64{
		"memory": &c.Memory, "memswap": &c.MemorySwap, "cpushares": &c.CPUShares,
		"cpuperiod": &c.CPUPeriod, "cpuquota": &c.CPUQuota, "shmsize": &b.ShmSize,
	} {
		text := r.value(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fault.New(fault.Invalid, "invalid value for %q: %w", name, err)
		}
		*into = n
	}
	return nil
}

// buildTags completes names, each once.
func buildTags(names []string) ([]string, error) {
	var tags []string
	seen := map[string]bool{}
	for _, name := range names {
		if name == "" {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid tag %q: %w", name, err)
		}
		if _, ok := ref.(reference.Digested); ok {
			return nil, fault.New(fault.Invalid, "build tag cannot contain a digest")
		}
		if full := reference.TagNameOnly(ref).String(); !seen[full] {
			seen[full] = true
			tags = append(tags, full)
		}
	}
	return tags, nil
}

// buildPlatforms reads platforms, each alone or with commas.
func buildPlatforms(list []string) ([]string, error) {
	var all []string
	for p := range strings.SplitSeq(strings.Join(list, ","), ",") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if _, err := platforms.Parse(p); err != nil {
			return nil, fault.New(fault.Invalid, "%w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// buildCredentials reads X-Registry-Config: JSON in base64. As with docker's engine what
// cannot be read counts as none: an image may do without.
func (r *request) buildCredentials() map[string]apiregistry.AuthConfig {
	text := strings.TrimRight(r.Header.Get("X-Registry-Config"), "=")
	b, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
	if err != nil {
		return nil
	}
	var auth map[string]apiregistry.AuthConfig
	if json.Unmarshal(b, &auth) != nil {
		return nil
	}
	return auth
}
