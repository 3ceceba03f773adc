#include "textflag.h"

// func sumBlocks(b []byte) uint64
//
// Each 64-bit lane is taken apart into its 32-bit halves, which are added in 64 bits: Y0 to Y3 the
// lower ones, Y4 to Y7 the upper ones.
TEXT ·sumBlocks(SB), NOSPLIT, $0-32
	MOVQ  b_base+0(FP), SI
	MOVQ  b_len+8(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7
	VPXOR Y15, Y15, Y15

next:
	VMOVDQU  (SI), Y8
	VMOVDQU  32(SI), Y9
	VMOVDQU  64(SI), Y10
	VMOVDQU  96(SI), Y11
	VPBLENDD $0xaa, Y15, Y8, Y12
	VPSRLQ   $32, Y8, Y8
	VPADDQ   Y12, Y0, Y0
	VPADDQ   Y8, Y4, Y4
	VPBLENDD $0xaa, Y15, Y9, Y13
	VPSRLQ   $32, Y9, Y9
	VPADDQ   Y13, Y1, Y1
	VPADDQ   Y9, Y5, Y5
	VPBLENDD $0xaa, Y15, Y10, Y14
	VPSRLQ   $32, Y10, Y10
	VPADDQ   Y14, Y2, Y2
	VPADDQ   Y10, Y6, Y6
	VPBLENDD $0xaa, Y15, Y11, Y12
	VPSRLQ   $32, Y11, Y11
	VPADDQ   Y12, Y3, Y3
	VPADDQ   Y11, Y7, Y7
	ADDQ     $128, SI
	SUBQ     $128, CX
	JNZ      next

	VPADDQ       Y1, Y0, Y0
	VPADDQ       Y3, Y2, Y2
	VPADDQ       Y5, Y4, Y4
	VPADDQ       Y7, Y6, Y6
	VPADDQ       Y2, Y0, Y0
	VPADDQ       Y6, Y4, Y4
	VPADDQ       Y4, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ       X1, X0, X0
	VPSRLDQ      $8, X0, X1
	VPADDQ       X1, X0, X0
	VMOVQ        X0, AX
	VZEROUPPER
	MOVQ         AX, ret+24(FP)
	RET
