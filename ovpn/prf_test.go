package ovpn

import (
	"encoding/hex"
	"testing"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// The number is from the unit tests of openvpn (test_crypto.c, crypto_test_tls_prf).
func TestPRFVector(t *testing.T) {
	const secret = "Lorem ipsum dolor sit amet, consectetur adipisici elit, sed eiusmod tempor incidunt ut labore et dolore magna aliqua."
	const seed = "Quis aute iure reprehenderit in voluptate velit esse cillum dolore"
	var out [32]byte
	tls10PRF(out[:], []byte(secret), seed)
	if got, want := hex.EncodeToString(out[:]), "d98c8518c85e946927916acfc2d592fbb1567e4b4b1459e6a904ac2ddab72d67"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// ascending is n bytes from first on.
func ascending(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// The number was computed by an independent implementation of the formula.
func TestDerivePRF(t *testing.T) {
	var client, server keySource
	copy(client.preMaster[:], ascending(0, 48))
	copy(client.random1[:], ascending(0x40, 32))
	copy(client.random2[:], ascending(0x60, 32))
	copy(server.random1[:], ascending(0x80, 32))
	copy(server.random2[:], ascending(0xa0, 32))
	km := derivePRF(&client, &server, wire.SessionID([]byte("clientid")), wire.SessionID([]byte("serverid")))
	const want = "2007888c0f4582810ff69b4014ecb9f509d6e3d9b2c2594a0255487a32f9ea28c49102da24705aeaef520cda58ced3bffb791f9475f4e4bef75368344f76fd2f5da69d46d2aa368d2c0fb2d8f37ef00d345d7cd3eac988c2c83b1e16449a7df0f7035e7df8627753792f0c3d1bd940d8c1c5d42d233714d8701544f9d2d5e111ba992637c71a37bcd8d0bce8694a2eaa56b2a482f4d466076e13072565fe6d7491b14ae1956e1d8dd6011d598679dd7d56eaf45ae6aba53575519fafbcaa8fb5baabc8eb8715906d3dce715e95e07410bc6534053f44a3a2962b57e74763503a32c2c567946996f29c8827a56c4d9aba49413d2706f189a42fdf7900133ac2fc"
	if got := hex.EncodeToString(km[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := hex.EncodeToString(km.hmac(1)); got != want[2*192:] {
		t.Errorf("hmac of slot 1: got %s", got)
	}
}
