package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func TestEarly(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		want      Early
		err       error
	}{
		{"nothing", "", Early{}, nil},
		{"resend", "000100020001", Early{ResendWKC: true}, nil},
		{"other flags too", "00010002ffff", Early{ResendWKC: true}, nil},
		{"other flags only", "00010002fffe", Early{}, nil},
		{"unknown type first", "7777000301020300010002" + "0001", Early{ResendWKC: true}, nil},
		{"empty value", "00020000", Early{}, nil},
		{"later flags do not take it back", "000100020001" + "000100020000", Early{ResendWKC: true}, nil},
		{"flags of one byte", "0001000101", Early{}, ErrMalformed},
		{"flags of three bytes", "00010003000100", Early{}, ErrMalformed},
		{"cut header", "000100", Early{}, ErrMalformed},
		{"cut value", "0001000200", Early{}, ErrMalformed},
		{"length beyond the packet", "0002ffff00", Early{}, ErrMalformed},
		{"trailing byte", "00010002000100", Early{}, ErrMalformed},
	} {
		b, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseEarly(b); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
	if got := hex.EncodeToString(AppendEarly([]byte{9}, Early{ResendWKC: true})); got != "09000100020001" {
		t.Errorf("appended %s", got)
	}
	if got := AppendEarly(nil, Early{}); len(got) > 0 {
		t.Errorf("nothing to say became %x", got)
	}
}

func FuzzEarly(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 1})
	f.Add([]byte{0, 7, 0, 1, 9, 0, 1, 0, 2, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		e, err := ParseEarly(b)
		if !bytes.Equal(b, before) {
			t.Error("the input changed")
		}
		if err != nil {
			if e != (Early{}) {
				t.Error("half a result came with an error")
			}
			return
		}
		if back, err := ParseEarly(AppendEarly(nil, e)); err != nil || back != e {
			t.Errorf("%+v became %+v, %v", e, back, err)
		}
	})
}
