#include "textflag.h"
#include "table.h"

#define SYS_exit_group     94
#define SYS_rt_sigaction   134
#define SYS_rt_sigprocmask 135

// ARG loads argument register reg from offset off of the call at R20. Bit bit of
// R22 says that it holds the address of an earlier call's result.
#define ARG(off, bit, reg) \
	MOVD off(R20), reg;      \
	TBZ  $bit, R22, 2(PC);   \
	MOVD (reg), reg

// func cloneTable(nr, a0, a1, frame, masks uintptr) int
//
// Neither parent nor child uses the stack after the clone: they may share it.
TEXT ·cloneTable(SB), NOSPLIT|NOFRAME, $0-48
	// Block every signal: no handler of the Go runtime may run in the child, and
	// none in this thread while it shares its stack pointer with the child.
	MOVD masks+32(FP), R1
	ADD  $8, R1, R2
	MOVD $SIG_SETMASK, R0
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC

	MOVD nr+0(FP), R8
	MOVD a0+8(FP), R0
	MOVD a1+16(FP), R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD frame+24(FP), R19
	SVC
	CBZ  R0, child
	MOVD R0, ret+40(FP)

	MOVD masks+32(FP), R1
	ADD  $8, R1
	MOVD $SIG_SETMASK, R0
	MOVD $0, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	RET

child:
	// CLONE_CLEAR_SIGHAND leaves ignored signals ignored, and so would execve.
	MOVD frame_reset(R19), R21
reset:
	CBZ  R21, unblock
	RBIT R21, R0
	CLZ  R0, R0
	ADD  $1, R0
	SUB  $1, R21, R22
	AND  R22, R21
	ADD  $frame_zero, R19, R1
	MOVD $0, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigaction, R8
	SVC
	B    reset

unblock:
	MOVD $SIG_SETMASK, R0
	ADD  $frame_zero, R19, R1
	MOVD $0, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC

	MOVD frame_calls(R19), R20
	MOVD $0, R21
next:
	MOVD frame_count(R19), R23
	CMP  R23, R21
	BHS  done
	MOVD R21, frame_at(R19)
	MOVD call_results(R20), R22
	ARG(call_a0, 0, R0)
	ARG(call_a1, 1, R1)
	ARG(call_a2, 2, R2)
	ARG(call_a3, 3, R3)
	ARG(call_a4, 4, R4)
	ARG(call_a5, 5, R5)
	MOVD call_nr(R20), R8
	SVC
	MOVD R0, call_ret(R20)
	CMN  $4095, R0
	BHS  failed
	MOVD call_flags(R20), R23
	TST  $(flag_fork|flag_birth), R23
	BEQ  advance
	CBZ  R0, born
	ADD  R23<<3, R19, R24
	MOVD R0, frame_made(R24)
	B    done // who was made has run the rest
born:
	AND  $flag_birth, R23
	CBZ  R23, advance
	MOVD call_a5(R20), R19 // an exposed child has a frame of its own
advance:
	ADD $call_size, R20
	ADD $1, R21
	B   next

failed:
	NEG  R0, R0
	CMP  $64, R0
	BHS  fatal
	MOVD call_ignore(R20), R23
	LSR  R0, R23
	TBZ  $0, R23, fatal
	MOVD call_skip(R20), R23
	ADD  R23, R21
	MOVD $call_size, R24
	MUL  R24, R23
	ADD  R23, R20
	B    advance

fatal:
	MOVD R0, frame_errno(R19)
	MOVD R21, frame_failed(R19)
	MOVD $127, R0
	MOVD $SYS_exit_group, R8
	SVC

done:
	MOVD $0, R0
	MOVD $SYS_exit_group, R8
	SVC
	BRK
