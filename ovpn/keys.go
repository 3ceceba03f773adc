package ovpn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// keyMaterial is what one key negotiation yields: two slots, each with 64 bytes
// for a cipher and 64 for an HMAC or an implicit IV. The client sends with slot 0 and the
// server with slot 1. It is a secret: no fmt verb and no logger shows it.
type keyMaterial [256]byte

func (k *keyMaterial) cipher(slot int) []byte { return k[slot*128 : slot*128+64] }
func (k *keyMaterial) hmac(slot int) []byte   { return k[slot*128+64 : slot*128+128] }

const redactedKeys = "data keys (redacted)"

// Format keeps keys out of every fmt verb.
func (k keyMaterial) Format(f fmt.State, _ rune) { io.WriteString(f, redactedKeys) }

// LogValue keeps keys out of logs.
func (k keyMaterial) LogValue() slog.Value { return slog.StringValue(redactedKeys) }

// Labels of the TLS exporter (openvpn's ssl_backend.h).
const (
	exporterLabel = "EXPORTER-OpenVPN-datakeys"
	// dynamicLabel is that of dynamic tls-crypt.
	dynamicLabel = "EXPORTER-OpenVPN-dynamic-tls-crypt"
)

// deriveExporter takes the keys from the TLS exporter (RFC 5705), the way of
// protocol-flags tls-ekm.
func deriveExporter(state *tls.ConnectionState) (*keyMaterial, error) {
	if !state.HandshakeComplete {
		return nil, errors.New("no data keys before the TLS handshake is complete")
	}
	b, err := state.ExportKeyingMaterial(exporterLabel, nil, len(keyMaterial{}))
	if err != nil {
		return nil, err
	}
	return (*keyMaterial)(b), nil
}
