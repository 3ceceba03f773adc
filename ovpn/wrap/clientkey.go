package wrap

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// Keys of tls-crypt-v2 (openvpn's tls_crypt.h; RFC draft "tls-crypt-v2"). A
// client's file is its key Kc and the same key wrapped for the server, WKc:
//
//	WKc = T (32) ‖ AES-256-CTR(Ke, T[:16], Kc ‖ metadata) ‖ length (2)
//	T   = HMAC-SHA256(Ka, length ‖ Kc ‖ metadata)
//
// where length counts all of WKc. The server needs no list of its clients.
const (
	serverKeyLen = 128 // two halves of 64 bytes, of which Ke and Ka are the first 32 each
	minWrapped   = sha256.Size + staticKeyLen + 2
	maxWrapped   = 1024
	// MaxMetadata is the longest metadata in bytes, its kind included.
	MaxMetadata = maxWrapped - minWrapped

	serverKeyPEM = "OpenVPN tls-crypt-v2 server key"
	clientKeyPEM = "OpenVPN tls-crypt-v2 client key"
)

// ErrClientKey is why a wrapped client key is refused.
var ErrClientKey = errors.New("tls-crypt-v2 client key was not made with this server's key")

// Metadata is what a client key says about itself, readable only by the server:
// one byte that names the kind, then its data. It may be empty.
type Metadata []byte

// The kinds of Metadata.
const (
	metadataUser = 0
	metadataTime = 1
)

// TimeMetadata says when a key was made, to the second.
func TimeMetadata(t time.Time) Metadata {
	return binary.BigEndian.AppendUint64(Metadata{metadataTime}, uint64(t.Unix()))
}

// UserMetadata carries data of the maker's own choice.
func UserMetadata(data []byte) Metadata { return append(Metadata{metadataUser}, data...) }

// User is the data of UserMetadata; ok is false for other kinds.
func (m Metadata) User() (data []byte, ok bool) {
	if len(m) == 0 || m[0] != metadataUser {
		return nil, false
	}
	return m[1:], true
}

// Made is when a key with TimeMetadata was made; ok is false for other kinds, and for times
// that no calendar has.
func (m Metadata) Made() (t time.Time, ok bool) {
	if len(m) < 9 || m[0] != metadataTime {
		return time.Time{}, false
	}
	t = time.Unix(int64(binary.BigEndian.Uint64(m[1:])), 0).UTC()
	return t, t.Year() >= 1970 && t.Year() < 10000
}

// Expired says whether the key is older than age, or does not say how old it is
// (openvpn's tls-crypt-v2-max-age).
func (m Metadata) Expired(now time.Time, age time.Duration) bool {
	if len(m) < 9 || m[0] != metadataTime {
		return true
	}
	// Seconds, not times: any 64 bits may stand here.
	made := int64(binary.BigEndian.Uint64(m[1:]))
	return made < now.Unix()-int64(age/time.Second)
}

// ServerKey opens the wrapped keys of clients and makes new ones. It is a secret:
// no fmt verb and no logger shows its bytes.
type ServerKey struct {
	b [serverKeyLen]byte
}

// GenerateServerKey reads a new key from random, which should be crypto/rand's Reader.
func GenerateServerKey(random io.Reader) (ServerKey, error) {
	var k ServerKey
	if _, err := io.ReadFull(random, k.b[:]); err != nil {
		return ServerKey{}, fmt.Errorf("tls-crypt-v2 server key: %w", err)
	}
	return k, nil
}

// ParseServerKey reads a file as `openvpn --genkey tls-crypt-v2-server` writes it.
// Errors never quote it.
func ParseServerKey(text []byte) (ServerKey, error) {
	b, err := parsePEM(text, serverKeyPEM, clientKeyPEM)
	if err != nil {
		return ServerKey{}, fmt.Errorf("tls-crypt-v2 server key: %w", err)
	}
	if len(b) != serverKeyLen {
		return ServerKey{}, fmt.Errorf("tls-crypt-v2 server key: %d bytes instead of %d", len(b), serverKeyLen)
	}
	return ServerKey{b: [serverKeyLen]byte(b)}, nil
}

// parsePEM reads the only block of a file. Text around it is ignored.
func parsePEM(text []byte, kind, other string) ([]byte, error) {
	if len(text) > maxStaticText {
		return nil, fmt.Errorf("%d bytes of text, more than %d", len(text), maxStaticText)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("no -----BEGIN " + kind + "----- with good base64 up to its END line")
	case block.Type == other:
		return nil, fmt.Errorf("the file holds an %s", other)
	case block.Type != kind:
		return nil, fmt.Errorf("the file holds %q instead of %q", block.Type, kind)
	case len(block.Headers) > 0:
		return nil, errors.New("unexpected headers in the block")
	}
	if second, _ := pem.Decode(rest); second != nil {
		return nil, errors.New("a second block follows")
	}
	return block.Bytes, nil
}

// Text is the key file, secret bytes included. ParseServerKey is its inverse.
func (k ServerKey) Text() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: serverKeyPEM, Bytes: k.b[:]})
}

const redactedV2 = "tls-crypt-v2 key (redacted)"

// Format keeps the key out of every fmt verb.
func (k ServerKey) Format(f fmt.State, _ rune) { io.WriteString(f, redactedV2) }

