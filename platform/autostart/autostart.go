// Package autostart puts a program into the list of what starts with a person's desktop session, and takes it out
// again: the person's own list, which needs no privileges.
package autostart

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
)

// Entry is a program in the list. Not safe for concurrent use.
type Entry struct {
	// ID names the entry among all: reverse domain notation.
	ID string
	// Name is what people read in the list.
	Name string
	// Program is the absolute name of the program, Args what it is given.
	Program string
	Args    []string
}

// check refuses what could mean something else in one of the systems' lists.
func (e Entry) check() error {
	if e.ID == "" || e.Name == "" {
		return errors.New("an entry needs an id and a name")
	}
	if !filepath.IsAbs(e.Program) {
		return fmt.Errorf("%q is not an absolute file name", e.Program)
	}
	for _, text := range append([]string{e.ID, e.Name, e.Program}, e.Args...) {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%q has control characters", text)
		}
	}
	if strings.ContainsAny(e.ID, `/\`) {
		return fmt.Errorf("%q cannot be an id", e.ID)
	}
	return nil
}
