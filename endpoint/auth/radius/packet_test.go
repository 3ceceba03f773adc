package radius

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 2865 §7.1.
func TestRFC2865(t *testing.T) {
	secret := []byte("xyzzy5461")
	var authenticator [16]byte
	copy(authenticator[:], unhex(t, "0f403f9473978057bd83d5cb98f4227a"))
	r := newRequest(0, authenticator, secret)
	at := len(r.b)
	r.password([]byte("arctangent"))
	if got := r.b[at+2:]; !bytes.Equal(got, unhex(t, "0dbe708d93d413ce3196e43f782a0aee")) {
		t.Errorf("hidden password %x", got)
	}
	accept := unhex(t, "0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103")
	got, err := parseReply(accept, r.bytes(), secret, false)
	if err != nil || got.code != codeAccept || len(got.attributes) != 3 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := parseReply(accept, r.bytes(), secret, true); !errors.Is(err, errNoMessageAuth) {
		t.Errorf("unsigned: %v", err)
	}
	if _, err := parseReply(accept, r.bytes(), []byte("xyzzy5462"), false); !errors.Is(err, errAuthenticator) {
		t.Errorf("another secret: %v", err)
	}
	if _, err := parseReply(append(bytes.Clone(accept), "padding"...), r.bytes(), secret, false); err != nil {
		t.Errorf("with padding: %v", err)
	}
}

// The examples of RFC 2433 §B and RFC 2759 §9.2.
func TestMSCHAP(t *testing.T) {
	if got := challengeResponse(unhex(t, "102db5df085d3041"), ntHash([]byte("MyPw"))); !bytes.Equal(got, unhex(t, "4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61")) {
		t.Errorf("version 1: %x", got)
	}
	challenge, peer := unhex(t, "5b5d7c7d7b3f2f3e3c2c602132262628"), unhex(t, "21402324255e262a28295f2b3a337c7e")
	response := challengeResponse(challengeHash(peer, challenge, "User"), ntHash([]byte("clientPass")))
	if !bytes.Equal(response, unhex(t, "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")) {
		t.Errorf("version 2: %x", response)
	}
	if got := successOf([]byte("clientPass"), response, peer, challenge, "User"); got != "S=407A5589115FD0D6209F510FE9C04566932CDA56" {
		t.Errorf("success %s", got)
	}
}

// TestMessageAuthenticatorFirst: nothing that a user chose stands before it.
func TestMessageAuthenticatorFirst(t *testing.T) {
	for _, p := range []Protocol{PAP, CHAP, MSCHAPv1, MSCHAPv2} {
		c := &Client{cfg: Config{Secret: "testing123", Protocol: p}}
		b := c.build(Question{User: "alice", Password: "123456", State: &State{value: []byte("state")}}).packet
		if b[0] != codeRequest || int(binary.BigEndian.Uint16(b[2:])) != len(b) || b[headerLen] != attrAuthenticator || b[headerLen+1] != 18 {
			t.Fatalf("%s: %x", p, b)
		}
		zeroed := bytes.Clone(b)
		clear(zeroed[headerLen+2:][:md5.Size])
		mac := hmac.New(md5.New, []byte("testing123"))
		mac.Write(zeroed)
		if !hmac.Equal(mac.Sum(nil), b[headerLen+2:][:md5.Size]) {
			t.Errorf("%s: wrong Message-Authenticator", p)
		}
		if bytes.Contains(b, []byte("123456")) {
			t.Errorf("%s: the code is in the packet", p)
		}
	}
}