// LogValue keeps the key out of logs.
func (k ServerKey) LogValue() slog.Value { return slog.StringValue(redactedV2) }

// keys are Ke and Ka.
func (k *ServerKey) keys() (block cipher.Block, mac []byte) {
	block, err := aes.NewCipher(k.b[:cryptKeyLen])
	if err != nil {
		panic(err) // only for a wrong key length
	}
	return block, k.b[serverKeyLen/2 : serverKeyLen/2+cryptKeyLen]
}

// NewClient makes a client's key from random, which should be crypto/rand's
// Reader. Metadata over MaxMetadata bytes is an error.
func (k *ServerKey) NewClient(random io.Reader, m Metadata) (ClientKey, error) {
	if len(m) > MaxMetadata {
		return ClientKey{}, fmt.Errorf("tls-crypt-v2 client key: %d bytes of metadata, more than %d", len(m), MaxMetadata)
	}
	key, err := GenerateStaticKey(random)
	if err != nil {
		return ClientKey{}, fmt.Errorf("tls-crypt-v2 client key: %w", err)
	}
	block, mac := k.keys()
	size := binary.BigEndian.AppendUint16(nil, uint16(minWrapped+len(m)))
	wrapped := sum(hmac.New(sha256.New, mac), make([]byte, 0, minWrapped+len(m)), size, key.b[:], m)
	stream := cipher.NewCTR(block, wrapped[:aes.BlockSize])
	body := slices.Concat(key.b[:], m)
	stream.XORKeyStream(body, body)
	return ClientKey{key: key, wrapped: slices.Concat(wrapped, body, size)}, nil
}

// openWrapped is the inverse of NewClient's wrapping. Nothing of what is inside
// is returned unless it is authentic.
func openWrapped(block cipher.Block, mac, wrapped []byte) (key StaticKey, m Metadata, err error) {
	n := len(wrapped)
	if n < minWrapped || n > maxWrapped || int(binary.BigEndian.Uint16(wrapped[n-2:])) != n {
		return StaticKey{}, nil, ErrClientKey
	}
	tag, size := wrapped[:sha256.Size], wrapped[n-2:]
	body := make([]byte, n-sha256.Size-2)
	cipher.NewCTR(block, tag[:aes.BlockSize]).XORKeyStream(body, wrapped[sha256.Size:n-2])
	var got [sha256.Size]byte
	if !hmac.Equal(tag, sum(hmac.New(sha256.New, mac), got[:0], size, body)) {
		clear(body)
		return StaticKey{}, nil, ErrClientKey
	}
	key.b = [staticKeyLen]byte(body)
	m = Metadata(bytes.Clone(body[staticKeyLen:]))
	clear(body)
	return key, m, nil
}

// Open reads the metadata of a client's key, and checks that it was made with k:
// the key inside is the client's.
func (k *ServerKey) Open(c ClientKey) (Metadata, error) {
	block, mac := k.keys()
	key, m, err := openWrapped(block, mac, c.wrapped)
	if err != nil || key != c.key {
		return nil, ErrClientKey
	}
	return m, nil
}

// ClientKey is a client's own key and its wrapped form, which only the server
// that it was made for can open. It is a secret: no fmt verb and no logger shows
// its bytes. The zero value is no key.
type ClientKey struct {
	key     StaticKey
	wrapped []byte
}

// ParseClientKey reads a file as `openvpn --genkey tls-crypt-v2-client` writes
// it. Whether the server can open it, only the server knows. Errors never quote it.
func ParseClientKey(text []byte) (ClientKey, error) {
	b, err := parsePEM(text, clientKeyPEM, serverKeyPEM)
	if err != nil {
		return ClientKey{}, fmt.Errorf("tls-crypt-v2 client key: %w", err)
	}
	n := len(b) - staticKeyLen
	switch {
	case n < minWrapped || n > maxWrapped:
		return ClientKey{}, fmt.Errorf("tls-crypt-v2 client key: %d bytes instead of %d to %d", len(b), staticKeyLen+minWrapped, staticKeyLen+maxWrapped)
	case int(binary.BigEndian.Uint16(b[len(b)-2:])) != n:
		return ClientKey{}, errors.New("tls-crypt-v2 client key: the length at the end is not that of the wrapped key")
	}
	return ClientKey{key: StaticKey{b: [staticKeyLen]byte(b)}, wrapped: b[staticKeyLen:]}, nil
}

// ID tells a client's key from others, in 16 hexadecimal digits. It gives nothing of the key away:
// it is the start of the SHA-256 of the wrapped form, which anybody on the way can see.
func (k ClientKey) ID() string { return wrappedID(k.wrapped) }

func wrappedID(wrapped []byte) string {
	sum := sha256.Sum256(wrapped)
	return hex.EncodeToString(sum[:8])
}

// Text is the key file, secret bytes included. ParseClientKey is its inverse.
func (k ClientKey) Text() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: clientKeyPEM, Bytes: slices.Concat(k.key.b[:], k.wrapped)})
}

// Format keeps the key out of every fmt verb.
func (k ClientKey) Format(f fmt.State, _ rune) { io.WriteString(f, redactedV2) }

// LogValue keeps the key out of logs.
func (k ClientKey) LogValue() slog.Value { return slog.StringValue(redactedV2) }
