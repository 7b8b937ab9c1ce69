package seccomp

import (
	"encoding/binary"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data; arguments are 64-bit words, low half first.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

func lowWord(arg uint) uint32  { return offsetArgs + 8*uint32(arg) }
func highWord(arg uint) uint32 { return lowWord(arg) + 4 }

const (
	opLoad = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opRet  = unix.BPF_RET | unix.BPF_K
	opAnd  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opJump = unix.BPF_JMP | unix.BPF_JA
	opJeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opJge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opJgt  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opJset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
)

// assembler writes a program from its end to its beginning: jumps of BPF go forward
// only, so every target is there when a jump to it is written. Positions are indexes
// of code, which is in reverse.
type assembler struct {
	code []unix.SockFilter
}

func (a *assembler) put(i unix.SockFilter) int {
	a.code = append(a.code, i)
	return len(a.code) - 1
}

// skip is the number of instructions between the next one written and position to.
func (a *assembler) skip(to int) int { return len(a.code) - 1 - to }

// ret returns the position of an instruction that returns v and can be reached from here.
func (a *assembler) ret(v uint32) int {
	for at := len(a.code) - 1; at >= 0 && a.skip(at) < 200; at-- {
		if a.code[at].Code == opRet && a.code[at].K == v {
			return at
		}
	}
	return a.put(unix.SockFilter{Code: opRet, K: v})
}

// near makes a position that a conditional jump can reach: its offsets have 8 bits.
func (a *assembler) near(to int) int {
	if a.skip(to) < 250 {
		return to
	}
	return a.far(to)
}

func (a *assembler) far(to int) int {
	if a.code[to].Code == opRet {
		return a.put(a.code[to])
	}
	return a.put(unix.SockFilter{Code: opJump, K: uint32(a.skip(to))})
}

// jump goes to yes if the comparison holds, else to no.
func (a *assembler) jump(op uint16, k uint32, yes, no int) int {
	if yes == no {
		return yes
	}
	yes, no = a.near(yes), a.near(no)
	return a.put(unix.SockFilter{Code: op, Jt: uint8(a.skip(yes)), Jf: uint8(a.skip(no)), K: k})
}

// before puts an instruction in front of position to.
func (a *assembler) before(op uint16, k uint32, to int) int {
	if to != len(a.code)-1 {
		a.far(to)
	}
	return a.put(unix.SockFilter{Code: op, K: k})
}

// bytes is the program as an array of struct sock_filter.
func (a *assembler) bytes() []byte {
	b := make([]byte, 0, 8*len(a.code))
	for i := len(a.code) - 1; i >= 0; i-- {
		b = binary.NativeEndian.AppendUint16(b, a.code[i].Code)
		b = append(b, a.code[i].Jt, a.code[i].Jf)
		b = binary.NativeEndian.AppendUint32(b, a.code[i].K)
	}
	return b
}

// program writes the whole filter: which ABI, then which number.
func (a *assembler) program(abis []*abi, r rules) {
	next := a.ret(retKillThread)
	for i := len(abis) - 1; i >= 0; i-- {
		next = a.jump(opJeq, abis[i].audit, a.abi(abis[i], &r), next)
	}
	a.before(opLoad, offsetArch, next)
}

func (a *assembler) abi(b *abi, r *rules) int {
	at := a.search(r.numbers(b, b.number))
	switch {
	case b.x32 != nil:
		// Without its bit, an x32 number below 512 is that of x86-64. The kernel
		// ignores the bit in looking up such a call, or does not have it for x32.
		own := a.search(r.numbers(b, func(name string) (uint32, bool) { nr, ok := b.x32[name]; return nr, ok }))
		x32 := a.before(opAnd, ^uint32(x32Bit), a.jump(opJge, x32Own, own, at))
		at = a.jump(opJset, x32Bit, x32, at)
	case b.shared:
		// x32 is not allowed: its calls count as those of a foreign architecture. A
		// tracer skips a call by making its number -1, which is no x32 call.
		foreign := a.jump(opJeq, ^uint32(0), a.ret(r.otherwise), a.ret(retKillThread))
		at = a.jump(opJge, x32Bit, foreign, at)
	}
	return a.before(opLoad, offsetNumber, at)
}

// search finds the number in the accumulator by halving.
func (a *assembler) search(s []span) int {
	if len(s) == 1 {
		return s[0].to.emit(a)
	}
	if len(s) == 3 && s[0].to == s[2].to && s[2].from == s[1].from+1 {
		island := s[1].to.emit(a)
		return a.jump(opJeq, s[1].from, island, s[0].to.emit(a))
	}
	mid := len(s) / 2
	high := a.search(s[mid:])
	low := a.search(s[:mid])
	return a.jump(opJge, s[mid].from, high, low)
}

func (c constant) emit(a *assembler) int { return a.ret(uint32(c)) }

func (l *lookup) emit(a *assembler) int { return a.before(opLoad, l.offset, a.search(l.spans)) }

func (c *chain) emit(a *assembler) int {
	next := a.ret(c.otherwise)
	for i := len(c.rules) - 1; i >= 0; i-- {
		yes := a.ret(c.rules[i].ret)
		for j := len(c.rules[i].conds) - 1; j >= 0; j-- {
			yes = a.cond(c.rules[i].conds[j], c.wide, yes, next)
		}
		next = yes
	}
	return next
}

// cond compares the high and then the low half of an argument.
func (a *assembler) cond(c cond, wide bool, yes, no int) int {
	low, high := lowWord(c.arg), highWord(c.arg)
	var at int
	switch c.op {
	case specs.OpMaskedEqual:
		at = a.masked(low, uint32(c.value), uint32(c.two), yes, no)
		if !wide || c.value>>32 == 0 && c.two>>32 == 0 {
			return at
		}
		return a.masked(high, uint32(c.value>>32), uint32(c.two>>32), at, no)
	case specs.OpNotEqual:
		yes, no = no, yes
		fallthrough
	case specs.OpEqualTo:
		at = a.before(opLoad, low, a.jump(opJeq, uint32(c.value), yes, no))
		if !wide {
			return at
		}
		return a.before(opLoad, high, a.jump(opJeq, uint32(c.value>>32), at, no))
	}
	op := uint16(opJge)
	if c.op == specs.OpGreaterThan || c.op == specs.OpLessEqual {
		op = opJgt
	}
	if c.op == specs.OpLessThan || c.op == specs.OpLessEqual {
		yes, no = no, yes
	}
	at = a.before(opLoad, low, a.jump(op, uint32(c.value), yes, no))
	if !wide {
		return at
	}
	at = a.jump(opJeq, uint32(c.value>>32), at, no)
	return a.before(opLoad, high, a.jump(opJgt, uint32(c.value>>32), yes, at))
}

func (a *assembler) masked(offset, mask, want uint32, yes, no int) int {
	return a.before(opLoad, offset, a.before(opAnd, mask, a.jump(opJeq, want, yes, no)))
}
