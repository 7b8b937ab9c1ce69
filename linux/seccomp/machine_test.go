package seccomp

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// call is struct seccomp_data without the instruction pointer.
type call struct {
	nr, arch uint32
	args     [6]uint64
}

// run interprets a filter as the kernel does, with its checks.
func run(t testing.TB, program []byte, c call) uint32 {
	t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, c.nr)
	data = binary.LittleEndian.AppendUint32(data, c.arch)
	data = append(data, make([]byte, 8)...)
	for _, a := range c.args {
		data = binary.LittleEndian.AppendUint64(data, a)
	}
	var acc uint32
	for pc := 0; 8*pc < len(program); pc++ {
		i := program[8*pc:]
		op, jt, jf, k := binary.LittleEndian.Uint16(i), int(i[2]), int(i[3]), binary.LittleEndian.Uint32(i[4:])
		var yes bool
		switch op {
		case opLoad:
			if k%4 != 0 || k+4 > uint32(len(data)) {
				t.Fatalf("instruction %d loads from %d", pc, k)
			}
			acc = binary.LittleEndian.Uint32(data[k:])
			continue
		case opAnd:
			acc &= k
			continue
		case opRet:
			return k
		case opJump:
			pc += int(k)
			continue
		case opJeq:
			yes = acc == k
		case opJge:
			yes = acc >= k
		case opJgt:
			yes = acc > k
		case opJset:
			yes = acc&k != 0
		default:
			t.Fatalf("instruction %d has code %#x", pc, op)
		}
		if yes {
			pc += jt
		} else {
			pc += jf
		}
	}
	t.Fatalf("the filter runs off its end")
	return 0
}

// reading decides by reading the profile from top to bottom, with the library's tables
// and none of the code under test.
type reading struct {
	*specs.LinuxSeccomp
	family specs.Arch
	rules  map[string][]specs.LinuxSyscall // those that name a call, in order
	newest map[limit]int64
	muxes  map[string]mux
}

// limit names a range of numbers that are compared with each other.
type limit struct {
	*arch.Info
	class int
}

func read(p *specs.LinuxSeccomp, family specs.Arch) *reading {
	r := &reading{p, family, map[string][]specs.LinuxSyscall{}, map[limit]int64{}, x86Mux()}
	for _, s := range p.Syscalls {
		for _, n := range s.Names {
			r.rules[n] = append(r.rules[n], s)
			if m, ok := r.muxes[n]; ok && len(s.Args) == 0 {
				arg := []specs.LinuxSeccompArg{{Op: specs.OpEqualTo, Value: m.first}}
				r.rules[m.through] = append(r.rules[m.through], specs.LinuxSyscall{Names: []string{"i386 only"}, Action: s.Action, ErrnoRet: s.ErrnoRet, Args: arg})
			}
			for _, i := range []*arch.Info{arch.X86_64, arch.X32, arch.I386, arch.AARCH64, arch.ARM} {
				for number, name := range i.SyscallNumbers {
					if name == n || n == "sync_file_range2" && name == "arm_sync_file_range" {
						l := limit{i, class(i, uint32(number))}
						r.newest[l] = max(r.newest[l], int64(number)+1)
					}
				}
			}
		}
	}
	return r
}

func class(i *arch.Info, nr uint32) int {
	switch {
	case i == arch.X32 && nr >= x32Own:
		return 1
	case i == arch.ARM && nr >= armPrivate:
		return 2
	}
	return 0
}

