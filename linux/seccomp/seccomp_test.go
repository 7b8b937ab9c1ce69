package seccomp

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/linux/caps"
)

// families are the kinds of machine, with every architecture their kernels admit.
var families = map[specs.Arch][]specs.Arch{
	specs.ArchX86_64:  {specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
	specs.ArchAARCH64: {specs.ArchAARCH64, specs.ArchARM},
}

func audits() []uint32 {
	return []uint32{uint32(arch.X86_64.ID), uint32(arch.I386.ID), uint32(arch.AARCH64.ID), uint32(arch.ARM.ID), 0x80000016}
}

// agree compares the compiled filter with the naive reading of p, for every number of
// every architecture and arguments around the values that p compares with.
func agree(t *testing.T, p *specs.LinuxSeccomp, family specs.Arch) Filter {
	t.Helper()
	f, err := compile(p, family)
	if err != nil {
		t.Fatal(err)
	}
	r := read(p, family)
	values := []uint64{0, 1, 1 << 32, ^uint64(0)}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo, a.Value | a.ValueTwo} {
				values = append(values, v-1, v, v+1, v|1<<32, v&0xffffffff, v^0xffffffff<<32)
			}
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	var numbers []uint32
	for n := uint32(0); n < 600; n++ {
		numbers = append(numbers, n, n|x32Bit)
	}
	numbers = append(numbers, armPrivate-1, armPrivate, armPrivate+1, armPrivate+2, armPrivate+5, armPrivate+6, ^uint32(0), x32Bit-1)
	conditional := map[string]bool{}
	for _, s := range p.Syscalls {
		for _, n := range s.Names {
			conditional[n] = conditional[n] || len(s.Args) > 0
		}
	}
	check := func(c call) {
		if got, want := run(t, f.Program, c), r.decide(c); got != want {
			t.Fatalf("%s: arch %#x number %#x arguments %#x: filter returns %#x, the profile says %#x", family, c.arch, c.nr, c.args, got, want)
		}
	}
	for _, audit := range audits() {
		for _, nr := range numbers {
			check(call{nr: nr, arch: audit})
			info := tableOf(p, family, call{nr: nr, arch: audit})
			if info == nil {
				continue
			}
			name := info.SyscallNumbers[int(nr&^uint32(info.SeccompMask))]
			if !conditional[name] && name != "socketcall" && name != "ipc" {
				continue
			}
			for i, v := range values {
				check(call{nr, audit, [6]uint64{v, v, v, v, v, v}})
				w := values[(i*7+3)%len(values)]
				check(call{nr, audit, [6]uint64{v, w, v, w, w, v}})
			}
		}
	}
	return f
}

func TestDefaultProfile(t *testing.T) {
	for family, arches := range families {
		for name, bounding := range map[string][]string{"default": caps.Default(), "none": nil, "with SYS_ADMIN": append(caps.Default(), "CAP_SYS_ADMIN", "CAP_SYS_PTRACE")} {
			t.Run(fmt.Sprint(family, " ", name), func(t *testing.T) {
				p, err := Default(bounding)
				if err != nil {
					t.Fatal(err)
				}
				p.Architectures = arches
				f := agree(t, p, family)
				t.Logf("%d instructions", len(f.Program)/8)
				if len(f.Program) > 8*1200 {
					t.Errorf("%d instructions: the tree has grown into a list", len(f.Program)/8)
				}
			})
		}
	}
}

// TestRandomProfiles compares profiles of every action, comparison and nesting.
func TestRandomProfiles(t *testing.T) {
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActTrap, specs.ActTrace, specs.ActLog, specs.ActKill}
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
	numbers := []uint64{0, 1, 2, 40, 0x7e020000, 0xffffffff, 1 << 32, 1<<32 + 5, ^uint64(0)}
	names := []string{"no_such_call", "breakpoint", "set_tls", "execveat", "ioctl", "socket", "semop", "socketcall", "ipc"}
	for _, n := range arch.X86_64.SyscallNumbers {
		names = append(names, n)
	}
	slices.Sort(names)
	for seed := range int64(60) {
		r := rand.New(rand.NewSource(seed))
		p := &specs.LinuxSeccomp{DefaultAction: actions[r.Intn(len(actions))], DefaultErrnoRet: nil}
		for range r.Intn(40) {
			s := specs.LinuxSyscall{Action: actions[r.Intn(len(actions))]}
			if s.Action == specs.ActErrno && r.Intn(2) == 0 {
				e := uint(r.Intn(5))
				s.ErrnoRet = &e
			}
			for range 1 + r.Intn(12) {
				s.Names = append(s.Names, names[r.Intn(len(names))])
			}
			for range r.Intn(3) * r.Intn(3) {
				s.Args = append(s.Args, specs.LinuxSeccompArg{Index: uint(r.Intn(3)), Op: ops[r.Intn(len(ops))],
					Value: numbers[r.Intn(len(numbers))], ValueTwo: numbers[r.Intn(len(numbers))]})
			}
			p.Syscalls = append(p.Syscalls, s)
		}
		for family, arches := range families {
			p.Architectures = arches[:1+r.Intn(len(arches))]
			agree(t, p, family)
		}
	}
}

