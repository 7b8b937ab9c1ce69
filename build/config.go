package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/buildkit/client"
	bkconfig "github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/util/entitlements"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/lib/filters"
)

// Config is what daemon.json says under "builder", by dockerd's keys. The zero value is
// dockerd's default.
type Config struct {
	GC           GC
	Entitlements struct {
		NetworkHost      *bool `json:"network-host"`      // RUN --network=host may be allowed by a client; default true
		SecurityInsecure *bool `json:"security-insecure"` // RUN --security=insecure may; default false
		Device           *bool `json:"device"`            // RUN --device: not done
	}
	History *struct {
		MaxAge     bkconfig.Duration
		MaxEntries *int64
	}
}

// GC says how much cache is kept. Sizes are as docker reads them: "20GB", "512m".
type GC struct {
	Enabled              *bool
	DefaultReservedSpace string // that is always kept
	DefaultMaxUsedSpace  string
	DefaultMinFreeSpace  string // of the disk
	DefaultKeepStorage   string // dockerd's older name of DefaultReservedSpace
	Policy               []GCRule
}

// GCRule is one step of a policy: they are taken in their order.
type GCRule struct {
	All                                       bool
	Filter                                    gcFilter
	ReservedSpace, MaxUsedSpace, MinFreeSpace string
	KeepStorage                               string // older name of ReservedSpace
}

// gcFilter is a list of key=value, or docker's older form, an object of objects.
type gcFilter map[string][]string

func (f *gcFilter) UnmarshalJSON(b []byte) error {
	*f = gcFilter{}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		var old map[string]map[string]bool
		if err := json.Unmarshal(b, &old); err != nil {
			return err
		}
		for k, values := range old {
			(*f)[k] = slices.Sorted(maps.Keys(values))
		}
		return nil
	}
	for _, l := range list {
		k, v, _ := strings.Cut(l, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		(*f)[k] = append((*f)[k], strings.TrimSpace(v))
	}
	return nil
}

// ParseConfig reads the value of the key builder, and checks it. An unknown key is an
// error; warnings say what has no effect.
func ParseConfig(value any) (c Config, warnings []string, err error) {
	b, err := json.Marshal(value)
	if err != nil {
		return c, nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, nil, fault.New(fault.Invalid, "%w", err)
	}
	if e := c.Entitlements.Device; e != nil && *e {
		warnings = append(warnings, "builder.entitlements.device has no effect: devices are not given to steps of builds")
	}
	_, err = c.policy("/", time.Now())
	return c, warnings, err
}

// entitlements are what clients may allow their builds.
func (c *Config) entitlements() (list []string) {
	if v := c.Entitlements.NetworkHost; v == nil || *v {
		list = append(list, string(entitlements.EntitlementNetworkHost))
	}
	if v := c.Entitlements.SecurityInsecure; v != nil && *v {
		list = append(list, string(entitlements.EntitlementSecurityInsecure))
	}
	return list
}

func (c *Config) history() *bkconfig.HistoryConfig {
	if c.History == nil {
		return nil
	}
	return &bkconfig.HistoryConfig{MaxAge: c.History.MaxAge, MaxEntries: c.History.MaxEntries}
}

// policy is how cache is removed after builds. By default it is dockerd's: what is easily
// made again goes after two days, all else after 60, or when there is more than 80 % of
// the disk's size of it, or less than 20 % of the disk free; 10 % are always kept.
func (c *Config) policy(root string, now time.Time) ([]client.PruneInfo, error) {
	g := &c.GC
	if g.Enabled != nil && !*g.Enabled {
		return nil, nil
	}
	if len(g.Policy) > 0 {
		var list []client.PruneInfo
		for _, r := range g.Policy {
			p, err := r.pruneInfo(now)
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		return list, nil
	}
	limits, err := parseLimits("default", orOld(g.DefaultReservedSpace, g.DefaultKeepStorage), g.DefaultMaxUsedSpace, g.DefaultMinFreeSpace)
	if err != nil {
		return nil, err
	}
	if limits == (budget{}) {
		limits = ofDisk(root)
	}
	return limits.steps(), nil
}

func orOld(now, old string) string {
	if now == "" {
		return old
	}
	return now
}

// budget is how much cache there may be, in bytes; 0: not limited.
type budget struct{ reserved, maxUsed, minFree int64 }

func parseLimits(prefix, reserved, maxUsed, minFree string) (l budget, err error) {
	for _, p := range []struct {
		name, text string
		to         *int64
	}{{"reservedSpace", reserved, &l.reserved}, {"maxUsedSpace", maxUsed, &l.maxUsed}, {"minFreeSpace", minFree, &l.minFree}} {
		if p.text == "" {
			continue
		}
		if *p.to, err = units.RAMInBytes(p.text); err != nil {
			name := p.name
			if prefix != "" {
				name = prefix + strings.ToUpper(name[:1]) + name[1:]
			}
			return l, fault.New(fault.Invalid, "builder.gc: failed to parse %s: %w", name, err)
		}
	}
	return l, nil
}

// ofDisk is dockerd's default for the file system of a directory.
func ofDisk(root string) budget {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return budget{reserved: 2e9}
	}
	part := func(percent int64) int64 {
		return (int64(fs.Blocks)*fs.Bsize*percent/100/(1<<30) + 1) * 1e9
	}
	return budget{part(10), part(80), part(20)}
}

func (l budget) steps() []client.PruneInfo {
	const temporary = 0.138 // of what is always kept: dockerd's
	small := max(int64(math.Round(float64(l.reserved)*temporary)), 512e6)
	all := client.PruneInfo{ReservedSpace: l.reserved, MaxUsedSpace: l.maxUsed, MinFreeSpace: l.minFree}
	old, everything := all, all
	old.KeepDuration = 60 * 24 * time.Hour
	everything.All = true
	return []client.PruneInfo{
		{Filter: []string{"type==source.local", "type==exec.cachemount", "type==source.git.checkout"}, KeepDuration: 48 * time.Hour, MaxUsedSpace: small},
		old, all, everything,
	}
}

func (r *GCRule) pruneInfo(now time.Time) (p client.PruneInfo, err error) {
	l, err := parseLimits("", orOld(r.ReservedSpace, r.KeepStorage), r.MaxUsedSpace, r.MinFreeSpace)
	if err != nil {
		return p, err
	}
	q, err := pruneRequest(PruneOptions{All: r.All, Reserved: l.reserved, MaxUsed: l.maxUsed, MinFree: l.minFree, Filters: filters.Filters(r.Filter)}, now)
	if err != nil {
		return p, fmt.Errorf("builder.gc.policy: %w", err)
	}
	return client.PruneInfo{
		All: q.All, Filter: q.Filter, KeepDuration: time.Duration(q.KeepDuration),
		ReservedSpace: q.ReservedSpace, MaxUsedSpace: q.MaxUsedSpace, MinFreeSpace: q.MinFreeSpace,
	}, nil
}
