#include "textflag.h"

// func outb(port uint16, b uint8)
TEXT ·outb(SB), NOSPLIT, $0-3
	MOVW port+0(FP), DX
	MOVB b+2(FP), AX
	OUTB
	RET
