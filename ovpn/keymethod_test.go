package ovpn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

func sampleMessage(role Role) *keyMessage {
	m := &keyMessage{options: "V4,cipher AES-256-GCM", username: "alice", password: push.Secret("pass word"), peerInfo: "IV_PROTO=142\nIV_VER=2.6.0\n"}
	for i := range m.source.random1 {
		m.source.random1[i], m.source.random2[i] = byte(i), byte(255-i)
	}
	if role == Client {
		m.source.preMaster[0] = 7
	}
	return m
}

func TestKeyMessageBothLayouts(t *testing.T) {
	for _, role := range []Role{Client, Server} {
		for _, enc := range []Encoding{Stock, AWS32} {
			want := sampleMessage(role)
			b := appendKeyMessage(nil, role, enc, want)
			got, gotEnc, err := parseKeyMessage(b, role, maxKeyMessage)
			if err != nil || gotEnc != enc || !reflect.DeepEqual(got, want) {
				t.Errorf("role %d layout %d: %+v %d %v", role, enc, got, gotEnc, err)
			}
			for n := range b {
				_, _, err := parseKeyMessage(b[:n], role, maxKeyMessage)
				// Old peers end behind the options, the name or the password.
				if err != nil && !errors.Is(err, errShortKeyMessage) {
					t.Errorf("role %d layout %d cut to %d: %v", role, enc, n, err)
				}
				if err == nil && enc == AWS32 {
					t.Errorf("cut to %d of %d was taken whole", n, len(b))
				}
			}
		}
	}
}

