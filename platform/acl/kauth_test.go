package acl

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// filesec is a list with entries of flags and rights.
func filesec(entries ...[2]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, kauthMagic)
	b = append(b, make([]byte, 32)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, e := range entries {
		b = append(b, bytes.Repeat([]byte{0xab}, 16)...) // whose rights these are
		b = binary.LittleEndian.AppendUint32(b, e[0])
		b = binary.LittleEndian.AppendUint32(b, e[1])
	}
	return b
}

func TestKauth(t *testing.T) {
	const inherited, deny = 1 << 4, 2
	none := filesec()
	binary.LittleEndian.PutUint32(none[36:], kauthNone)
	for _, c := range []struct {
		name string
		list []byte
		want string // in the fault; empty: none
	}{
		{"no list", nil, ""},
		{"no entries", filesec(), ""},
		{"said to be none", none, ""},
		{"group:everyone deny delete, as folders of the system have", filesec([2]uint32{deny, 1 << 4}), ""},
		{"somebody may read", filesec([2]uint32{kauthPermit, 1<<1 | 1<<7 | 1<<9 | 1<<11 | 1<<24}), ""},
		{"somebody may write", filesec([2]uint32{deny, 1 << 4}, [2]uint32{kauthPermit, 1 << 2}), "entry 1 of"},
		{"somebody may delete", filesec([2]uint32{kauthPermit | inherited, 1 << 4}), "entry 0 of"},
		{"somebody may add", filesec([2]uint32{kauthPermit, 1 << 5}), "entry 0 of"},
		{"somebody may give rights", filesec([2]uint32{kauthPermit, 1 << 12}), "entry 0 of"},
		{"somebody may take it", filesec([2]uint32{kauthPermit, 1 << 13}), "entry 0 of"},
		{"somebody may do all", filesec([2]uint32{kauthPermit, 1 << 21}), "entry 0 of"},
		{"only for what is inside", filesec([2]uint32{kauthPermit | kauthOnlyInherit, 1 << 2}), ""},
		{"cut off", filesec([2]uint32{kauthPermit, 0})[:60], "not understood"},
		{"another magic", make([]byte, 44), "not understood"},
		{"short", []byte{1}, "not understood"},
	} {
		if got := kauthFault(c.list); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzKauth(f *testing.F) {
	f.Add(filesec([2]uint32{kauthPermit, 1 << 2}))
	f.Add(filesec())
	f.Fuzz(func(t *testing.T, b []byte) {
		if kauthFault(b) == "" && len(b) > 0 && len(b) < kauthHeader {
			t.Errorf("%x is a list without fault", b)
		}
	})
}
