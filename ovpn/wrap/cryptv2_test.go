package wrap

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// steps reads 0, 1, 2, …
type steps byte

func (s *steps) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(*s)
		*s++
	}
	return len(b), nil
}

func serverKey(t testing.TB) ServerKey {
	t.Helper()
	k, err := GenerateServerKey(new(steps))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Numbers from the unit tests of openvpn (test_tls_crypt.c): server key 0 to 127,
// client key 0 to 255.
func TestKnownClientKeys(t *testing.T) {
	for _, c := range []struct {
		name     string
		metadata Metadata
		wrapped  string
	}{
		{"timestamp 0", TimeMetadata(time.Unix(0, 0)), `
177da5c074a94619b16be4acb71f1a6ccf24f33c6bbaf498459d5f06c369d4952c78396efd93c2598f4771e068cafca3
d2d387d87151392b1f74b43df29137072ca3ceae6bf741153c97b0cf6d8386b0ddd4baa201fd024693fa44510e035c29
691009bc2624ad8995f9171c1c1b02d9a7efc02436e868e90085a8276a19a6f7ce1daf85e16a18c3dd1a9ba46c5ad3de
b70edd52f151e1be45dcd788c4c2a494a8bc504fd650e46306093e7cfa75a1218f44f3277055aeef56dc2a68b5d36dee
ed3d927c407e90b18edacfdec7a6b037b0fe04c1b5c7d0fcea131721479cde64459faad7b482e276dadcfa7cfc5b34fa
149bbf6b49a33a03f1212516aed221626c7224d887cabc7f9c90c6376de16c6efd9e70b4f080674b4ece3e08b5323bed
f04e6114df11acb31e012b`},
		{"user data", UserMetadata([]byte{0x00, 0x00, 0x41, 0x08, 0x20, 0xc3}), `
69eda75582aa170b8c9418fe28248cdb7761bea2d277aa1647eb3a9d94083733e91489b4f2d96ef38e2941e4daac313d
852c1429f3fc8595ebf6622d1ada6f35294bca123751d2e8feeaa8076b1ca81f8554c76ac7527f651d3133c2ec70609c
ff4b97416128dd21eef4b36dbb7b40cef01fd9abd5e71cfccb744985b6969c0068939b6064f293a8538169b483f30baf
0a2b2eb7b34ea507059cd5b2ef8b0f2a8b58ad65cc935deba32e34eb060386057db0ac0e1f27dc7f82c3593960d0590d
86093ad55480159785e3babe0a0e9aa0dd234740437855a3d0c4f9290216381f978158db22c487d655659ae5d5e0f53b
087f5f5efc0a41eb049625f4b3504b24042a50c65b004b43fa58deab6372daf7a55eb630f41d068fb595cb230c225540
0e9753296d6ace0129`},
	} {
		server := serverKey(t)
		want := strings.ReplaceAll(c.wrapped, "\n", "")
		key, err := server.NewClient(new(steps), c.metadata)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(key.wrapped); got != want {
			t.Errorf("%s: wrapped to\n%s, want\n%s", c.name, got, want)
		}
		// The other way, from the numbers alone.
		wrapped, err := hex.DecodeString(want)
		if err != nil {
			t.Fatal(err)
		}
		block, mac := server.keys()
		inside, m, err := openWrapped(block, mac, wrapped)
		if err != nil || inside != key.key || !bytes.Equal(m, c.metadata) {
			t.Errorf("%s: opened to metadata %x, %v, want %x", c.name, m, err, c.metadata)
		}
	}
}

// Numbers from the unit tests of openvpn (test_tls_crypt.c,
// test_tls_crypt_secure_reneg_key): key material of 0xba only, no head, time 0.
func TestKnownDynamicKey(t *testing.T) {
	const want = "0000000100000000e319277f1c8d6e6a7796a855337b9cfb56e1f13a870e6647dfa195c92c17a015ba4967a11d55ea1a06a7"
	exported := bytes.Repeat([]byte{0xba}, DynamicKeyLen)
	other := StaticKey{}
	for i := range other.b {
		other.b[i] = 0x42
	}
	for _, c := range []struct {
		name     string
		original *StaticKey
		same     bool
	}{{"nothing before", nil, true}, {"a key of zeros before", &StaticKey{}, true}, {"another key before", &other, false}} {
		w, err := Dynamic(false, exported, c.original)
		if err != nil {
			t.Fatal(err)
		}
		got := hex.EncodeToString(w.(*tlsCryptWrapper).seal(nil, time.Unix(0, 0), nil, []byte("1234567890")))
		if (got == want) != c.same || got[:16] != want[:16] || len(got) != len(want) {
			t.Errorf("%s: got %s", c.name, got)
		}
	}
	for _, n := range []int{0, DynamicKeyLen - 1, DynamicKeyLen + 1} {
		if _, err := Dynamic(false, make([]byte, n), nil); err == nil {
			t.Errorf("%d bytes of key material made a key", n)
		}
	}
}

// Files that `openvpn --genkey` wrote: a server key, a client key with the usual
// metadata, and one with the name "alice".
func TestOpenVPNsKeyFiles(t *testing.T) {
	read := func(name string) []byte {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	server, err := ParseServerKey(read("v2-server.key"))
	if err != nil {
		t.Fatal(err)
	}
	dated, err := ParseClientKey(read("v2-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := server.Open(dated); err != nil || m.Expired(time.Unix(1795000000, 0), 24*time.Hour*365) || !m.Expired(time.Unix(1895000000, 0), 24*time.Hour) {
		t.Errorf("metadata %x, %v", m, err)
	}
	named, err := ParseClientKey(read("v2-alice.key"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := server.Open(named); err != nil {
		t.Error(err)
	} else if name, ok := m.User(); !ok || string(name) != "alice" {
		t.Errorf("metadata %x", m)
	}
	for name, text := range map[string][]byte{"v2-server.key": server.Text(), "v2-client.key": dated.Text(), "v2-alice.key": named.Text()} {
		if want := read(name); !bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace(want)) {
			t.Errorf("%s: Text differs from what openvpn wrote", name)
		}
	}
}

func TestMetadataAge(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	day := 24 * time.Hour
	stamp := func(seconds uint64) Metadata {
		return binary.BigEndian.AppendUint64(Metadata{metadataTime}, seconds)
	}
	for _, c := range []struct {
		name string
		m    Metadata
		want bool
	}{
		{"new", TimeMetadata(now), false},
		{"exactly", TimeMetadata(now.Add(-30 * day)), false},
		{"a second more", TimeMetadata(now.Add(-30*day - time.Second)), true},
		{"from the future", TimeMetadata(now.Add(day)), false},
		{"long before all time", stamp(1 << 63), true},
		{"all ones is a second before 1970", stamp(^uint64(0)), true},
		{"none", nil, true},
		{"user", UserMetadata([]byte("12345678")), true},
		{"short", TimeMetadata(now)[:8], true},
		{"unknown kind", append(Metadata{2}, TimeMetadata(now)[1:]...), true},
	} {
		if got := c.m.Expired(now, 30*day); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if _, ok := TimeMetadata(now).User(); ok {
		t.Error("a time is user data")
	}
	if _, ok := Metadata(nil).User(); ok {
		t.Error("nothing is user data")
	}
}

func TestClientKeyFiles(t *testing.T) {
	server := serverKey(t)
	client, err := server.NewClient(rand.Reader, TimeMetadata(t0))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, n, size int) string {
		b := make([]byte, n)
		if n > 2 {
			binary.BigEndian.PutUint16(b[n-2:], uint16(size))
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	good := string(client.Text())
	for name, c := range map[string]struct{ text, want string }{
		"good":             {good, ""},
		"CRLF, text about": {"# made by hand\r\n" + strings.ReplaceAll(good, "\n", "\r\n") + "bye", ""},
		"smallest":         {block(clientKeyPEM, 256+minWrapped, minWrapped), ""},
		"largest":          {block(clientKeyPEM, 256+maxWrapped, maxWrapped), ""},
		"empty":            {"", "no -----BEGIN"},
		"server's":         {string(server.Text()), "holds an OpenVPN tls-crypt-v2 server key"},
		"certificate":      {block("CERTIFICATE", 600, 344), `holds "CERTIFICATE"`},
		"short":            {block(clientKeyPEM, 256+minWrapped-1, minWrapped-1), "545 bytes instead of 546"},
		"long":             {block(clientKeyPEM, 256+maxWrapped+1, maxWrapped+1), "1281 bytes"},
		"length too large": {block(clientKeyPEM, 600, 345), "length at the end"},
		"length too small": {block(clientKeyPEM, 600, 343), "length at the end"},
		"truncated":        {good[:len(good)-60], "no -----BEGIN"},
		"two":              {good + good, "a second block"},
		"headers":          {strings.Replace(good, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1), "unexpected headers"},
		"huge":             {strings.Repeat("x", maxStaticText+1), "more than 65536"},
	} {
		key, err := ParseClientKey([]byte(c.text))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		case c.want != "" && (key.wrapped != nil || key.key != StaticKey{}):
			t.Errorf("%s: half a key came with the error", name)
		}
	}
	for name, text := range map[string]string{"client's": good, "short": block(serverKeyPEM, 127, 0), "long": block(serverKeyPEM, 129, 0)} {
		if _, err := ParseServerKey([]byte(text)); err == nil {
			t.Errorf("server key: %s: no error", name)
		}
	}
	if back, err := ParseServerKey(server.Text()); err != nil || back != server {
		t.Errorf("the server key does not survive its text: %v", err)
	}
	if _, err := server.NewClient(rand.Reader, make(Metadata, MaxMetadata+1)); err == nil {
		t.Error("too much metadata made a key")
	}
	if _, err := server.NewClient(bytes.NewReader(make([]byte, 255)), nil); err == nil {
		t.Error("255 random bytes made a key")
	}
	// A client key whose halves do not belong together.
	swapped := client
	swapped.key.b[0] ^= 1
	if _, err := server.Open(swapped); !errors.Is(err, ErrClientKey) {
		t.Errorf("foreign halves: %v", err)
	}
}

// v2pair is a server's method, its wrapper, and a client's reset for it.
func v2pair(t testing.TB) (server Method, client Wrapper, reset []byte) {
	t.Helper()
	key := serverKey(t)
	own, err := key.NewClient(new(steps), TimeMetadata(t0))
	if err != nil {
		t.Fatal(err)
	}
	client = TLSCryptV2(own).New(false, 1)
	return TLSCryptV2Server(key, nil), client, client.Wrap(nil, t0, plainOf(wire.HardResetClientV3, 0))
}

func plainOf(op wire.Opcode, id uint32) []byte {
	return wire.AppendControl(nil, wire.Control{Op: op, Session: wire.SessionID{1, 2, 3}, ID: id, Payload: []byte("payload")})
}

func TestTLSCryptV2RoundTrip(t *testing.T) {
	method, client, reset := v2pair(t)
	server := method.New(true, 1).(Keyed)
	if got := server.Wrap([]byte("x"), t0, plainOf(wire.ControlV1, 1)); string(got) != "x" {
		t.Errorf("a server without a key sent %x", got)
	}
	if _, ok := server.Client(); ok || server.Key() != nil || server.ClientID() != "" {
		t.Error("a server knows a key before the first packet")
	}
	if !EarlyNegotiation(reset) {
		t.Error("no mark in the reset")
	}
	plain, err := server.Unwrap([]byte("x"), t0, reset)
	if want := append([]byte("x"), plainOf(wire.HardResetClientV3, 0)...); err != nil || !bytes.Equal(plain, want) {
		t.Fatalf("got %x, %v", plain, err)
	}
	if m, ok := server.Client(); !ok || !bytes.Equal(m, TimeMetadata(t0)) {
		t.Errorf("metadata %x, %v", m, ok)
	}
	if id := server.ClientID(); len(id) != 16 || id != wrappedID(reset[len(reset)-minWrapped-9:]) {
		t.Errorf("id %q", id)
	}
	if *server.Key() != *client.Key() {
		t.Error("the ends have different keys")
	}
	answer := server.Wrap(nil, t0, plainOf(wire.HardResetServerV2, 0))
	if EarlyNegotiation(answer) {
		t.Error("the server marks its packets")
	}
	if _, err := client.Unwrap(nil, t0, answer); err != nil {
		t.Error(err)
	}
	for id := range uint32(3) {
		keyed := client.Wrap(nil, t0, plainOf(wire.ControlWKCV1, id))
		if _, err := server.Unwrap(nil, t0, keyed); err != nil {
			t.Errorf("the same key again: %v", err)
		}
		if _, err := server.Unwrap(nil, t0, keyed); !errors.Is(err, ErrReplay) {
			t.Errorf("a replay: %v", err)
		}
		if _, err := server.Unwrap(nil, t0, client.Wrap(nil, t0, plainOf(wire.ControlV1, id))); err != nil {
			t.Error(err)
		}
	}
}

// The length of the wrapped key stands at the end of the packet in clear: whatever
// it says, no byte in front of the control packet is taken for a key.
func TestCVE_2026_35058_WrappedKeyLength(t *testing.T) {
	method, _, reset := v2pair(t)
	for n := range 1 << 16 {
		b := bytes.Clone(reset)
		binary.BigEndian.PutUint16(b[len(b)-2:], uint16(n))
		_, err := method.New(true, 1).Unwrap(nil, t0, b)
		if good := n == 299; good != (err == nil) {
			t.Fatalf("length %d: %v", n, err)
		}
	}
	for n := range len(reset) { // cut anywhere, with whatever length stands there then
		if _, err := method.New(true, 1).Unwrap(nil, t0, reset[:n]); err == nil {
			t.Fatalf("cut to %d bytes: no error", n)
		}
		if _, err := method.New(true, 1).Unwrap(nil, t0, append([]byte{reset[0]}, reset[len(reset)-n:]...)); err == nil && n < len(reset)-1 {
			t.Fatalf("the last %d bytes: no error", n)
		}
	}
}

// Keys are set once: neither another client's key nor a shared one takes over a
// session that has a key.
func TestCVE_2025_2704_KeysAreSetOnce(t *testing.T) {
	key := serverKey(t)
	static := TLSCrypt(testKey(t))
	method := TLSCryptV2Server(key, static)
	var clients [2]Wrapper
	for i := range clients {
		own, err := key.NewClient(rand.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = TLSCryptV2(own).New(false, 1)
	}
	shared := static.New(false, 1)
	for i, first := range []Wrapper{clients[0], shared} {
		server := method.New(true, 1).(Keyed)
		op := []wire.Opcode{wire.HardResetClientV3, wire.HardResetClientV2}[i]
		if _, err := server.Unwrap(nil, t0, first.Wrap(nil, t0, plainOf(op, 0))); err != nil {
			t.Fatal(err)
		}
		before := *server.Key()
		for _, op := range []wire.Opcode{wire.HardResetClientV3, wire.ControlWKCV1} {
			if _, err := server.Unwrap(nil, t0, clients[1].Wrap(nil, t0, plainOf(op, 0))); !errors.Is(err, ErrOtherClientKey) {
				t.Errorf("opcode %d with another key: %v", op, err)
			}
		}
		if i == 0 {
			if _, err := server.Unwrap(nil, t0, shared.Wrap(nil, t0, plainOf(wire.HardResetClientV2, 0))); !errors.Is(err, ErrForged) {
				t.Errorf("the shared key: %v", err)
			}
		}
		if *server.Key() != before {
			t.Error("the key changed")
		}
		if _, err := server.Unwrap(nil, t0, first.Wrap(nil, t0, plainOf(wire.ControlV1, 1))); err != nil {
			t.Errorf("the session's own packet: %v", err)
		}
	}
}

// Bad keys leave nothing behind, in the Wrapper or in memory.
func TestCVE_2026_12932_BadKeysLeaveNothing(t *testing.T) {
	method, client, reset := v2pair(t)
	server := method.New(true, 1).(*cryptV2ServerWrapper)
	run := func(n int) {
		for i := range n {
			reset[len(reset)-3-i%290] ^= 0x55
			if _, err := server.Unwrap(nil, t0, reset); !errors.Is(err, ErrClientKey) {
				t.Fatal(err)
			}
			reset[len(reset)-3-i%290] ^= 0x55
		}
	}
	run(1000)
	if server.inner != nil || server.wrapped != nil || server.metadata != nil || server.Key() != nil {
		t.Error("a bad key left something")
	}
	if per := testing.AllocsPerRun(100, func() { run(1) }); per > 30 {
		t.Errorf("%v allocations for one bad key", per)
	}
	// A good key around a forged packet leaves nothing either.
	forged := bytes.Clone(reset)
	forged[20] ^= 1
	if _, err := server.Unwrap(nil, t0, forged); !errors.Is(err, ErrForged) || server.inner != nil || server.metadata != nil {
		t.Errorf("forged packet: %v", err)
	}
	if _, err := server.Unwrap(nil, t0, client.Wrap(nil, t0, plainOf(wire.ControlWKCV1, 1))); err != nil {
		t.Errorf("the good one after them: %v", err)
	}
}

func TestAMillionWraps(t *testing.T) {
	method, client, reset := v2pair(t)
	server := method.New(true, 1)
	if _, err := server.Unwrap(nil, t0, reset); err != nil {
		t.Fatal(err)
	}
	exported := bytes.Repeat([]byte{7}, DynamicKeyLen)
	dynamicClient, err := Dynamic(false, exported, client.Key())
	if err != nil {
		t.Fatal(err)
	}
	dynamicServer, err := Dynamic(true, exported, server.Key())
	if err != nil {
		t.Fatal(err)
	}
	n := 1_000_000
	if testing.Short() {
		n = 10_000
	}
	plain := plainOf(wire.ControlV1, 1)
	var packet, got []byte
	for i := range n / 2 {
		now := t0.Add(time.Duration(i) * time.Millisecond)
		for _, pair := range [2][2]Wrapper{{client, server}, {dynamicServer, dynamicClient}} {
			packet = pair[0].Wrap(packet[:0], now, plain)
			if got, err = pair[1].Unwrap(got[:0], now, packet); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("packet %d: %v", i, err)
			}
		}
	}
	if _, err := server.Unwrap(nil, t0, reset); !errors.Is(err, ErrReplay) {
		t.Errorf("the first packet again: %v", err)
	}
}

func TestV2SecretsStaySecret(t *testing.T) {
	server := serverKey(t)
	client, err := server.NewClient(new(steps), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, v := range []any{server, &server, client, &client, struct{ K ClientKey }{client}, TLSCryptV2(client), TLSCryptV2Server(server, nil)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	for _, leak := range []string{"\x20\x21\x22", "202122", "32 33 34", "0x20, 0x21", "ICEi", hex.EncodeToString(client.wrapped[:4])} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("key bytes in output: %s", out.String())
		}
	}
}

func FuzzClientKeyFile(f *testing.F) {
	server := serverKey(f)
	client, err := server.NewClient(new(steps), UserMetadata([]byte("ann")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(client.Text())
	f.Add(server.Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := ParseClientKey(text); err == nil {
			back, err := ParseClientKey(key.Text())
			if err != nil || back.key != key.key || !bytes.Equal(back.wrapped, key.wrapped) {
				t.Errorf("accepted client key does not survive its text: %v", err)
			}
			if _, err := server.Open(key); err == nil && !bytes.Equal(key.wrapped, client.wrapped) {
				t.Error("a forged client key was opened")
			}
		}
		if key, err := ParseServerKey(text); err == nil {
			if back, err := ParseServerKey(key.Text()); err != nil || back != key {
				t.Errorf("accepted server key does not survive its text: %v", err)
			}
		}
	})
}

func FuzzUnwrapV2(f *testing.F) {
	method, client, reset := v2pair(f)
	f.Add(reset, []byte{})
	f.Add(reset, client.Wrap(nil, t0, plainOf(wire.ControlWKCV1, 1)))
	f.Add(client.Wrap(nil, t0, plainOf(wire.ControlV1, 1)), reset)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		server := method.New(true, 1).(Keyed)
		for _, packet := range [][]byte{first, second} {
			before := bytes.Clone(packet)
			got, err := server.Unwrap([]byte("dst"), t0, packet)
			if !bytes.Equal(packet, before) {
				t.Error("Unwrap changed the packet")
			}
			if err != nil && string(got) != "dst" || err == nil && len(got) >= 3+len(packet) {
				t.Errorf("%d bytes became %d, error %v", len(packet), len(got), err)
			}
		}
		if m, ok := server.Client(); ok && !bytes.Equal(m, TimeMetadata(t0)) {
			t.Errorf("metadata %x", m)
		}
	})
}