func TestCVE_2017_12166_KeyMessageRefuses(t *testing.T) {
	good := appendKeyMessage(nil, Client, Stock, sampleMessage(Client))
	method1 := append([]byte(nil), good...)
	method1[4] = 1
	inside := appendKeyMessage(nil, Client, Stock, &keyMessage{options: "a\x00b"})
	for name, b := range map[string][]byte{
		"key method 1": method1, "NUL inside": inside,
		"total length over the bound": append([]byte{0xff, 0xff, 0xff, 0x7f, 2}, make([]byte, 200)...),
		"total length too small":      append([]byte{9, 0, 0, 0, 2}, make([]byte, 200)...),
	} {
		if _, _, err := parseKeyMessage(b, Client, maxKeyMessage); !errors.Is(err, errBadKeyMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Too long is not malformed: the peer fails to authenticate, and is told so.
func TestKeyMessageTooLong(t *testing.T) {
	for _, m := range []keyMessage{
		{options: "o", username: strings.Repeat("u", maxUsername), password: "p", peerInfo: "A=b\n"},
		{options: "o", username: "u", password: push.Secret(strings.Repeat("p", maxPassword)), peerInfo: "A=b\n"},
	} {
		got, _, err := parseKeyMessage(appendKeyMessage(nil, Client, AWS32, &m), Client, maxKeyMessage)
		if err != nil {
			t.Fatal(err)
		}
		if !got.tooLong || got.username != "" || got.password != "" || got.peerInfo != "A=b\n" {
			t.Errorf("too long %v, %d and %d bytes, peer info %q", got.tooLong, len(got.username), len(got.password), got.peerInfo)
		}
	}
}

func FuzzParseKeyMessage(f *testing.F) {
	for _, enc := range []Encoding{Stock, AWS32} {
		f.Add(appendKeyMessage(nil, Client, enc, sampleMessage(Client)), true)
		f.Add(appendKeyMessage(nil, Server, enc, sampleMessage(Server)), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, fromClient bool) {
		role := Server
		if fromClient {
			role = Client
		}
		m, enc, err := parseKeyMessage(b, role, maxKeyMessage)
		if err != nil {
			return
		}
		again, _, err := parseKeyMessage(appendKeyMessage(nil, role, enc, m), role, maxKeyMessage)
		m.fewer = false // we write all fields
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v became %+v (%v)", m, again, err)
		}
		parsePeerInfo(m.peerInfo)
	})
}

// Whatever text arrives inside TLS, a session answers or ignores it; it never panics.
func FuzzControlMessage(f *testing.F) {
	f.Add("PUSH_REPLY,ifconfig 10.8.0.2 255.255.255.0,peer-id 1,cipher AES-256-GCM,push-continuation 2", false)
	f.Add("AUTH_FAILED,CRV1:R:x:y:z", false)
	f.Add("AUTH_PENDING,timeout 60", false)
	f.Add("RESTART,[P]:later", false)
	f.Add("PUSH_REQUEST", true)
	f.Fuzz(func(t *testing.T, text string, server bool) {
		s := &Session{data: newData(Client, 0, replayLimit{}), cfg: Config{Ciphers: DefaultCiphers()}}
		if server {
			s.cfg.Role = Server
		}
		k := &key{peer: &keyMessage{}}
		s.keys = []*key{k}
		s.record(k, append([]byte(text), 0))
	})
}

// A password may be longer than a record; where the records part does not matter.
func TestKeyMessageInSeveralRecords(t *testing.T) {
	for _, enc := range []Encoding{Stock, AWS32} {
		for size := 16_100; size < 16_384; size++ {
			want := sampleMessage(Client)
			want.password = push.Secret(strings.Repeat("p", size))
			b := appendKeyMessage(nil, Client, enc, want)
			for _, chunk := range []int{maxRecord, 4096, 1000} {
				if enc == Stock && chunk < maxRecord {
					continue // without a length in front, only a full record says that more follows
				}
				k := &key{}
				var got *keyMessage
				for part := range slices.Chunk(b, chunk) {
					if got != nil {
						t.Fatalf("layout %d, password of %d bytes, records of %d: taken before its end", enc, size, chunk)
					}
					var err error
					if got, err = k.collect(part, Client, maxKeyMessage); err != nil {
						t.Fatal(err)
					}
				}
				if !reflect.DeepEqual(got, want) || k.plain != nil {
					t.Fatalf("layout %d, password of %d bytes, records of %d: %+v", enc, size, chunk, got)
				}
			}
		}
	}
}

// What announces more than Config.KeyMessage is refused at its first record, and what is longer without saying so before it is kept.
func TestKeyMessageLimit(t *testing.T) {
	const limit = 8 << 10
	for _, enc := range []Encoding{Stock, AWS32} {
		m := sampleMessage(Client)
		m.password = push.Secret(strings.Repeat("p", limit-len(appendKeyMessage(nil, Client, enc, m))-1+len(m.password)))
		for more, want := range map[push.Secret]error{"": nil, "p": nil, "pp": errBadKeyMessage} {
			longer := *m
			longer.password += more
			b := appendKeyMessage(nil, Client, enc, &longer)
			s := &Session{keys: []*key{{}}}
			k := s.keys[0]
			if enc == AWS32 {
				_, err := k.collect(b[:200], Client, limit)
				if !errors.Is(err, want) || (s.Collecting() >= 200) != (want == nil) || s.Collecting() > 1000 {
					t.Errorf("%d bytes announced: %v, %d kept", len(b), err, s.Collecting())
				}
				if b = b[200:]; want != nil {
					continue
				}
			}
			got, err := k.collect(b, Client, limit)
			if !errors.Is(err, want) || (got == nil) != (want != nil) || s.Collecting() != 0 {
				t.Errorf("layout %d, %d bytes: %v, %v, %d kept", enc, len(b), got, err, s.Collecting())
			}
		}
	}
}

// A peer that never comes to an end, or says something else first.
func TestKeyMessageHostileRecords(t *testing.T) {
	end := func(record []byte, n int) (records int, err error) {
		k := &key{}
		for m := (*keyMessage)(nil); err == nil && m == nil && records < n; records++ {
			m, err = k.collect(record, Client, maxKeyMessage)
		}
		return records, err
	}
	for name, record := range map[string][]byte{
		"a message first": []byte("PUSH_REQUEST\x00"),
		"zeros":           make([]byte, maxRecord),
		"full records":    bytes.Repeat([]byte{0xff}, maxRecord),
		"no end":          append(binary.LittleEndian.AppendUint32(nil, maxKeyMessage), bytes.Repeat([]byte{2}, 1000)...),
	} {
		if n, err := end(record, 1000); !errors.Is(err, errBadKeyMessage) {
			t.Errorf("%s: %d records were taken, %v", name, n, err)
		}
	}
}
