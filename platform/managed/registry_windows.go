package managed

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/windows/registry"
)

// Registry is a key below HKEY_LOCAL_MACHINE, which only administrators can write where it is one of group policies'
// (SOFTWARE\Policies). Safe for concurrent use.
type Registry struct{ Path string }

// Values returns what RegistryValues makes of the key. Its error wraps fs.ErrNotExist where the key is missing or
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
	lists := map[string]map[string]RegistryValue{}
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
	return RegistryValues(own, lists)
}

// read returns the values of one key. The one without a name, which every key has and nobody means, is left out where it
// is empty.
func read(k registry.Key) (map[string]RegistryValue, error) {
	names, err := k.ReadValueNames(maxRegistryNames + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > maxRegistryNames {
		return nil, fmt.Errorf("it has more than %d values", maxRegistryNames)
	}
	out := map[string]RegistryValue{}
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
		out[name] = RegistryValue{kind, buf[:n]}
	}
	return out, nil
}

// Write makes values all that is in the key. Their types are bool, int, string and []string. What is there under other names goes,
// lists in keys of their own included. Names ignore case: one that is there keeps its spelling.
func (r Registry) Write(values map[string]any) error {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, r.Path, registry.ALL_ACCESS|registry.WOW64_64KEY)
	if err != nil {
		return err
	}
	defer k.Close()
	lists, err := k.ReadSubKeyNames(-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for name, value := range values {
		if err := set(k, lists, name, value); err != nil {
			return err
		}
	}
	names, err := k.ReadValueNames(-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, name := range names {
		if stays(values, name) {
			continue
		}
		if err := k.DeleteValue(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return removeKeys(k)
}

func stays(values map[string]any, name string) bool {
	for wanted := range values {
		if strings.EqualFold(wanted, name) {
			return true
		}
	}
	return false
}

// Set makes value, of a type as Write takes them, the one of that name, and leaves the others. The key is made where it is missing.
func (r Registry) Set(name string, value any) error {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, r.Path, registry.ALL_ACCESS|registry.WOW64_64KEY)
	if err != nil {
		return err
	}
	defer k.Close()
	lists, err := k.ReadSubKeyNames(-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return set(k, lists, name, value)
}

// set writes one value. A list of its name, a key of its own, goes first: a reader would find it twice.
func set(k registry.Key, lists []string, name string, value any) (err error) {
	for _, list := range lists {
		if strings.EqualFold(list, name) {
			if err := registry.DeleteKey(k, list); err != nil {
				return fmt.Errorf("%s: %w", list, err)
			}
		}
	}
	switch v := value.(type) {
	case bool:
		n := uint32(0)
		if v {
			n = 1
		}
		err = k.SetDWordValue(name, n)
	case int:
		if v < 0 || v > math.MaxInt32 {
			return fmt.Errorf("%s: %d is no number for the registry", name, v)
		}
		err = k.SetDWordValue(name, uint32(v))
	case string:
		err = k.SetStringValue(name, v)
	case []string:
		err = k.SetStringsValue(name, v)
	default:
		err = fmt.Errorf("a value of type %T is none that is written", v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Remove removes the key. Its error wraps fs.ErrNotExist where it is missing.
func (r Registry) Remove() error {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, r.Path, registry.ENUMERATE_SUB_KEYS|registry.WOW64_64KEY)
	if err != nil {
		return err
	}
	err = removeKeys(k)
	k.Close()
	if err != nil {
		return err
	}
	return registry.DeleteKey(registry.LOCAL_MACHINE, r.Path)
}

// removeKeys removes the keys below one, which have none below themselves: lists.
func removeKeys(k registry.Key) error {
	names, err := k.ReadSubKeyNames(-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, name := range names {
		if err := registry.DeleteKey(k, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
