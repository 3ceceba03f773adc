package proxy

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/crypto/md4"

	"github.com/adit-vpn/adit/ovpn/push"
)

func utf16le(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// ntProof is the NTProofStr of MS-NLMP 3.3.2.
func ntProof(user, domain, password string, challenge, temp []byte) []byte {
	nt := md4.New()
	nt.Write(utf16le(password))
	key := hmac.New(md5.New, nt.Sum(nil))
	key.Write(utf16le(strings.ToUpper(user) + domain))
	m := hmac.New(md5.New, key.Sum(nil))
	m.Write(challenge)
	m.Write(temp)
	return m.Sum(nil)
}

// The example of MS-NLMP 4.2.4 shows that this test judges as Windows does.
func TestNTLMv2OfTheSpecification(t *testing.T) {
	info, _ := hex.DecodeString("02000c0044006f006d00610069006e0001000c0053006500720076006500720000000000")
	temp := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 8)...)
	temp = append(temp, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0)
	temp = append(append(temp, info...), 0, 0, 0, 0)
	challenge, _ := hex.DecodeString("0123456789abcdef")
	if got := hex.EncodeToString(ntProof("User", "Domain", "Password", challenge, temp)); got != "68cd0ab851e51c96aabc927bebef6a1c" {
		t.Fatal(got)
	}
}

// ntlmProxy signs in as a proxy of Windows does: on one connection, in two steps.
func ntlmProxy(t *testing.T) *fakeProxy {
	challenge := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	info, _ := hex.DecodeString("02000c0044006f006d00610069006e0000000000")
	pending := map[int]bool{} // connections that got the challenge; fakeProxy serves one at a time
	return &fakeProxy{answer: func(connection, _ int, r *http.Request) string {
		text, ok := strings.CutPrefix(r.Header.Get("Proxy-Authorization"), "NTLM ")
		m, err := base64.StdEncoding.DecodeString(text)
		switch {
		case !ok:
			return asks("", "Negotiate", "NTLM", "Basic realm=\"x\"")
		case err != nil || len(m) < 12 || string(m[:8]) != "NTLMSSP\x00":
			t.Errorf("no NTLM message: %q", text)
			return ""
		case m[8] == 1:
			pending[connection] = true
			c := append([]byte("NTLMSSP\x00\x02\x00\x00\x00"), 0, 0, 0, 0, 56, 0, 0, 0)
			c = binary.LittleEndian.AppendUint32(c, 0xa2898205&^0x40000000)
			c = append(append(c, challenge...), make([]byte, 8)...)
			c = append(c, byte(len(info)), 0, byte(len(info)), 0, 56, 0, 0, 0)
			c = append(append(c, make([]byte, 8)...), info...)
			return asks("", "NTLM "+base64.StdEncoding.EncodeToString(c))
		case m[8] == 3 && pending[connection]:
			field := func(at int) []byte {
				n, from := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
				return m[from : from+n]
			}
			nt := field(20)
			if len(nt) < 44 {
				t.Errorf("a response of %d bytes is not NTLMv2", len(nt))
				return ""
			}
			if string(field(36)) == string(utf16le("alice")) && string(field(28)) == string(utf16le("LAB")) &&
				hmac.Equal(nt[:16], ntProof("alice", "LAB", secret, challenge, nt[16:])) {
				return established
			}
			return asks("", "NTLM")
		}
		t.Errorf("message %d on a connection that got no challenge", m[8])
		return ""
	}}
}

func TestNTLM(t *testing.T) {
	for auth, requests := range map[Auth]int{NTLM2: 2, Auto: 3, AutoSafe: 3} {
		f := ntlmProxy(t)
		conn, err := connect(t, f, Config{Auth: auth, User: `LAB\alice`, Password: secret}, "vpn.example")
		works(t, conn, err)
		if len(f.requests) != requests || f.dialled.Load() != 1 {
			t.Errorf("%s: %d requests on %d connections", auth, len(f.requests), f.dialled.Load())
		}
		for _, password := range []push.Secret{"geheim?", ""} {
			_, err = connect(t, f, Config{Auth: auth, User: `LAB\alice`, Password: password}, "vpn.example")
			causeIs(t, err, CredentialsRefused, "does not accept")
		}
	}
}

func TestNTLMNeedsOneConnection(t *testing.T) {
	f := ntlmProxy(t)
	answer := f.answer
	f.answer = func(connection, request int, r *http.Request) string {
		return strings.Replace(answer(connection, request, r), "\r\n", "\r\nConnection: close\r\n", 1)
	}
	_, err := connect(t, f, Config{Auth: NTLM2, User: `LAB\alice`, Password: secret}, "vpn.example")
	causeIs(t, err, Broken, "between the steps of NTLM")
}

// CVE-2026-11771 and CVE-2017-7520: a proxy's challenge may be cut anywhere and say any length.
func TestCVE_2026_11771_2017_7520_NTLMChallenges(t *testing.T) {
	whole, _ := base64.StdEncoding.DecodeString("TlRMTVNTUAACAAAABAAEADgAAAAFgooiSlm1ndUhtVMAAAAAAAAAACwALAA8AAAABgEAAAAAAA9WAE0AAgAEAFYATQABAAQAVgBNAAQAAAADAAQAdgBtAAcACACgkVbXRnrdAQAAAAA=")
	try := func(m []byte) {
		s := signIn{c: &Config{Auth: NTLM2, User: "u", Password: "p"}, waiting: true}
		text := "NTLM " + base64.StdEncoding.EncodeToString(m)
		if err := s.challenged(head{challenges: challenges(text)}); err != nil {
			causeIs(t, err, Broken, "NTLM")
		}
	}
	for n := range whole {
		try(whole[:n])
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			m := append([]byte(nil), whole...)
			m[n] = v
			try(m)
		}
	}
	try(whole)
}
