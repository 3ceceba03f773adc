package wire

import "encoding/binary"

// Early negotiation: type-length-value records that are the payload of a
// server's HARD_RESET_SERVER_V2 (openvpn's ssl_pkt.h, TLV_TYPE_EARLY_NEG_FLAGS).

const (
	earlyFlags     = 1 // type: two bytes of flags follow
	earlyResendWKC = 1 // flag
)

// Early is what a server says in its reset. Types that we do not know are skipped.
type Early struct {
	// ResendWKC asks the client for its wrapped tls-crypt-v2 key once more, on its
	// first packet after the reset.
	ResendWKC bool
}

// ParseEarly reads the payload of a server's reset; an empty one says nothing.
func ParseEarly(b []byte) (Early, error) {
	var e Early
	for len(b) > 0 {
		if len(b) < 4 {
			return Early{}, ErrMalformed
		}
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; len(b) < n {
			return Early{}, ErrMalformed
		}
		if kind == earlyFlags {
			if n != 2 {
				return Early{}, ErrMalformed
			}
			e.ResendWKC = e.ResendWKC || binary.BigEndian.Uint16(b)&earlyResendWKC != 0
		}
		b = b[n:]
	}
	return e, nil
}

// AppendEarly appends e to b. ParseEarly is its inverse.
func AppendEarly(b []byte, e Early) []byte {
	if e.ResendWKC {
		b = append(b, 0, earlyFlags, 0, 2, 0, earlyResendWKC)
	}
	return b
}
