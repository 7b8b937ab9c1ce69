package seccomp

import (
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

const (
	// x32Bit marks a system call of the x32 ABI, which shares AUDIT_ARCH_X86_64.
	x32Bit = 0x40000000
	// x32Own is the first number that only x32 has. Below it x32 has x86-64's numbers.
	x32Own = 512
	// armPrivate is the first of ARM's private calls (__ARM_NR_BASE), far above the others.
	armPrivate = 0xf0000
)

// abi is one way to make system calls, seen by its own numbers.
type abi struct {
	audit   uint32            // seccomp_data.arch
	numbers map[string]uint32 // by name
	wide    bool              // arguments have 64 bits
	shared  bool              // x32 calls come as of this architecture
	x32     map[string]uint32 // numbers from x32Own on, nil unless x32 is allowed
	mux     map[string]mux    // calls that can also be made through another
}

// mux is a call made through another call whose first argument is first.
type mux struct {
	through string
	first   uint64
}

// number looks a name up, adding what is newer than the library's table: from 424 on
// all architectures have the same numbers.
func (b *abi) number(name string) (uint32, bool) {
	if nr, ok := b.numbers[name]; ok {
		return nr, true
	}
	switch name {
	case "file_getattr":
		return unix.SYS_FILE_GETATTR, true
	case "file_setattr":
		return unix.SYS_FILE_SETATTR, true
	case "listns":
		return unix.SYS_LISTNS, true
	case "rseq_slice_yield":
		return unix.SYS_RSEQ_SLICE_YIELD, true
	case "sync_file_range2": // the name libseccomp and newer headers have for it
		nr, ok := b.numbers["arm_sync_file_range"]
		return nr, ok
	}
	return 0, false
}

// abisOf returns the ABIs to admit, the native one first. Those of other families of
// processors are left out: no system call can come from them.
func abisOf(listed []specs.Arch, native specs.Arch) ([]*abi, error) {
	for _, a := range listed {
		if !known(a) {
			return nil, fault.New(fault.Invalid, "unknown architecture %q in the seccomp profile", a)
		}
	}
	has := func(a specs.Arch) bool { return slices.Contains(listed, a) }
	var abis []*abi
	switch native {
	case specs.ArchX86_64:
		x64 := newABI(arch.X86_64, true)
		x64.shared = true
		if has(specs.ArchX32) {
			x64.x32 = map[string]uint32{}
			for nr, name := range arch.X32.SyscallNumbers {
				if nr >= x32Own {
					x64.x32[name] = uint32(nr)
				}
			}
		}
		abis = append(abis, x64)
		if has(specs.ArchX86) {
			i386 := newABI(arch.I386, false)
			i386.mux = x86Mux()
			abis = append(abis, i386)
		}
	case specs.ArchAARCH64:
		abis = append(abis, newABI(arch.AARCH64, true))
		if has(specs.ArchARM) {
			abis = append(abis, newABI(arch.ARM, false))
		}
	}
	return abis, nil
}

func newABI(i *arch.Info, wide bool) *abi {
	b := &abi{audit: uint32(i.ID), numbers: make(map[string]uint32, len(i.SyscallNames)), wide: wide}
	for name, nr := range i.SyscallNames {
		b.numbers[name] = uint32(nr)
	}
	return b
}

func known(a specs.Arch) bool {
	switch a {
	case specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64,
		specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32,
		specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X,
		specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB:
		return true
	}
	return false
}

// x86Mux lists the calls behind socketcall (linux/net.h) and ipc (linux/ipc.h).
func x86Mux() map[string]mux {
	m := map[string]mux{}
	for i, name := range []string{"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername",
		"socketpair", "send", "recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg",
		"recvmsg", "accept4", "recvmmsg", "sendmmsg"} {
		m[name] = mux{"socketcall", uint64(i + 1)}
	}
	for name, n := range map[string]uint64{"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11,
		"msgrcv": 12, "msgget": 13, "msgctl": 14, "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24} {
		m[name] = mux{"ipc", n}
	}
	return m
}