// TestMaskedValueBesideItsMask is a rule of which a bit to compare with is not in the mask,
// as profiles have it. libseccomp 2.5.4 takes that bit for nothing.
func TestMaskedValueBesideItsMask(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
		Names: []string{"read"}, Action: specs.ActErrno,
		Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpMaskedEqual, Value: 0xf0, ValueTwo: 0x1f}},
	}}}
	f, err := compile(p, specs.ArchX86_64)
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[uint64]uint32{0x10: retErrno | 1, 0x1f: retErrno | 1, 0x20: retAllow, 0: retAllow} {
		if got := run(t, f.Program, call{nr: 0, arch: uint32(arch.X86_64.ID), args: [6]uint64{arg}}); got != want {
			t.Errorf("read(%#x): %#x, want %#x", arg, got, want)
		}
	}
}

func TestNewSystemCallsFailWithENOSYS(t *testing.T) {
	p, err := Default(caps.Default())
	if err != nil {
		t.Fatal(err)
	}
	f, err := compile(p, specs.ArchX86_64)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, f.Program, call{nr: 500, arch: uint32(arch.X86_64.ID)}); got != retErrno|38 {
		t.Errorf("a call of a newer kernel returns %#x", got)
	}
	if got := run(t, f.Program, call{nr: 169, arch: uint32(arch.X86_64.ID)}); got != retErrno|1 {
		t.Errorf("reboot returns %#x", got)
	}
}

func TestRefused(t *testing.T) {
	errno := uint(5000)
	for want, p := range map[string]specs.LinuxSeccomp{
		"no agent":              {DefaultAction: specs.ActNotify},
		"listener":              {DefaultAction: specs.ActAllow, ListenerPath: "/run/agent"},
		"unknown action":        {DefaultAction: "SCMP_ACT_MAYBE"},
		"out of range":          {DefaultAction: specs.ActErrno, DefaultErrnoRet: &errno},
		"takes no errno":        {DefaultAction: specs.ActAllow, DefaultErrnoRet: &errno},
		"unknown comparison":    {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActKill, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_SIMILAR"}}}}},
		"argument 6":            {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActKill, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}}},
		"no name":               {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Action: specs.ActKill}}},
		"unknown architecture":  {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_PDP11"}},
		"unknown seccomp flag":  {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_FAST"}},
		"needs a listener":      {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}},
		"kernel takes at most ": huge(),
	} {
		_, err := Compile(&p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// huge needs more instructions than the kernel takes.
func huge() specs.LinuxSeccomp {
	p := specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	for i := range 2000 {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActKill, Args: []specs.LinuxSeccompArg{{Op: specs.OpMaskedEqual, Value: uint64(i)}}})
	}
	return p
}

func TestUnknownNames(t *testing.T) {
	f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"zzz", "read", "frobnicate", "zzz"}, Action: specs.ActKill}}})
	if err != nil || !slices.Equal(f.Unknown, []string{"frobnicate", "zzz"}) {
		t.Errorf("unknown names %q, %v", f.Unknown, err)
	}
}

// TestSameEachTime: the floor benchmark and the cache rely on it.
func TestSameEachTime(t *testing.T) {
	p, err := Default(caps.Default())
	if err != nil {
		t.Fatal(err)
	}
	first, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if f, _ := Compile(p); !bytes.Equal(f.Program, first.Program) {
			t.Fatal("two compilations of one profile differ")
		}
	}
}

func TestParse(t *testing.T) {
	p, err := Parse([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
		"syscalls":[{"name":"mkdir","action":"SCMP_ACT_ERRNO","errnoRet":13},
		{"names":["chown"],"action":"SCMP_ACT_ERRNO","excludes":{"caps":["CAP_CHOWN"]}}]}`), []string{"CAP_CHOWN"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Syscalls) != 1 || p.Syscalls[0].Names[0] != "mkdir" || *p.Syscalls[0].ErrnoRet != 13 {
		t.Errorf("read %+v", p.Syscalls)
	}
	for _, bad := range []string{`{`, `{"syscalls":[null]}`, `[]`, `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["a"],"archMap":[{"architecture":"b"}],"syscalls":[]}`} {
		if _, err := Parse([]byte(bad), nil); err == nil {
			t.Errorf("%s is taken for a profile", bad)
		}
	}
	if p, err := Parse([]byte(`{}`), nil); p != nil || err != nil {
		t.Errorf("an empty profile gives %v, %v", p, err)
	}
}

// FuzzParse: no profile crashes the reader or the compiler, and what compiles never
// runs off its end.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],
		"syscalls":[{"names":["read","personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}],"includes":{"minKernel":"4.8"}}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"name":"clone","action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":2114060288,"valueTwo":5,"op":"SCMP_CMP_MASKED_EQ"},{"index":0,"op":"SCMP_CMP_GE","value":18446744073709551615}]}]}`))
	f.Add([]byte(`{"syscalls":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b, []string{"CAP_CHOWN"})
		if err != nil || p == nil {
			return
		}
		for family := range families {
			filter, err := compile(p, family)
			if err != nil {
				continue
			}
			for _, audit := range audits() {
				for nr := uint32(0); nr < 480; nr += 3 {
					run(t, filter.Program, call{nr, audit, [6]uint64{uint64(nr), 8, 1 << 32, 0, 5, ^uint64(0)}})
				}
			}
		}
	})
}
