package ovpn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Key-method 2 is the first message inside TLS: randomness, then strings. Two
// layouts exist: the stock one of openvpn's ssl.c (key_method_2_write), and
// that of AWS's builds, whose first four bytes hold the total length (little
// endian) and whose string lengths have 32 bits.

// keySource is one side's randomness for the PRF. Servers send no pre-master.
type keySource struct {
	preMaster        [48]byte
	random1, random2 [32]byte
}

// keyMessage is the key-method-2 message.
type keyMessage struct {
	source   keySource
	options  string // the OCC string
	username string
	password push.Secret
	peerInfo string
	tooLong  bool // user name or password over our limits: they are empty here
	fewer    bool // fields are missing at the end, as old peers have it
}

// Bounds of what a peer may send. AWS's SAML assertions travel as passwords. A
// user name or password that is too long is no error of the protocol: it fails
// to authenticate (openvpn's ssl.c, key_method_2_read).
const (
	maxOptions    = 4 << 10
	maxUsername   = 128 << 10
	maxPassword   = 128 << 10
	maxPeerInfo   = 64 << 10
	maxKeyMessage = 512 << 10 // where Config.KeyMessage says nothing
)

var (
	errShortKeyMessage = errors.New("key-method 2 message incomplete")
	errBadKeyMessage   = errors.New("key-method 2 message malformed")
)

// appendKeyMessage appends m as the given role sends it.
func appendKeyMessage(b []byte, role Role, enc Encoding, m *keyMessage) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2)
	if role == Client {
		b = append(b, m.source.preMaster[:]...)
	}
	b = append(b, m.source.random1[:]...)
	b = append(b, m.source.random2[:]...)
	for _, s := range []string{m.options, m.username, string(m.password), m.peerInfo} {
		n := len(s)
		if n > 0 {
			n++ // the length counts the NUL; an empty string has neither
		}
		if enc == AWS32 {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		} else {
			b = binary.BigEndian.AppendUint16(b, uint16(n))
		}
		if n > 0 {
			b = append(append(b, s...), 0)
		}
	}
	if enc == AWS32 {
		binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start))
	}
	return b
}

// parseKeyMessage reads the message of at most limit bytes that a peer of the given
// role sent, in either layout. errShortKeyMessage asks for more bytes. Old peers end
// after the options or the password: what is missing stays empty.
func parseKeyMessage(b []byte, sender Role, limit int) (*keyMessage, Encoding, error) {
	if len(b) > limit {
		return nil, 0, errBadKeyMessage
	}
	fixed := 4 + 1 + 64
	if sender == Client {
		fixed += 48
	}
	if len(b) < fixed {
		return nil, 0, errShortKeyMessage
	}
	enc := Stock
	if total := binary.LittleEndian.Uint32(b); total != 0 {
		enc = AWS32
		if int64(total) > int64(limit) || int(total) < fixed {
			return nil, 0, errBadKeyMessage
		}
		if len(b) < int(total) {
			return nil, 0, errShortKeyMessage
		}
		b = b[:total]
	}
	if b[4]&0x0f != 2 {
		return nil, 0, errBadKeyMessage
	}
	b = b[5:]
	m := &keyMessage{}
	if sender == Client {
		b = b[copy(m.source.preMaster[:], b):]
	}
	b = b[copy(m.source.random1[:], b):]
	b = b[copy(m.source.random2[:], b):]
	// First all of them, then the copies: this runs again for each record that adds
	// to an incomplete message.
	var fields [4][]byte
	for i, limit := range []int{maxOptions, maxKeyMessage, maxKeyMessage, maxPeerInfo} {
		if len(b) == 0 && i > 0 {
			m.fewer = true
			break
		}
		var err error
		if fields[i], b, err = takeField(b, enc, limit); err != nil {
			return nil, 0, err
		}
	}
	for _, f := range fields {
		if bytes.IndexByte(f, 0) >= 0 {
			return nil, 0, errBadKeyMessage
		}
	}
	if m.tooLong = len(fields[1]) >= maxUsername || len(fields[2]) >= maxPassword; m.tooLong {
		fields[1], fields[2] = nil, nil
	}
	m.options, m.username = string(fields[0]), string(fields[1])
	m.password, m.peerInfo = push.Secret(fields[2]), string(fields[3])
	return m, enc, nil
}

// takeField returns one field without its NUL, and what follows it.
func takeField(b []byte, enc Encoding, limit int) (field, rest []byte, err error) {
	width := 2
	if enc == AWS32 {
		width = 4
	}
	if len(b) < width {
		return nil, nil, errShortKeyMessage
	}
	n := int(binary.BigEndian.Uint16(b))
	if enc == AWS32 {
		n = int(binary.BigEndian.Uint32(b))
	}
	b = b[width:]
	switch {
	case n > limit:
		return nil, nil, errBadKeyMessage
	case len(b) < n:
		return nil, nil, errShortKeyMessage
	case n == 0:
		return nil, b, nil
	case b[n-1] != 0:
		return nil, nil, errBadKeyMessage
	}
	return b[:n-1], b[n:], nil
}

// parsePeerInfo splits "NAME=value" lines; anything else is skipped.
func parsePeerInfo(s string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(s) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok && len(m) < 256 {
			m[name] = value
		}
	}
	return m
}

// maxKeptInfo bounds each value that a session keeps of a peer's info, bytes: a list of ciphers has some hundred.
const maxKeptInfo = 2 << 10

// keptPeerInfo is what a session reads of its peer's info later, in copies: the message that it was in may be long.
func keptPeerInfo(info map[string]string) map[string]string {
	m := make(map[string]string)
	for _, name := range []string{"ID", "IV_CIPHERS", "IV_COMP_STUBv2", "IV_MTU", "IV_NCP"} {
		if value, ok := info[name]; ok {
			m[name] = strings.Clone(value[:min(len(value), maxKeptInfo)])
		}
	}
	return m
}
