//go:build amd64 && !purego

#include "textflag.h"

// 32 bytes of zeros, then 32 of ones: read at offset r it is a mask that keeps
// the last r of 32 bytes.
DATA tailMask<>+0(SB)/8, $0
DATA tailMask<>+8(SB)/8, $0
DATA tailMask<>+16(SB)/8, $0
DATA tailMask<>+24(SB)/8, $0
DATA tailMask<>+32(SB)/8, $-1
DATA tailMask<>+40(SB)/8, $-1
DATA tailMask<>+48(SB)/8, $-1
DATA tailMask<>+56(SB)/8, $-1
GLOBL tailMask<>(SB), RODATA|NOPTR, $64

// func sumAVX2(b *byte, n int) uint64
//
// The 64-bit lanes are read as a high and a low 32-bit half, and both are summed
// with three instructions a vector:
//
//	A += v        wraps, and holds the low sum + 2^32 * the high sum mod 2^64
//	B += v >> 32  the high sum
//
// so that at the end the low sum is A - B<<32. Neither sum of halves can reach 2^64
// below 2^32 vectors. As 2^32 = 1 modulo 2^16-1, the sum of halves is congruent to
// the sum of 16-bit words (RFC 1071 2). Four pairs of accumulators hide the latency.
//
// The tail is read as the last 32 bytes of the buffer, those already summed masked
// out. That keeps 16-bit words in step only for an even length: a last odd byte is
// taken off first and added at the end.
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ  b+0(FP), SI
	MOVQ  n+8(FP), CX
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7
	XORQ  AX, AX
	TESTQ $1, CX
	JZ    even
	DECQ  CX
	MOVBQZX (SI)(CX*1), AX

even:
	MOVQ    CX, DX
	ANDQ    $31, DX
	LEAQ    tailMask<>(SB), R8
	VMOVDQU -32(SI)(CX*1), Y0
	VPAND   (R8)(DX*1), Y0, Y0
	VPSRLQ  $32, Y0, Y4
	SUBQ    DX, CX
	SUBQ    $128, CX
	JB      rest

loop:
	VMOVDQU (SI), Y8
	VMOVDQU 32(SI), Y9
	VMOVDQU 64(SI), Y10
	VMOVDQU 96(SI), Y11
	VPADDQ  Y8, Y0, Y0
	VPADDQ  Y9, Y1, Y1
	VPADDQ  Y10, Y2, Y2
	VPADDQ  Y11, Y3, Y3
	VPSRLQ  $32, Y8, Y8
	VPSRLQ  $32, Y9, Y9
	VPSRLQ  $32, Y10, Y10
	VPSRLQ  $32, Y11, Y11
	VPADDQ  Y8, Y4, Y4
	VPADDQ  Y9, Y5, Y5
	VPADDQ  Y10, Y6, Y6
	VPADDQ  Y11, Y7, Y7
	ADDQ    $128, SI
	SUBQ    $128, CX
	JAE     loop

rest:
	ADDQ $128, CX
	JZ   reduce

vector:
	VMOVDQU (SI), Y8
	VPADDQ  Y8, Y1, Y1
	VPSRLQ  $32, Y8, Y8
	VPADDQ  Y8, Y5, Y5
	ADDQ    $32, SI
	SUBQ    $32, CX
	JNZ     vector

reduce:
	VPADDQ       Y1, Y0, Y0
	VPADDQ       Y3, Y2, Y2
	VPADDQ       Y5, Y4, Y4
	VPADDQ       Y7, Y6, Y6
	VPADDQ       Y2, Y0, Y0
	VPADDQ       Y6, Y4, Y4
	VPSLLQ       $32, Y4, Y5
	VPSUBQ       Y5, Y0, Y0
	VPADDQ       Y4, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ       X1, X0, X0
	VPUNPCKHQDQ  X0, X0, X1
	VPADDQ       X1, X0, X0
	VMOVQ        X0, BX
	ADDQ         BX, AX
	VZEROUPPER
	MOVQ         AX, ret+16(FP)
	RET
