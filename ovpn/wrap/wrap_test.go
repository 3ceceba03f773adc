package wrap

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var t0 = time.Unix(1_700_000_000, 0)

func method(t testing.TB, kind, hash string, direction int, key StaticKey) Method {
	t.Helper()
	if kind == "tls-crypt" {
		return TLSCrypt(key)
	}
	m, err := TLSAuth(key, direction, hash)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// other is the peer's key-direction.
func other(direction int) int {
	if direction < 0 {
		return direction
	}
	return 1 - direction
}

func testKey(t testing.TB) StaticKey {
	t.Helper()
	text, err := os.ReadFile("testdata/static.key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseStaticKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var variants = []struct {
	kind, hash string
	direction  int // the client's
	overhead   int
}{
	{"tls-crypt", "", 0, 40},
	{"tls-auth", "", 1, 28},
	{"tls-auth", "SHA1", -1, 28},
	{"tls-auth", "SHA224", 1, 36},
	{"tls-auth", "sha256", 1, 40},
	{"tls-auth", "SHA384", 0, 56},
	{"tls-auth", "RSA-SHA512", 1, 72},
}

func TestRoundTrip(t *testing.T) {
	for _, v := range variants {
		t.Run(v.kind+v.hash, func(t *testing.T) {
			key := testKey(t)
			clientMethod := method(t, v.kind, v.hash, v.direction, key)
			serverMethod := method(t, v.kind, v.hash, other(v.direction), key)
			if clientMethod.String() != v.kind || clientMethod.Overhead() != v.overhead {
				t.Errorf("got %v with overhead %d, want %s with %d", clientMethod, clientMethod.Overhead(), v.kind, v.overhead)
			}
			client, server := clientMethod.New(false, 1), serverMethod.New(true, 1)
			for i := range 300 {
				from, to := client, server
				if i%2 == 1 {
					from, to = to, from
				}
				plain := make([]byte, headLen+i%200)
				rand.Read(plain)
				prefix := []byte("prefix")
				packet := from.Wrap(bytes.Clone(prefix), t0, plain)
				if !bytes.HasPrefix(packet, prefix) {
					t.Fatal("Wrap changed what stood in dst")
				}
				packet = packet[len(prefix):]
				if len(packet) != len(plain)+v.overhead {
					t.Fatalf("packet has %d bytes, want %d", len(packet), len(plain)+v.overhead)
				}
				if !bytes.Equal(packet[:headLen], plain[:headLen]) {
					t.Fatal("opcode and session id are not in clear")
				}
				before := bytes.Clone(packet)
				got, err := to.Unwrap(bytes.Clone(prefix), t0, packet)
				if err != nil {
					t.Fatal(err)
				}
				if want := append(prefix, plain...); !bytes.Equal(got, want) {
					t.Fatalf("got %x, want %x", got, want)
				}
				if !bytes.Equal(packet, before) {
					t.Fatal("Unwrap changed the packet")
				}
				if _, err := to.Unwrap(nil, t0, packet); !errors.Is(err, ErrReplay) {
					t.Fatalf("second copy: got %v, want ErrReplay", err)
				}
			}
		})
	}
}

// Every byte counts, and so does the direction.
func TestTamper(t *testing.T) {
	for _, v := range variants {
		t.Run(v.kind+v.hash, func(t *testing.T) {
			key := testKey(t)
			client := method(t, v.kind, v.hash, v.direction, key).New(false, 1)
			server := method(t, v.kind, v.hash, other(v.direction), key).New(true, 1)
			packet := client.Wrap(nil, t0, []byte("Xsessionidsome plain text"))
			dst := make([]byte, 3, 200)
			for i := range packet {
				for _, flip := range []byte{1, 0x80} {
					packet[i] ^= flip
					got, err := server.Unwrap(dst, t0, packet)
					if !errors.Is(err, ErrForged) || len(got) != 3 {
						t.Fatalf("byte %d changed: got %d bytes, error %v", i, len(got), err)
					}
					packet[i] ^= flip
				}
			}
			for n := range packet {
				if _, err := server.Unwrap(nil, t0, packet[:n]); err == nil {
					t.Fatalf("accepted when cut to %d bytes", n)
				}
			}
			if bytes.Contains(dst[:cap(dst)], []byte("some plain")) {
				t.Error("plaintext of a forged packet was left behind dst")
			}
			if _, err := client.Unwrap(nil, t0, packet); v.direction >= 0 && !errors.Is(err, ErrForged) {
				t.Errorf("own packet reflected: got %v, want ErrForged", err)
			}
			if _, err := server.Unwrap(nil, t0, packet); err != nil {
				t.Errorf("after all that the true packet is refused: %v", err)
			}
		})
	}
}

// Two real OpenVPN talked, and we read along on both sides.
func TestRealPackets(t *testing.T) {
	text, err := os.ReadFile("testdata/openvpn-2.6.14.txt")
	if err != nil {
		t.Fatal(err)
	}
	key := testKey(t)
	readers := map[string]Wrapper{}
	var n int
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		direction, _ := strconv.Atoi(f[2])
		fromClient := f[3] == "client"
		id := strings.Join(f[:4], " ")
		if readers[id] == nil {
			if fromClient {
				direction = other(direction)
			}
			readers[id] = method(t, f[0], f[1], direction, key).New(fromClient, 1)
		}
		packet, err := hex.DecodeString(f[4])
		if err != nil {
			t.Fatal(err)
		}
		plain, err := readers[id].Unwrap(nil, t0, packet)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		n++
		// The reset has no acks and message id 0; everything else acknowledges something.
		if op := plain[0] >> 3; op == 7 && !bytes.Equal(plain[headLen:], make([]byte, 5)) {
			t.Errorf("%s: client reset ends in %x", id, plain[headLen:])
		} else if op != 7 && (plain[headLen] < 1 || plain[headLen] > 8) {
			t.Errorf("%s: opcode %d with %d acks", id, op, plain[headLen])
		}
		// We would have written the same bytes.
		if again := rewrap(t, f, key, plain, packet); !bytes.Equal(again, packet) {
			t.Errorf("%s: rewrapped to %x, want %x", id, again, packet)
		}
	}
	if n < 16 {
		t.Errorf("only %d packets read", n)
	}
}

// rewrap protects plain again with the stamp found in packet.
func rewrap(t *testing.T, f []string, key StaticKey, plain, packet []byte) []byte {
	t.Helper()
	direction, _ := strconv.Atoi(f[2])
	if f[3] == "server" {
		direction = other(direction)
	}
	m := method(t, f[0], f[1], direction, key)
	at := headLen
	if f[0] == "tls-auth" {
		at += m.Overhead() - stampLen
	}
	id := uint32(packet[at])<<24 | uint32(packet[at+1])<<16 | uint32(packet[at+2])<<8 | uint32(packet[at+3])
	sec := uint32(packet[at+4])<<24 | uint32(packet[at+5])<<16 | uint32(packet[at+6])<<8 | uint32(packet[at+7])
	return m.New(f[3] == "server", id).Wrap(nil, time.Unix(int64(sec), 0), plain)
}

// knownHello is what client_ack_tls_auth_randomid of test_pkt.c protects: no acks, id 1, a ClientHello.
const knownHello = "0000000001160301010c0100010803038caaac3a1a07bde7b750069b940c344b5a35cac479bdc909b07bd9eebb7de725203938e2183336149f34f04459968d0e" +
	"d24776648859e9380397969845fbf5ff230032130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0" +
	"13003300ff0100008d000b000403000102000a000c000a001d0017001e001900180016000000170000000d0030002e040305030603080708080809080a080b08" +
	"0408050806040105010601030302030301020103020202040205020602002b00050403040303002d00020101003300260024001d00200ec97aff58db56f640d1" +
	"eddb9181d6ef83868ab23d88923fd8519cd62656336b"

// Numbers from the unit tests of openvpn (test_pkt.c).
func TestKnownPackets(t *testing.T) {
	key := mustKey(t, `
37268ea8f95d7f71f9fb8fc03770c460 daf714a483d815c013ce0a537efc18f2
8f4f172669d9e6a413bac6741d8ea054 00f49b7fd6326470f23798c606bf53d4
de63ebc64ec59d57ce5d04d5b62e68b5 3ca6e5354351097fa370446c4d269f18
7bb6ae54af2dc70ff7317fe2f8754b82 82aad4202f9fa42c8640245d883e2c54
a0c1c489a036cf3a8964d8d289c1583b 9447c262b1da5fd167a5d27bd5ac5143
17bc2343a31a2efc38dd920d910375f5 1c2e27f3afd36c49269da079f7ce466e
bb0f9ad13e9bbb4665974e6bc24b513c 5700393bf4a3e7f967e2f384069ac8a8
e78b18b15604993fd16515cce9c0f3e4 2b4126b999005ade802797b0eeb8b9e6`)
	for _, c := range []struct{ kind, packet, plain string }{
		{"tls-auth", "38de694c5c7bfba27493537c1ded4e781529ae7cfe4b8c6d6b2b51f05a0000000161d3bf6c0000000000", "38de694c5c7bfba2740000000000"},
		{"tls-auth", "2014014ebc80c6142b7bc876fbc52e27b1c507355bb6006bae71ba4e380000000361d3ff53" + knownHello, "2014014ebc80c6142b" + knownHello},
		{"tls-crypt", "38f419cb12d1f9e48f0000000161d3f8e1330206f56802be44fbed905064e3db43416bec5e526719462b7eb90c96defc9b05c44879f7", "38f419cb12d1f9e48f0000000000"},
	} {
		packet, _ := hex.DecodeString(c.packet)
		plain, err := method(t, c.kind, "SHA1", 0, key).New(true, 1).Unwrap(nil, t0, packet)
		if err != nil || hex.EncodeToString(plain) != c.plain {
			t.Errorf("%s: got %x, %v, want %s", c.kind, plain, err, c.plain)
		}
		packet[20] = 0x23 // in the HMAC
		if _, err := method(t, c.kind, "SHA1", 0, key).New(true, 1).Unwrap(nil, t0, packet); !errors.Is(err, ErrForged) {
			t.Errorf("%s: forged: %v", c.kind, err)
		}
	}
}

func mustKey(t *testing.T, digits string) StaticKey {
	t.Helper()
	key, err := ParseStaticKey([]byte(staticBegin + "\n" + digits + "\n" + staticEnd))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestReplayWindow(t *testing.T) {
	type stamp struct {
		id, seconds uint32
		want        bool
	}
	for name, stamps := range map[string][]stamp{
		"in order":       {{1, 9, true}, {2, 9, true}, {3, 9, true}},
		"first may jump": {{0x0f000001, 9, true}, {0x0f000000, 9, true}},
		"zero":           {{0, 9, false}, {1, 9, true}, {0, 10, false}, {2, 9, true}},
		"reordered":      {{3, 9, true}, {1, 9, true}, {2, 9, true}, {1, 9, false}, {2, 9, false}, {3, 9, false}},
		"edge":           {{64, 9, true}, {1, 9, true}, {65, 9, true}, {1, 9, false}},
		"outside":        {{65, 9, true}, {1, 9, false}, {2, 9, true}},
		"far jump":       {{1, 9, true}, {1000, 9, true}, {1, 9, false}, {999, 9, true}},
		"top":            {{0xffffffff, 9, true}, {0xfffffffe, 9, true}, {1, 9, false}, {1, 10, true}},
		// A stateless server answers each copy of our reset with id 1 and its clock.
		"repeated reset reply": {{1, 9, true}, {1, 9, false}, {1, 11, true}, {1, 15, true}, {2, 15, true}, {1, 11, false}, {3, 14, false}},
	} {
		var w inbound
		for i, s := range stamps {
			var o outbound
			o.next = s.id
			b := o.stamp(nil, time.Unix(int64(s.seconds), 0))
			if s.id == 0 { // outbound never writes it
				b[3] = 0
			}
			if got := w.accept(b); got != s.want {
				t.Errorf("%s: packet %d (%d at %d): got %v", name, i, s.id, s.seconds, got)
			}
		}
	}
}

func TestStamps(t *testing.T) {
	o := outbound{next: 0xfffffffe}
	for i, want := range []string{
		"fffffffe00000064", "ffffffff00000064", // the time stays that of the first packet
		"000000010000006e", "000000020000006e",
	} {
		if got := hex.EncodeToString(o.stamp(nil, time.Unix(100+int64(i)*5, 0))); got != want {
			t.Errorf("packet %d: got %s, want %s", i, got, want)
		}
	}
	o.next = 0
	if got := hex.EncodeToString(o.stamp(nil, time.Unix(1, 0))); got != "000000010000006f" {
		t.Errorf("wrapped while the clock went back: got %s", got)
	}
}

func TestStaticKeyFile(t *testing.T) {
	text, err := os.ReadFile("testdata/static.key")
	if err != nil {
		t.Fatal(err)
	}
	key := testKey(t)
	if !bytes.Equal(key.Text(), text) {
		t.Errorf("Text differs from what openvpn wrote")
	}
	made, err := GenerateStaticKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseStaticKey(made.Text()); err != nil || back != made {
		t.Errorf("a generated key does not survive its text: %v", err)
	}
	if _, err := GenerateStaticKey(bytes.NewReader(make([]byte, 255))); err == nil {
		t.Error("255 random bytes made a key")
	}

	body := strings.Repeat(strings.Repeat("0f", 16)+"\n", 16)
	for name, c := range map[string]struct{ text, want string }{
		"CRLF and text around": {"junk\r\n" + staticBegin + "\r\n" + strings.ReplaceAll(body, "\n", "\r\n") + staticEnd + "\r\nmore", ""},
		"upper case, one line": {staticBegin + "\n" + strings.Repeat("0F ", 256) + "\n" + staticEnd, ""},
		"empty":                {"", "no line"},
		"no begin":             {body + staticEnd, "no line"},
		"no end":               {staticBegin + "\n" + body, "line 17: text ends"},
		"short":                {staticBegin + "\n" + body[33:] + staticEnd, "480 hexadecimal digits"},
		"half a byte short":    {staticBegin + "\n" + body[1:] + staticEnd, "511 hexadecimal digits"},
		"long":                 {staticBegin + "\n" + body + "0\n" + staticEnd, "line 18: more than 256"},
		"not hex":              {staticBegin + "\n" + "0g" + body[2:] + staticEnd, "line 2: not a hex"},
		"two keys":             {staticBegin + "\n" + body + staticEnd + "\n" + staticBegin, "line 19: a second"},
		"huge":                 {strings.Repeat("x", maxStaticText+1), "more than 65536"},
	} {
		key, err := ParseStaticKey([]byte(c.text))
		switch {
		case c.want == "" && (err != nil || key.b[255] != 0x0f):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		case c.want != "" && key != StaticKey{}:
			t.Errorf("%s: half a key came with the error", name)
		}
	}
}

func TestTLSAuthRefuses(t *testing.T) {
	key := testKey(t)
	for _, c := range []struct {
		direction int
		hash      string
	}{{2, "SHA1"}, {-2, ""}, {0, "none"}, {0, "MD5"}, {1, "SHA3-256"}} {
		if _, err := TLSAuth(key, c.direction, c.hash); err == nil {
			t.Errorf("direction %d, hash %q: no error", c.direction, c.hash)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	key := testKey(t)
	digits := hex.EncodeToString(key.b[:4])
	decimal := fmt.Sprintf("%d %d", key.b[0], key.b[1])
	auth, _ := TLSAuth(key, 1, "")
	var out strings.Builder
	for _, v := range []any{key, &key, struct{ K StaticKey }{key}, auth, TLSCrypt(key)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	fmt.Fprintf(&out, "%d %x %X", key, key, key)
	for _, leak := range []string{digits, strings.ToUpper(digits), decimal, string(key.b[:4])} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("key bytes in output: %s", out.String())
		}
	}
}

func FuzzParseStaticKey(f *testing.F) {
	f.Add(testKey(f).Text())
	f.Add([]byte(staticBegin + "\n" + staticEnd))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseStaticKey(text)
		if err != nil {
			return
		}
		if back, err := ParseStaticKey(key.Text()); err != nil || back != key {
			t.Errorf("accepted key does not survive its text: %v", err)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	key := testKey(f)
	for i, v := range variants {
		w := method(f, v.kind, v.hash, v.direction, key).New(false, 1)
		f.Add(uint8(i), w.Wrap(nil, t0, make([]byte, 30)))
	}
	f.Fuzz(func(t *testing.T, i uint8, packet []byte) {
		v := variants[int(i)%len(variants)]
		before := bytes.Clone(packet)
		dst := []byte("dst")
		got, err := method(t, v.kind, v.hash, other(v.direction), key).New(true, 1).Unwrap(dst, t0, packet)
		if !bytes.Equal(packet, before) {
			t.Error("Unwrap changed the packet")
		}
		if err != nil && string(got) != "dst" || err == nil && len(got) != 3+len(packet)-v.overhead {
			t.Errorf("%d bytes became %d, error %v", len(packet), len(got), err)
		}
	})
}
