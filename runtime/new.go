package runtime

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/caps"
	"hoy/linux/seccomp"
)

// New returns a Runtime. Close releases it.
func New(c Config) (*Runtime, error) {
	r := &Runtime{cgroups: c.Cgroups, initPath: c.InitPath, security: findSecurity()}
	var err error
	if r.null, err = verifiedNull(); err != nil {
		return nil, err
	}
	if r.nullFile, err = os.OpenFile("/dev/null", os.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		r.Close()
		return nil, err
	}
	if err := r.inspect(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// inspect finds out what this process and kernel can do.
func (r *Runtime) inspect() (err error) {
	if r.held, err = caps.Held(); err != nil {
		return err
	}
	if r.lastCap, err = caps.Last(); err != nil {
		return err
	}
	if r.oomScore, err = readOOMScore(); err != nil {
		return err
	}
	_, kcoreErr := os.Lstat("/proc/kcore")
	r.kcore = kcoreErr == nil
	r.groups, err = findHierarchies()
	return err
}

// Close releases the Runtime's descriptors.
func (r *Runtime) Close() {
	r.null.Close()
	if r.nullFile != nil {
		r.nullFile.Close()
	}
}

// filters keeps compiled seccomp profiles, which take milliseconds to make. The key
// is the profile's address: callers keep one profile for all containers that share
// it, and do not change it.
type filters struct {
	mu   sync.Mutex
	keys []*specs.LinuxSeccomp // oldest first
	made []*seccomp.Filter
}

// maxFilters bounds the cache: with capabilities added and dropped, one profile file
// becomes several filters, but few at a time are in use.
const maxFilters = 32

func (f *filters) compile(p *specs.LinuxSeccomp) (*seccomp.Filter, error) {
	f.mu.Lock()
	i := slices.Index(f.keys, p)
	if i >= 0 {
		defer f.mu.Unlock()
		return f.made[i], nil
	}
	f.mu.Unlock()
	made, err := seccomp.Compile(p)
	if err != nil {
		return nil, fmt.Errorf("cannot compile the seccomp profile: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.keys) == maxFilters {
		f.keys, f.made = slices.Delete(f.keys, 0, 1), slices.Delete(f.made, 0, 1)
	}
	f.keys, f.made = append(f.keys, p), append(f.made, &made)
	return &made, nil
}
