package build

import (
	"errors"
	"path"
	"sync"

	"hoy/linux/cgroup"
)

// parentGroups are the cgroups that steps are in by --cgroup-parent, as far as they were not
// there before: they go with the last step that has used them. Its zero value is ready.
type parentGroups struct {
	mu   sync.Mutex     // held over mkdir and rmdir of cgroups: nobody else waits for it
	used map[string]int // by path; how many steps do
}

// take counts a step that is about to be made below parent, and returns what leave gives
// up: the groups that are made for it or were for others, the lowest first.
func (p *parentGroups) take(host *cgroup.Host, parent string) (ours []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = map[string]int{}
	}
	for at := path.Join("/", parent); at != "/" && (p.used[at] > 0 || !host.Exists(at)); at = path.Dir(at) {
		p.used[at]++
		ours = append(ours, at)
	}
	return ours
}

// leave is take's end, when the step's own group is gone.
func (p *parentGroups) leave(host *cgroup.Host, ours []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var failed []error
	for _, at := range ours {
		if p.used[at]--; p.used[at] == 0 {
			delete(p.used, at)
			failed = append(failed, host.Load(at).RemoveEmpty())
		}
	}
	return errors.Join(failed...)
}
