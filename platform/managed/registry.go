package managed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
)

// What of the registry is no call of the system, and builds on all of them.

// Limits of what is read of a key.
const (
	maxRegistryKeys  = 64  // subkeys
	maxRegistryNames = 300 // values of a key
	maxRegistryValue = 64 << 10
)

// Types of values (winnt.h).
const (
	RegText   = 1 // REG_SZ
	RegNumber = 4 // REG_DWORD
	RegTexts  = 7 // REG_MULTI_SZ
	regLarge  = 11
)

// RegistryValue is a value as the registry has it: Kind is REG_SZ and so on, texts are UTF-16, little end first.
type RegistryValue struct {
	Kind uint32
	Data []byte
}

// RegistryValues makes values of a key's own and of its subkeys', which are lists: what templates for group policies write
// for a list are values named 1, 2 and so on in a key of the list's name. A subkey without values is no list: group
// policies leave one behind of a list that is not set any more, and while they write one anew. The error wraps
// fs.ErrNotExist where nothing is there.
func RegistryValues(own map[string]RegistryValue, lists map[string]map[string]RegistryValue) (map[string]any, error) {
	out := map[string]any{}
	for name, raw := range own {
		v, err := raw.value()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = v
	}
	for name, entries := range lists {
		if len(entries) == 0 {
			continue
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s: it is there twice, as a value and as a key", name)
		}
		list := []string{}
		for _, entry := range slices.SortedFunc(maps.Keys(entries), byNumber) {
			v, err := entries[entry].value()
			text, ok := v.(string)
			if err == nil && !ok {
				err = errors.New("it is not a text (REG_SZ)")
			}
			if err != nil {
				return nil, fmt.Errorf(`%s\%s: %w`, name, entry, err)
			}
			list = append(list, text)
		}
		out[name] = list
	}
	if len(out) == 0 {
		return nil, fs.ErrNotExist
	}
	return out, nil
}

// byNumber orders names as numbers where both are.
func byNumber(a, b string) int {
	m, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	switch {
	case err1 == nil && err2 == nil && m != n:
		return m - n
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (r RegistryValue) value() (any, error) {
	switch {
	case r.Kind == RegNumber && len(r.Data) == 4:
		return int64(binary.LittleEndian.Uint32(r.Data)), nil
	case r.Kind == regLarge && len(r.Data) == 8:
		return binary.LittleEndian.Uint64(r.Data), nil
	case r.Kind == RegText && len(r.Data)%2 == 0:
		texts := split(r.Data)
		if len(texts) > 1 {
			return nil, errors.New("there is more behind its end")
		}
		if len(texts) == 0 {
			return "", nil
		}
		return texts[0], nil
	case r.Kind == RegTexts && len(r.Data)%2 == 0:
		texts := split(r.Data)
		if n := len(texts); n > 0 && texts[n-1] == "" { // the list's end
			texts = texts[:n-1]
		}
		return texts, nil
	}
	return nil, fmt.Errorf("a value of type %d and %d bytes is none that is read: REG_DWORD, REG_SZ or REG_MULTI_SZ", r.Kind, len(r.Data))
}

// split cuts UTF-16 texts at their ends, of which the last may be missing.
func split(b []byte) []string {
	out := []string{}
	var text []uint16
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c != 0 {
			text = append(text, c)
			continue
		}
		out, text = append(out, string(utf16.Decode(text))), nil
	}
	if text != nil {
		out = append(out, string(utf16.Decode(text)))
	}
	return out
}
