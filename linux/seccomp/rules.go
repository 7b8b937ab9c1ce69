package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Values that a filter returns: SECCOMP_RET_* of seccomp(2).
const (
	retKillThread  = 0x00000000
	retKillProcess = 0x80000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000

	maxErrno = 4095
)

// rules is a profile, checked.
type rules struct {
	otherwise uint32 // what becomes of a call without a rule
	newer     uint32 // what becomes of a call newer than those named
	list      []rule
}

// rule applies to each of names where all conditions hold.
type rule struct {
	names []string
	conds []cond
	ret   uint32
}

// cond compares one argument.
type cond struct {
	arg        uint
	op         specs.LinuxSeccompOperator
	value, two uint64 // for OpMaskedEqual value is the mask
}

func readRules(p *specs.LinuxSeccomp) (rules, error) {
	var r rules
	var err error
	if r.otherwise, err = action(p.DefaultAction, p.DefaultErrnoRet); err != nil {
		return r, fault.New(fault.Invalid, "default action of the seccomp profile: %w", err)
	}
	r.newer = retErrno | uint32(unix.ENOSYS)
	if !strict(p.DefaultAction) {
		r.newer = r.otherwise
	}
	for _, s := range p.Syscalls {
		if err := r.add(s); err != nil {
			return r, fault.New(fault.Invalid, "seccomp rule for %q: %w", s.Names, err)
		}
	}
	return r, nil
}

// strict says whether an action keeps a call from being made. A tracer can emulate
// it, so tracing does not.
func strict(a specs.LinuxSeccompAction) bool {
	return a != specs.ActAllow && a != specs.ActLog && a != specs.ActTrace
}

func (r *rules) add(s specs.LinuxSyscall) error {
	ret, err := action(s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	if len(s.Names) == 0 || slices.Contains(s.Names, "") {
		return fault.New(fault.Invalid, "a system call has no name")
	}
	var conds []cond
	var seen [6]bool
	alternatives := false
	for _, a := range s.Args {
		if a.Index > 5 {
			return fault.New(fault.Invalid, "argument %d of a system call: there are 0 to 5", a.Index)
		}
		if !comparison(a.Op) {
			return fault.New(fault.Invalid, "unknown comparison %q", a.Op)
		}
		alternatives = alternatives || seen[a.Index]
		seen[a.Index] = true
		c := cond{a.Index, a.Op, a.Value, a.ValueTwo}
		if a.Op == specs.OpMaskedEqual {
			c.two &= c.value // a bit that the mask takes away is no reason not to match
		}
		conds = append(conds, c)
	}
	if !alternatives {
		r.list = append(r.list, rule{s.Names, conds, ret})
		return nil
	}
	for _, c := range conds {
		r.list = append(r.list, rule{s.Names, []cond{c}, ret})
	}
	return nil
}

func comparison(op specs.LinuxSeccompOperator) bool {
	switch op {
	case specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual:
		return true
	}
	return false
}

// action translates an action to what the filter returns.
func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errno != nil {
		if a != specs.ActErrno && a != specs.ActTrace {
			return 0, fault.New(fault.Invalid, "%s takes no errno", a)
		}
		if *errno > maxErrno && a == specs.ActErrno || *errno > 0xffff {
			return 0, fault.New(fault.Invalid, "errno %d is out of range", *errno)
		}
		data = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return retKillThread, nil
	case specs.ActKillProcess:
		return retKillProcess, nil
	case specs.ActTrap:
		return retTrap, nil
	case specs.ActErrno:
		return retErrno | data, nil
	case specs.ActTrace:
		return retTrace | data, nil
	case specs.ActLog:
		return retLog, nil
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActNotify:
		return 0, fault.New(fault.Invalid, "%s is not supported: there is no agent to ask", a)
	}
	return 0, fault.New(fault.Invalid, "unknown action %q", a)
}

// unknown lists the names that none of abis has.
func (r *rules) unknown(abis []*abi) []string {
	var u []string
	for _, rule := range r.list {
		for _, name := range rule.names {
			found := false
			for _, b := range abis {
				_, ok := b.number(name)
				_, x32 := b.x32[name]
				found = found || ok || x32
			}
			if !found {
				u = append(u, name)
			}
		}
	}
	slices.Sort(u)
	return slices.Compact(u)
}

// decision says what becomes of one system call: the first of rules that applies,
// else otherwise.
type decision struct {
	rules     []rule // names are not used
	otherwise uint32
	settled   bool // by a rule without conditions
}

// decide gives a decision for each number that has one, and the highest number named.
func (r *rules) decide(b *abi, number func(string) (uint32, bool)) (map[uint32]*decision, []uint32) {
	d := map[uint32]*decision{}
	var named []uint32
	put := func(name string, conds []cond, ret uint32) {
		nr, ok := number(name)
		if !ok {
			return
		}
		named = append(named, nr)
		if ret == r.otherwise {
			return
		}
		if d[nr] == nil {
			d[nr] = &decision{otherwise: r.otherwise}
		}
		switch x := d[nr]; {
		case x.settled:
		case len(conds) == 0:
			*x = decision{otherwise: ret, settled: true}
		default:
			x.rules = append(x.rules, rule{conds: conds, ret: ret})
		}
	}
	for _, rule := range r.list {
		for _, name := range rule.names {
			put(name, rule.conds, rule.ret)
			if m, ok := b.mux[name]; ok && len(rule.conds) == 0 {
				put(m.through, []cond{{0, specs.OpEqualTo, m.first, 0}}, rule.ret)
			}
		}
	}
	return d, named
}
