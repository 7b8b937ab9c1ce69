#include "textflag.h"
#include "table.h"

#define SYS_rt_sigaction   13
#define SYS_rt_sigprocmask 14
#define SYS_exit_group     231

// ARG loads argument register reg from offset off of the call at R13. Bit bit of
// R14 says that it holds the address of an earlier call's result.
#define ARG(off, bit, reg) \
	MOVQ  off(R13), reg; \
	TESTQ $bit, R14;     \
	JZ    2(PC);         \
	MOVQ  (reg), reg

// func cloneTable(nr, a0, a1, frame, masks uintptr) int
//
// Neither parent nor child uses the stack after the clone: they may share it.
TEXT ·cloneTable(SB), NOSPLIT, $0-48
	// Block every signal: no handler of the Go runtime may run in the child, and
	// none in this thread while it shares its stack pointer with the child.
	MOVQ masks+32(FP), SI
	LEAQ 8(SI), DX
	MOVL $SIG_SETMASK, DI
	MOVL $8, R10
	MOVL $SYS_rt_sigprocmask, AX
	SYSCALL

	MOVQ nr+0(FP), AX
	MOVQ a0+8(FP), DI
	MOVQ a1+16(FP), SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVQ frame+24(FP), R12
	SYSCALL
	TESTQ AX, AX
	JZ    child
	MOVQ  AX, ret+40(FP)

	MOVQ masks+32(FP), SI
	ADDQ $8, SI
	MOVL $SIG_SETMASK, DI
	XORL DX, DX
	MOVL $8, R10
	MOVL $SYS_rt_sigprocmask, AX
	SYSCALL
	RET

child:
	// CLONE_CLEAR_SIGHAND leaves ignored signals ignored, and so would execve.
	MOVQ frame_reset(R12), BX
reset:
	TESTQ BX, BX
	JZ    unblock
	BSFQ  BX, DI
	BTRQ  DI, BX
	INCQ  DI
	LEAQ  frame_zero(R12), SI
	XORL  DX, DX
	MOVL  $8, R10
	MOVL  $SYS_rt_sigaction, AX
	SYSCALL
	JMP   reset

unblock:
	MOVL $SIG_SETMASK, DI
	LEAQ frame_zero(R12), SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $SYS_rt_sigprocmask, AX
	SYSCALL

	MOVQ frame_calls(R12), R13
	XORL R15, R15
next:
	CMPQ R15, frame_count(R12)
	JCC  done
	MOVQ R15, frame_at(R12)
	MOVQ call_results(R13), R14
	ARG(call_a0, 1, DI)
	ARG(call_a1, 2, SI)
	ARG(call_a2, 4, DX)
	ARG(call_a3, 8, R10)
	ARG(call_a4, 16, R8)
	ARG(call_a5, 32, R9)
	MOVQ call_nr(R13), AX
	SYSCALL
	MOVQ  AX, call_ret(R13)
	CMPQ  AX, $-4095
	JCC   failed
	MOVQ  call_flags(R13), CX
	TESTQ $(flag_fork|flag_birth), CX
	JZ    advance
	TESTQ AX, AX
	JZ    born
	MOVQ  AX, frame_made(R12)(CX*8)
	JMP   done // who was made has run the rest
born:
	TESTQ $flag_birth, CX
	JZ    advance
	MOVQ  call_a5(R13), R12 // an exposed child has a frame of its own
advance:
	ADDQ $call_size, R13
	INCQ R15
	JMP  next

failed:
	NEGQ  AX
	CMPQ  AX, $64
	JCC   fatal
	MOVQ  call_ignore(R13), BX
	BTQ   AX, BX
	JCC   fatal
	MOVQ  call_skip(R13), CX
	ADDQ  CX, R15
	IMULQ $call_size, CX
	ADDQ  CX, R13
	JMP   advance

fatal:
	MOVQ AX, frame_errno(R12)
	MOVQ R15, frame_failed(R12)
	MOVL $127, DI
	MOVL $SYS_exit_group, AX
	SYSCALL

done:
	XORL DI, DI
	MOVL $SYS_exit_group, AX
	SYSCALL
	INT  $3
