package seal

import (
	"bytes"
	"testing"
)

func TestSeal(t *testing.T) {
	s := System()
	for _, plain := range [][]byte{[]byte("a private key"), bytes.Repeat([]byte("x"), 1<<20), {0}} {
		sealed, err := s.Seal(plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) > 1 && bytes.Contains(sealed, plain) {
			t.Error("it can be read")
		}
		if got, err := s.Open(sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		sealed[len(sealed)-1] ^= 1
		if _, err := s.Open(sealed); err == nil {
			t.Error("a changed one opens")
		}
	}
	if _, err := s.Open(nil); err == nil {
		t.Error("nothing opens")
	}
}
