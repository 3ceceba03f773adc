// Package managed reads what an administrator's tools wrote for a program where the system keeps such things: one value for
// each key, in the registry (Windows) or in managed preferences (macOS). What the keys mean is for others to say.
// Everything here asks the system anew at each call; it starts no goroutine.
package managed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"howett.net/plist"
)

// maxPreferences is the size of a file with preferences in bytes.
const maxPreferences = 256 << 10

// Preferences is a property list file (plist(5), XML or binary), as macOS writes it for each domain that a configuration
// profile manages. Files is a folder that only root can write. Safe for concurrent use.
type Preferences struct {
	Files fs.FS
	Name  string // "com.adit.client.plist"
}

// Values returns what is in the file. Its error wraps fs.ErrNotExist where there is no file.
func (p Preferences) Values() (map[string]any, error) {
	f, err := p.Files.Open(p.Name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPreferences+1))
	if err != nil {
		return nil, err
	}
	return parsePreferences(text)
}

// parsePreferences reads a property list. What the profile's payload says about itself (PayloadUUID and others) is
// left out.
func parsePreferences(text []byte) (map[string]any, error) {
	if len(text) > maxPreferences {
		return nil, fmt.Errorf("it has more than %d bytes", maxPreferences)
	}
	// The library also takes a third form, in which everything is a text.
	if !bytes.HasPrefix(text, []byte("bplist00")) && !bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		return nil, errors.New("it is not a property list in XML or binary form")
	}
	var read map[string]preference
	if _, err := plist.Unmarshal(text, &read); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	values := map[string]any{}
	for name, p := range read {
		switch {
		case strings.HasPrefix(name, "Payload"):
		case p.value == nil:
			return nil, fmt.Errorf("%s: it is of a type that no key has", name)
		default:
			values[name] = p.value
		}
	}
	return values, nil
}

// preference is a value of one of a few types. It is not left to the library to choose one: the same
// object may stand in many places of a binary list, and would be written out in each, however deep.
type preference struct{ value any }

// UnmarshalPlist implements plist.Unmarshaler.
func (p *preference) UnmarshalPlist(decode func(any) error) error {
	var (
		truth   bool
		number  int64
		text    string
		texts   []string
		objects []map[string]string
	)
	switch {
	case decode(&truth) == nil:
		p.value = truth
	case decode(&number) == nil:
		p.value = number
	case decode(&text) == nil:
		p.value = text
	case decode(&texts) == nil:
		p.value = append([]string{}, texts...)
	case decode(&objects) == nil:
		list := []any{}
		for _, o := range objects {
			list = append(list, o)
		}
		p.value = list
	}
	return nil
}
