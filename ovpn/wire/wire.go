// Package wire reads and writes OpenVPN packets: opcodes, control packets with
// their acknowledgements, and the header of data packets. Pure functions on
// bytes; nothing is kept. Sources: the openvpn-rfc draft, "Control channel wire
// packet structure"; openvpn's ssl_pkt.h.
package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// Opcode is the upper five bits of a packet's first byte.
type Opcode uint8

// Opcodes of ssl_pkt.h. 1 and 2 (key method 1) are refused.
const (
	SoftResetV1       Opcode = 3
	ControlV1         Opcode = 4
	AckV1             Opcode = 5
	DataV1            Opcode = 6
	HardResetClientV2 Opcode = 7
	HardResetServerV2 Opcode = 8
	DataV2            Opcode = 9
	HardResetClientV3 Opcode = 10
	ControlWKCV1      Opcode = 11
)

// SessionID names one side of a session; the zero value means none.
type SessionID [8]byte

func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// MaxAcks is the most acknowledgements that one packet may carry.
const MaxAcks = 8

// Header is the first byte: opcode and key id (0-7).
func Header(op Opcode, keyID uint8) byte { return byte(op)<<3 | keyID&7 }

// SplitHeader is the inverse of Header.
func SplitHeader(b byte) (Opcode, uint8) { return Opcode(b >> 3), b & 7 }

// IsData says whether b begins a data packet.
func IsData(b byte) bool { return Opcode(b>>3) == DataV1 || Opcode(b>>3) == DataV2 }

// NoPeerID in a DATA_V2 header means that the peer has no id.
const NoPeerID = 0xFFFFFF

// PeerID reads the 24-bit peer id of a DATA_V2 packet of at least 4 bytes.
func PeerID(b []byte) uint32 { return binary.BigEndian.Uint32(b) & 0xFFFFFF }

// Control is one control packet in plain form (after unwrapping).
type Control struct {
	Op      Opcode
	KeyID   uint8
	Session SessionID // the sender's
	Acks    []uint32  // message ids acknowledged; at most MaxAcks
	Peer    SessionID // the receiver's, present only with Acks
	ID      uint32    // message id; absent in ACK_V1
	Payload []byte    // absent in ACK_V1
}

// ErrMalformed is returned for every packet that cannot be read.
var ErrMalformed = errors.New("malformed control packet")

// ParseControl reads the plain form. Acks and Payload of the result: Acks is
// new, Payload points into b.
func ParseControl(b []byte) (Control, error) {
	var c Control
	if len(b) < 10 {
		return c, ErrMalformed
	}
	c.Op, c.KeyID = SplitHeader(b[0])
	switch c.Op {
	case SoftResetV1, ControlV1, AckV1, HardResetClientV2, HardResetServerV2, HardResetClientV3, ControlWKCV1:
	default:
		return c, ErrMalformed
	}
	copy(c.Session[:], b[1:9])
	n := int(b[9])
	b = b[10:]
	if n > MaxAcks {
		return c, ErrMalformed
	}
	if n > 0 {
		if len(b) < 4*n+8 {
			return c, ErrMalformed
		}
		c.Acks = make([]uint32, n)
		for i := range c.Acks {
			c.Acks[i] = binary.BigEndian.Uint32(b[4*i:])
		}
		copy(c.Peer[:], b[4*n:])
		b = b[4*n+8:]
	}
	if c.Op == AckV1 {
		if n == 0 {
			return c, ErrMalformed
		}
		return c, nil
	}
	if len(b) < 4 {
		return c, ErrMalformed
	}
	c.ID = binary.BigEndian.Uint32(b)
	c.Payload = b[4:]
	return c, nil
}

// AppendControl appends the plain form of c to b. It is the inverse of ParseControl.
func AppendControl(b []byte, c Control) []byte {
	b = append(b, Header(c.Op, c.KeyID))
	b = append(b, c.Session[:]...)
	b = append(b, byte(len(c.Acks)))
	for _, id := range c.Acks {
		b = binary.BigEndian.AppendUint32(b, id)
	}
	if len(c.Acks) > 0 {
		b = append(b, c.Peer[:]...)
	}
	if c.Op == AckV1 {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, c.ID)
	return append(b, c.Payload...)
}
