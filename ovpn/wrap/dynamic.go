package wrap

import "fmt"

const (
	// DynamicKeyLen is how many bytes of exported key material Dynamic takes.
	DynamicKeyLen = staticKeyLen
	// DynamicOverhead is how many bytes its Wrap adds.
	DynamicOverhead = stampLen + cryptTagLen
)

// Dynamic returns the Wrapper of dynamic tls-crypt: for all packets with a key id
// above 0, with a key out of the first TLS session, exported (DynamicKeyLen bytes),
// that also depends on the key in use before (original, nil when there was no
// protection) (openvpn's tls_crypt.c, tls_session_generate_dynamic_tls_crypt_key).
// It has a replay window and packet ids of its own.
func Dynamic(server bool, exported []byte, original *StaticKey) (Wrapper, error) {
	if len(exported) != DynamicKeyLen {
		return nil, fmt.Errorf("dynamic tls-crypt: %d bytes of key material instead of %d", len(exported), DynamicKeyLen)
	}
	key := StaticKey{b: [staticKeyLen]byte(exported)}
	if original != nil {
		for i, b := range original.b {
			key.b[i] ^= b
		}
	}
	return newTLSCrypt(key).New(server, 1), nil
}
