package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
)

func TestControlRoundTrip(t *testing.T) {
	a, b := SessionID{1, 2, 3, 4, 5, 6, 7, 8}, SessionID{9, 9, 9, 9, 9, 9, 9, 9}
	for _, tc := range []struct {
		name string
		c    Control
		hex  string
	}{
		{"client's reset", Control{Op: HardResetClientV2, Session: a, Payload: []byte{}}, "380102030405060708" + "00" + "00000000"},
		{"server's reset", Control{Op: HardResetServerV2, Session: a, Acks: []uint32{0}, Peer: b, Payload: []byte{}},
			"400102030405060708" + "01" + "00000000" + "0909090909090909" + "00000000"},
		{"ack", Control{Op: AckV1, KeyID: 3, Session: a, Acks: []uint32{1, 2}, Peer: b},
			"2b0102030405060708" + "02" + "0000000100000002" + "0909090909090909"},
		{"data", Control{Op: ControlV1, KeyID: 7, Session: a, ID: 0x01020304, Payload: []byte("tls")},
			"270102030405060708" + "00" + "01020304" + "746c73"},
	} {
		want, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		got := AppendControl(nil, tc.c)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", tc.name, got, want)
		}
		back, err := ParseControl(want)
		if err != nil || !reflect.DeepEqual(back, tc.c) {
			t.Errorf("%s: parsed %+v (%v), want %+v", tc.name, back, err, tc.c)
		}
		for n := range want[:len(want)-len(tc.c.Payload)] {
			if _, err := ParseControl(want[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", tc.name, n, err)
			}
		}
	}
}

// The packets are those of openvpn's test_pkt.c that have no protection.
func TestKnownControlPackets(t *testing.T) {
	id := SessionID{0xae, 0xb9, 0xaf, 0xe1, 0xf0, 0x1d, 0x79, 0xc8}
	peer := SessionID{0xdd, 0x85, 0xdb, 0x53, 0x56, 0x23, 0xb0, 0x2e}
	for _, tc := range []struct {
		name, hex string
		want      Control
	}{
		{"client_reset_v2_none", "386891923fa31034370000000000", Control{Op: HardResetClientV2, Session: SessionID{0x68, 0x91, 0x92, 0x3f, 0xa3, 0x10, 0x34, 0x37}, Payload: []byte{}}},
		{"client_control_with_ack", "207819bf2ebcd19a450100000000eafebfa4418ae31b00000001160301", Control{Op: ControlV1, Session: SessionID{0x78, 0x19, 0xbf, 0x2e, 0xbc, 0xd1, 0x9a, 0x45},
			Acks: []uint32{0}, Peer: SessionID{0xea, 0xfe, 0xbf, 0xa4, 0x41, 0x8a, 0xe3, 0x1b}, ID: 1, Payload: []byte{0x16, 3, 1}}},
		{"client_ack_none_random_id", "28aeb9afe1f01d79c80100000000dd85db535623b02e", Control{Op: AckV1, Session: id, Acks: []uint32{0}, Peer: peer}},
		{"client_ack_123_none_random_id", "28aeb9afe1f01d79c803000000000000000100000002dd85db535623b02e", Control{Op: AckV1, Session: id, Acks: []uint32{0, 1, 2}, Peer: peer}},
	} {
		b, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseControl(b); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
		if got := AppendControl(nil, tc.want); !bytes.Equal(got, b) {
			t.Errorf("%s: made %x", tc.name, got)
		}
	}
	short, _ := hex.DecodeString("20aeb9afe1f01d79c8010000000002") // client_control_none_random_id
	if _, err := ParseControl(short); !errors.Is(err, ErrMalformed) {
		t.Errorf("client_control_none_random_id: %v", err)
	}
}

func TestControlRefuses(t *testing.T) {
	ack := AppendControl(nil, Control{Op: AckV1, Acks: []uint32{1}})
	ack[9] = 9 // more acks than the packet may have
	for name, b := range map[string][]byte{
		"key method 1": append([]byte{1 << 3}, make([]byte, 20)...),
		"data":         append([]byte{9 << 3}, make([]byte, 20)...),
		"nine acks":    append(ack, make([]byte, 64)...),
		"empty ack":    AppendControl(nil, Control{Op: AckV1}),
	} {
		if _, err := ParseControl(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeader(t *testing.T) {
	for op := range Opcode(32) {
		for id := range uint8(8) {
			if o, i := SplitHeader(Header(op, id)); o != op || i != id {
				t.Errorf("opcode %d key %d became %d %d", op, id, o, i)
			}
		}
	}
	if PeerID([]byte{0x48, 1, 2, 3}) != 0x010203 || !IsData(0x48) || !IsData(0x30) || IsData(0x20) {
		t.Error("data header")
	}
}

func FuzzControl(f *testing.F) {
	f.Add(AppendControl(nil, Control{Op: HardResetClientV2, Session: SessionID{1}}))
	f.Add(AppendControl(nil, Control{Op: ControlV1, Acks: []uint32{1, 2, 3, 4}, ID: 5, Payload: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseControl(b)
		if err != nil {
			return
		}
		back := AppendControl(nil, c)
		if c.Op == AckV1 {
			b = b[:min(len(b), len(back))] // what follows the acks is ignored
		}
		if !bytes.Equal(back, b) {
			t.Errorf("% x became % x", b, back)
		}
	})
}
