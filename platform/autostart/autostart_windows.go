package autostart

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// run is the person's list ("Run and RunOnce Registry Keys", Microsoft).
const run = `Software\Microsoft\Windows\CurrentVersion\Run`

// Enabled says whether the program starts with the session.
func (e Entry) Enabled() (bool, error) {
	k, err := registry.OpenKey(registry.CURRENT_USER, run, registry.QUERY_VALUE)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer k.Close()
	_, _, err = k.GetStringValue(e.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Set puts the program into the list, or takes it out.
func (e Entry) Set(on bool) error {
	k, _, err := registry.CreateKey(registry.CURRENT_USER, run, registry.SET_VALUE)
	if err != nil {
		return err
	}
	defer k.Close()
	if !on {
		if err := k.DeleteValue(e.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := e.check(); err != nil {
		return err
	}
	words := []string{windows.EscapeArg(e.Program)}
	for _, a := range e.Args {
		words = append(words, windows.EscapeArg(a))
	}
	return k.SetStringValue(e.ID, strings.Join(words, " "))
}
