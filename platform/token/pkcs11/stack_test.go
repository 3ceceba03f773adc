//go:build linux || darwin

package pkcs11

import (
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// TestStackMoves: what the module writes arrives where the stack has moved since the call began.
func TestStackMoves(t *testing.T) {
	m := &Module{}
	m.fn[fnGetSlotList] = purego.NewCallback(func(_ uintptr, list, n unsafe.Pointer) uintptr {
		deep(1000)
		*(*uintptr)(list), *(*uintptr)(n) = 7, 1
		return okay
	})
	done := make(chan []uintptr)
	go func() { // with a small stack
		list, err := m.slots()
		if err != nil {
			t.Error(err)
		}
		done <- list
	}()
	if list := <-done; len(list) != 1 || list[0] != 7 {
		t.Errorf("slots %v", list)
	}
}

// deep needs a larger stack.
//
//go:noinline
func deep(n int) (sum byte) {
	var frame [256]byte
	frame[n%len(frame)] = byte(n)
	if n > 0 {
		sum = deep(n - 1)
	}
	return sum + frame[n%len(frame)]
}
