package managed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/windows/registry"
)

// Registry is a key below HKEY_LOCAL_MACHINE, which only administrators can write where it is one of group policies'
// (SOFTWARE\Policies). Safe for concurrent use.
type Registry struct{ Path string }

// Values returns the key's values, and its subkeys as lists. Its error wraps fs.ErrNotExist where the key is missing or
// empty, as group policies leave it behind.
func (r Registry) Values() (map[string]any, error) {
	const how = registry.QUERY_VALUE | registry.ENUMERATE_SUB_KEYS | registry.WOW64_64KEY
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, r.Path, how)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	own, err := read(k)
	if err != nil {
		return nil, err
	}
	names, err := k.ReadSubKeyNames(maxRegistryKeys + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > maxRegistryKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxRegistryKeys)
	}
	lists := map[string]map[string]rawValue{}
	for _, name := range names {
		sub, err := registry.OpenKey(k, name, how)
		if err == nil {
			lists[name], err = read(sub)
			sub.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(own) == 0 && len(lists) == 0 {
		return nil, fs.ErrNotExist
	}
	return valuesOf(own, lists)
}

// read returns the values of one key. The one without a name, which every key has and nobody means, is left out where it
// is empty.
func read(k registry.Key) (map[string]rawValue, error) {
	names, err := k.ReadValueNames(maxRegistryNames + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > maxRegistryNames {
		return nil, fmt.Errorf("it has more than %d values", maxRegistryNames)
	}
	out := map[string]rawValue{}
	for _, name := range names {
		buf := make([]byte, maxRegistryValue)
		n, kind, err := k.GetValue(name, buf)
		if errors.Is(err, registry.ErrShortBuffer) {
			err = fmt.Errorf("it has more than %d bytes", maxRegistryValue)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if name == "" && n <= 2 {
			continue
		}
		out[name] = rawValue{kind, buf[:n]}
	}
	return out, nil
}
