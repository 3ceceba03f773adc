package udp

import (
	"encoding/binary"
	"testing"
)

func TestUnicastIF(t *testing.T) {
	var four, six [4]byte
	binary.NativeEndian.PutUint32(four[:], unicastIF(0x01020304, false))
	binary.NativeEndian.PutUint32(six[:], unicastIF(0x01020304, true))
	if four != [4]byte{1, 2, 3, 4} {
		t.Errorf("IPv4: %v, want the order of the network", four)
	}
	if binary.NativeEndian.Uint32(six[:]) != 0x01020304 {
		t.Errorf("IPv6: %v, want the machine's order", six)
	}
}