// answer makes a server's answer to a request.
func answer(code byte, sent, secret []byte, signed bool, attributes ...attribute) []byte {
	b := append([]byte{code, sent[1], 0, 0}, sent[4:headerLen]...)
	at := -1
	if signed {
		at = len(b) + 2
		b = append(b, append([]byte{attrAuthenticator, 18}, make([]byte, 16)...)...)
	}
	for _, a := range attributes {
		b = append(append(b, a.kind, byte(2+len(a.value))), a.value...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if signed {
		mac := hmac.New(md5.New, secret)
		mac.Write(b)
		copy(b[at:], mac.Sum(nil))
	}
	return reseal(b, sent, secret)
}

// reseal makes the response authenticator of a packet right again.
func reseal(b, sent, secret []byte) []byte {
	h := md5.New()
	h.Write(b[:4])
	h.Write(sent[4:headerLen])
	h.Write(b[headerLen:])
	h.Write(secret)
	copy(b[4:], h.Sum(nil))
	return b
}

func TestParseReply(t *testing.T) {
	secret := []byte("testing123")
	sent := (&Client{cfg: Config{Secret: "testing123", Protocol: PAP}}).build(Question{User: "a", Password: "1"}).packet
	good := func() []byte {
		return answer(codeAccept, sent, secret, true, attribute{attrReplyMessage, []byte("hello")})
	}
	if r, err := parseReply(good(), sent, secret, true); err != nil || string(r.first(attrReplyMessage)) != "hello" {
		t.Fatalf("%+v %v", r, err)
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"empty", nil, errMalformed},
		{"a header cut off", good()[:19], errMalformed},
		{"shorter than it says", good()[:30], errMalformed},
		{"length below the header's", func() []byte { b := good(); b[3] = 19; return b }(), errMalformed},
		{"length above the limit", append(func() []byte { b := good(); b[2] = 0x20; return b }(), make([]byte, 9000)...), errMalformed},
		{"another identifier", func() []byte { b := good(); b[1]++; return reseal(b, sent, secret) }(), errOther},
		{"a request", func() []byte { b := good(); b[0] = codeRequest; return reseal(b, sent, secret) }(), errOther},
		{"an accounting answer", func() []byte { b := good(); b[0] = 5; return reseal(b, sent, secret) }(), errOther},
		{"an attribute without length", reseal(func() []byte { b := append(good(), 18); b[3]++; return b }(), sent, secret), errMalformed},
		{"an attribute of length 1", reseal(func() []byte { b := append(good(), 18, 1); b[3] += 2; return b }(), sent, secret), errMalformed},
		{"an attribute beyond the end", reseal(func() []byte { b := append(good(), 18, 9, 'x'); b[3] += 3; return b }(), sent, secret), errMalformed},
		{"a reject made an accept", func() []byte { b := answer(codeReject, sent, secret, true); b[0] = codeAccept; return b }(), errAuthenticator},
		{"signed twice", answer(codeAccept, sent, secret, true, attribute{attrAuthenticator, make([]byte, 16)}), errTwoMessageAuth},
		{"a short signature", answer(codeAccept, sent, secret, false, attribute{attrAuthenticator, make([]byte, 15)}), errMalformed},
		{"another secret", answer(codeAccept, sent, []byte("testing124"), true), errAuthenticator},
		{"another request", answer(codeAccept, func() []byte { b := bytes.Clone(sent); b[4]++; return b }(), secret, true), errAuthenticator},
	} {
		if r, err := parseReply(tc.b, sent, secret, true); !errors.Is(err, tc.want) {
			t.Errorf("%s: %+v, %v, want %v", tc.name, r, err, tc.want)
		}
	}
	for i := range good() {
		b := good()
		b[i] ^= 1
		if _, err := parseReply(b, sent, secret, true); err == nil {
			t.Errorf("byte %d may change", i)
		}
	}
}

// BlastRADIUS: with a chosen prefix collision the response authenticator of another answer, which is MD5, is right; only
// the HMAC of Message-Authenticator is not. An answer without one is worth nothing.
func TestCVE_2024_3596_ForgedAnswers(t *testing.T) {
	secret := []byte("testing123")
	sent := (&Client{cfg: Config{Secret: "testing123", Protocol: PAP}}).build(Question{User: "a", Password: "1"}).packet
	forged := answer(codeReject, sent, secret, true)
	forged[0] = codeAccept
	reseal(forged, sent, secret) // what the collision does
	for _, need := range []bool{true, false} {
		if _, err := parseReply(forged, sent, secret, need); !errors.Is(err, errMessageAuth) {
			t.Errorf("a reject made an accept: %v", err)
		}
	}
	if _, err := parseReply(answer(codeAccept, sent, secret, false), sent, secret, true); !errors.Is(err, errNoMessageAuth) {
		t.Errorf("without Message-Authenticator: %v", err)
	}
	if sent[headerLen] != attrAuthenticator {
		t.Error("our own is not in front")
	}
}

func FuzzReply(f *testing.F) {
	secret := []byte("testing123")
	sent := (&Client{cfg: Config{Secret: "testing123", Protocol: MSCHAPv2}}).build(Question{User: "a", Password: "1"}).packet
	f.Add(answer(codeAccept, sent, secret, true), true)
	f.Add(answer(codeChallenge, sent, secret, true, attribute{attrState, []byte("s")}, attribute{attrReplyMessage, []byte("code?\n")}, attribute{attrPrompt, []byte{0, 0, 0, 1}}), true)
	f.Add(answer(codeAccept, sent, secret, false, attribute{attrVendor, []byte{0, 0, 1, 0x37, 26, 45, 1, 'S', '='}}), false)
	f.Add([]byte{2, 0, 0, 20}, true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if len(b) >= headerLen && len(b) <= maxPacket {
			b = bytes.Clone(b)
			b[1] = sent[1]
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			reseal(b, sent, secret) // so that the fuzzer gets behind the checksum
		}
		r, err := parseReply(b, sent, secret, sealed)
		if err != nil {
			return
		}
		if sealed && len(r.first(attrAuthenticator)) != md5.Size {
			t.Fatalf("accepted without Message-Authenticator: %x", b)
		}
		if a := answerOf(r, 0); len(a.Message) > maxMessage {
			t.Fatalf("a message of %d bytes", len(a.Message))
		}
		if r.provesSuccess(1, "S=407A5589115FD0D6209F510FE9C04566932CDA56") && len(r.vendor(msCHAP2Success)) < 43 {
			t.Fatal("a short proof")
		}
		r.number(attrSessionTimeout)
	})
}
