package runtime

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/spawn"
)

// rlimit is a resource limit of the process.
type rlimit struct {
	name      string
	resource  int
	soft, max uint64
	raised    bool // above this process's own: only the host's root can set it
}

var rlimitNumbers = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

// softFiles is the usual soft limit of open files. Go programs raise their own to the
// hard one at start, which a container shall not inherit: old programs close every
// possible descriptor, and select(2) cannot count higher.
const softFiles = 1024

// newRlimits reads the spec's limits. Where this process may not raise a hard limit,
// the highest that it can give is taken.
func (r *Runtime) newRlimits(list []specs.POSIXRlimit) ([]rlimit, error) {
	var out []rlimit
	files := false
	for _, l := range list {
		n, ok := rlimitNumbers[l.Type]
		if !ok {
			return nil, fault.New(fault.Invalid, "unknown resource limit %q", l.Type)
		}
		if l.Soft > l.Hard {
			return nil, fault.New(fault.Invalid, "the soft limit of %s, %d, is above the hard one, %d", l.Type, l.Soft, l.Hard)
		}
		files = files || n == unix.RLIMIT_NOFILE
		limit, err := r.clampRlimit(rlimit{name: l.Type, resource: n, soft: l.Soft, max: l.Hard})
		if err != nil {
			return nil, err
		}
		out = append(out, limit)
	}
	if files {
		return out, nil
	}
	var own unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &own); err != nil {
		return nil, fmt.Errorf("cannot read the limit of open files: prlimit64: %w", err)
	}
	return append(out, rlimit{name: "RLIMIT_NOFILE", resource: unix.RLIMIT_NOFILE, soft: min(softFiles, own.Max), max: own.Max}), nil
}

func (r *Runtime) clampRlimit(l rlimit) (rlimit, error) {
	var own unix.Rlimit
	if err := unix.Prlimit(0, l.resource, nil, &own); err != nil {
		return l, fmt.Errorf("cannot read the limit %s: prlimit64: %w", l.name, err)
	}
	if r.held.Has("CAP_SYS_RESOURCE") {
		l.raised = l.max > own.Max
		return l, nil
	}
	l.max = min(l.max, own.Max)
	l.soft = min(l.soft, l.max)
	return l, nil
}

// clampOOMScore returns the score to set: this process's own where the spec has none,
// or one that is lower without the capability to lower it. It is set in every case: the
// child would inherit its parent's, the keeper's, which may be lower.
func (r *Runtime) clampOOMScore(score *int) int {
	if score == nil || *score < r.oomScore && !r.held.Has("CAP_SYS_RESOURCE") {
		return r.oomScore
	}
	return *score
}

func readOOMScore() (int, error) {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, fmt.Errorf("cannot read own OOM score: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// limits sets the resource limits and the OOM score. Only the host's root may raise
// them, so this comes before a user namespace is joined. The limit of open files must
// not yet keep the child from opening what the rest of the script needs: limitFiles.
func (p *process) limits(s *spawn.Script) {
	for _, l := range p.rlimits {
		if l.resource != unix.RLIMIT_NOFILE {
			l.set(s)
		} else if l.raised {
			rlimit{name: l.name, resource: l.resource, soft: l.max, max: l.max}.set(s)
		}
	}
	value := strconv.Itoa(p.oomScore)
	f := s.Call("open", "OOM score", unix.SYS_OPENAT, atCWD, s.Str("/proc/self/oom_score_adj"), spawn.Int(unix.O_WRONLY|unix.O_CLOEXEC)).Result()
	s.Call("set", "OOM score", unix.SYS_WRITE, f, s.Str(value), spawn.Int(len(value)))
	s.Call("close", "OOM score", unix.SYS_CLOSE, f)
}

// limitFiles sets the limit of open files, when the child has opened what it needs.
func (p *process) limitFiles(s *spawn.Script) {
	for _, l := range p.rlimits {
		if l.resource == unix.RLIMIT_NOFILE {
			l.set(s)
		}
	}
}

func (l rlimit) set(s *spawn.Script) {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, [2]uint64{l.soft, l.max})
	s.Call("set limit", l.name, unix.SYS_PRLIMIT64, spawn.Int(0), spawn.Int(l.resource), s.Bytes(b.Bytes()), spawn.Int(0))
}
