package offload

import "golang.org/x/sys/cpu"

// blockSize is what sumBlocks takes at a time, bytes.
const blockSize = 128

// sumBlocks adds the 32-bit words of b, in the machine's order. b has one block at least and nothing
// but whole ones, and less than 16 GiB, so that nothing overflows. It needs AVX2.
//
//go:noescape
func sumBlocks(b []byte) uint64

// sumWide adds as much of b as it can at once, and returns the rest of b. A sum of 32-bit words is, folded, that
// of 64-bit words.
func sumWide(b []byte) (uint64, []byte) {
	if !cpu.X86.HasAVX2 {
		return 0, b
	}
	n := len(b) &^ (blockSize - 1)
	return sumBlocks(b[:n]), b[n:]
}