func (r *reading) decide(c call) uint32 {
	info := tableOf(r.LinuxSeccomp, r.family, c)
	if info == nil {
		return retKillThread
	}
	nr := c.nr &^ uint32(info.SeccompMask)
	if info == arch.X32 && nr < x32Own {
		info = arch.X86_64 // the same numbers
	}
	if r.tooNew(info, nr) {
		return retErrno | uint32(unix.ENOSYS)
	}
	name := info.SyscallNumbers[int(nr)]
	if name == "arm_sync_file_range" && len(r.rules["sync_file_range2"]) > 0 {
		name = "sync_file_range2"
	}
	otherwise := naiveAction(r.DefaultAction, r.DefaultErrnoRet)
	found, conditional := false, otherwise
	for _, s := range r.rules[name] {
		ret := naiveAction(s.Action, s.ErrnoRet)
		switch {
		case ret == otherwise, s.Names[0] == "i386 only" && info != arch.I386:
		case len(s.Args) == 0:
			return ret
		case !found && naiveMatch(s.Args, c, info != arch.I386 && info != arch.ARM):
			found, conditional = true, ret
		}
	}
	return conditional
}

func (r *reading) tooNew(info *arch.Info, nr uint32) bool {
	if r.DefaultAction == specs.ActAllow || r.DefaultAction == specs.ActLog || r.DefaultAction == specs.ActTrace || nr == ^uint32(0) && info == arch.X86_64 {
		return false
	}
	l := limit{info, class(info, nr)}
	if l.class == 2 && r.newest[l] == 0 {
		return r.newest[limit{info, 0}] > 0
	}
	return r.newest[l] > 0 && int64(nr) >= r.newest[l]
}

func tableOf(p *specs.LinuxSeccomp, family specs.Arch, c call) *arch.Info {
	listed := map[specs.Arch]bool{family: true}
	for _, a := range p.Architectures {
		listed[a] = true
	}
	switch {
	case family == specs.ArchX86_64 && c.arch == uint32(arch.X86_64.ID) && c.nr&x32Bit == 0,
		family == specs.ArchX86_64 && c.arch == uint32(arch.X86_64.ID) && c.nr == ^uint32(0) && !listed[specs.ArchX32]:
		return arch.X86_64
	case family == specs.ArchX86_64 && c.arch == uint32(arch.X86_64.ID) && listed[specs.ArchX32]:
		return arch.X32
	case family == specs.ArchX86_64 && c.arch == uint32(arch.I386.ID) && listed[specs.ArchX86]:
		return arch.I386
	case family == specs.ArchAARCH64 && c.arch == uint32(arch.AARCH64.ID):
		return arch.AARCH64
	case family == specs.ArchAARCH64 && c.arch == uint32(arch.ARM.ID) && listed[specs.ArchARM]:
		return arch.ARM
	}
	return nil
}

func naiveMatch(args []specs.LinuxSeccompArg, c call, wide bool) bool {
	index := map[uint]bool{}
	repeated := false
	for _, a := range args {
		repeated = repeated || index[a.Index]
		index[a.Index] = true
	}
	all, some := true, false
	for _, a := range args {
		x, v, two := c.args[a.Index], a.Value, a.ValueTwo
		if !wide {
			x, v, two = x&0xffffffff, v&0xffffffff, two&0xffffffff
		}
		ok := map[specs.LinuxSeccompOperator]bool{
			specs.OpEqualTo: x == v, specs.OpNotEqual: x != v, specs.OpLessThan: x < v, specs.OpLessEqual: x <= v,
			specs.OpGreaterEqual: x >= v, specs.OpGreaterThan: x > v, specs.OpMaskedEqual: x&v == two&v,
		}[a.Op]
		all, some = all && ok, some || ok
	}
	return all || repeated && some
}

func naiveAction(a specs.LinuxSeccompAction, errno *uint) uint32 {
	e := uint32(1)
	if errno != nil {
		e = uint32(*errno)
	}
	return map[specs.LinuxSeccompAction]uint32{
		specs.ActAllow: 0x7fff0000, specs.ActErrno: 0x50000 + e, specs.ActKill: 0, specs.ActKillThread: 0,
		specs.ActKillProcess: 0x80000000, specs.ActTrap: 0x30000, specs.ActTrace: 0x7ff00000 + e, specs.ActLog: 0x7ffc0000,
	}[a]
}
