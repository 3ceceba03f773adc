package release

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Same compares all files of two releases, by their hashes, says how many there are, and names those that differ or are in one of them alone.
func Same(one, other string) (files int, err error) {
	a, err := hashes(one)
	if err != nil {
		return 0, err
	}
	b, err := hashes(other)
	if err != nil {
		return 0, err
	}
	if len(a) == 0 {
		return 0, fmt.Errorf("%s is empty", one)
	}
	both := keys(a)
	for name := range b {
		both[name] = true
	}
	var found []error
	for _, name := range sortedKeys(both) {
		switch {
		case a[name] == "":
			found = append(found, fmt.Errorf("%s is in %s alone", name, other))
		case b[name] == "":
			found = append(found, fmt.Errorf("%s is in %s alone", name, one))
		case a[name] != b[name]:
			found = append(found, fmt.Errorf("%s differs", name))
		}
	}
	return len(both), errors.Join(found...)
}

func hashes(dist string) (map[string]string, error) {
	names, err := published(dist, ".")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, name := range names {
		f, err := describe(filepath.Join(dist, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		all[name] = f.SHA256
	}
	return all, nil
}
