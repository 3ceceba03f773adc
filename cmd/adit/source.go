package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/source"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// readSource reads a file or fetches an https URL; one without https is a wrong command line.
func readSource(ctx context.Context, arg string) (source.Source, error) {
	if arg == "" {
		return source.Source{}, &usageError{"the name of the file is empty", []string{"give an .ovpn file or an https URL"}}
	}
	s, err := source.Read(ctx, http.DefaultClient, arg)
	if api.IsCode(err, api.CodeURLNotHTTPS) {
		return s, asUsage(err)
	}
	return s, err
}

// parse reads the profile and words its first error.
func parse(s source.Source, arg string) (*profile.Profile, error) {
	p, err := profile.Parse(s.Title, s.Text, s.Files)
	if err == nil {
		return p, nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	text := all[0].Error()
	if n := len(all) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return nil, hinted(errors.New(text), "see every line's verdict with: adit check "+arg)
}
