package wrap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const (
	staticKeyLen  = 256
	maxStaticText = 64 << 10
	staticBegin   = "-----BEGIN OpenVPN Static key V1-----"
	staticEnd     = "-----END OpenVPN Static key V1-----"
)

// StaticKey is the 2048-bit pre-shared key of tls-auth and tls-crypt: two
// directions, each with 64 bytes for a cipher and 64 for an HMAC. It is a
// secret: no fmt verb and no logger shows its bytes. The zero value is no key.
type StaticKey struct {
	b [staticKeyLen]byte
}

// cipher and hmac are the halves of slot 0 or 1.
func (k *StaticKey) cipher(slot int) []byte { return k.b[slot*128 : slot*128+64] }
func (k *StaticKey) hmac(slot int) []byte   { return k.b[slot*128+64 : slot*128+128] }

// ParseStaticKey reads a key file as `openvpn --genkey secret` writes it. Text
// around the BEGIN and END lines is ignored, as OpenVPN does; between them only
// hexadecimal digits and white space may stand, 256 bytes in all. Text over 64
// KiB is refused. Errors name the line and never quote it.
func ParseStaticKey(text []byte) (StaticKey, error) {
	var key StaticKey
	if len(text) > maxStaticText {
		return key, fmt.Errorf("static key: %d bytes of text, more than %d", len(text), maxStaticText)
	}
	const (
		before = iota
		inside
		after
	)
	state, n := before, 0 // n counts hex digits
	var number int
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		switch state {
		case before:
			if string(line) == staticBegin {
				state = inside
			}
			continue
		case after:
			if string(line) == staticBegin {
				return StaticKey{}, fmt.Errorf("static key: line %d: a second key begins", number)
			}
			continue
		}
		if string(line) == staticEnd {
			state = after
			continue
		}
		for _, c := range line {
			d, ok := hexDigit(c)
			switch {
			case ok && n == 2*staticKeyLen:
				return StaticKey{}, fmt.Errorf("static key: line %d: more than %d bytes", number, staticKeyLen)
			case ok:
				key.b[n/2] = key.b[n/2]<<4 | d
				n++
			case c != ' ' && c != '\t':
				return StaticKey{}, fmt.Errorf("static key: line %d: not a hexadecimal digit", number)
			}
		}
	}
	switch {
	case state == before:
		return StaticKey{}, errors.New("static key: no line " + staticBegin)
	case state == inside:
		return StaticKey{}, fmt.Errorf("static key: line %d: text ends before %s", number, staticEnd)
	case n != 2*staticKeyLen:
		return StaticKey{}, fmt.Errorf("static key: %d hexadecimal digits instead of %d", n, 2*staticKeyLen)
	}
	return key, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// GenerateStaticKey reads a new key from random, which should be crypto/rand's Reader.
func GenerateStaticKey(random io.Reader) (StaticKey, error) {
	var key StaticKey
	if _, err := io.ReadFull(random, key.b[:]); err != nil {
		return StaticKey{}, fmt.Errorf("static key: %w", err)
	}
	return key, nil
}

// Text is the key file, secret bytes included. ParseStaticKey is its inverse.
func (k StaticKey) Text() []byte {
	b := []byte("#\n# 2048 bit OpenVPN static key\n#\n" + staticBegin + "\n")
	for i := 0; i < staticKeyLen; i += 16 {
		b = hex.AppendEncode(b, k.b[i:i+16])
		b = append(b, '\n')
	}
	return append(b, staticEnd+"\n"...)
}

const redacted = "static key (redacted)"

// Format keeps the key out of every fmt verb.
func (k StaticKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue keeps the key out of logs.
func (k StaticKey) LogValue() slog.Value { return slog.StringValue(redacted) }
