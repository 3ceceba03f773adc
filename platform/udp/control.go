package udp

import (
	"encoding/binary"
	"math/bits"
)

// Control messages as sendmsg(2) and WSASendMsg take them: a length of a machine word that counts the header,
// level and type, then the data; each message begins at a multiple of a word (cmsg(3), WSACMSGHDR of ws2def.h, which
// agree).
const (
	controlWord   = bits.UintSize / 8
	controlHeader = controlWord + 4 + 4
)

func controlSpace(size int) int { return (controlHeader + size + controlWord - 1) &^ (controlWord - 1) }

// appendControl appends one message, whose data is a number of size bytes, 2 or 4.
func appendControl(b []byte, level, kind int32, size int, value uint32) []byte {
	at := len(b)
	b = append(b, make([]byte, controlSpace(size))...)
	m := b[at:]
	putWord(m, uint64(controlHeader+size))
	binary.NativeEndian.PutUint32(m[controlWord:], uint32(level))
	binary.NativeEndian.PutUint32(m[controlWord+4:], uint32(kind))
	if size == 2 {
		binary.NativeEndian.PutUint16(m[controlHeader:], uint16(value))
	} else {
		binary.NativeEndian.PutUint32(m[controlHeader:], value)
	}
	return b
}

// findControl is the number that the first message of a level and type holds, in 2 or 4 bytes; 0 when there is
// none. What is malformed ends the list.
func findControl(b []byte, level, kind int32) uint32 {
	for len(b) >= controlHeader {
		size := word(b)
		if size < controlHeader || size > uint64(len(b)) {
			return 0
		}
		data := b[controlHeader:size]
		if int32(binary.NativeEndian.Uint32(b[controlWord:])) == level && int32(binary.NativeEndian.Uint32(b[controlWord+4:])) == kind {
			switch {
			case len(data) >= 4:
				return binary.NativeEndian.Uint32(data)
			case len(data) >= 2:
				return uint32(binary.NativeEndian.Uint16(data))
			}
			return 0
		}
		b = b[min(controlSpace(len(data)), len(b)):]
	}
	return 0
}

func putWord(b []byte, v uint64) {
	if controlWord == 8 {
		binary.NativeEndian.PutUint64(b, v)
	} else {
		binary.NativeEndian.PutUint32(b, uint32(v))
	}
}

func word(b []byte) uint64 {
	if controlWord == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}
