package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// failed is an error of a command that was understood: exit code 1.
type failed struct{ err error }

func (e *failed) Error() string { return e.err.Error() }
func (e *failed) Unwrap() error { return e.err }

// The messages that AWS documents, and "Already connected to profile", which its client was seen to print.
var (
	errNotFound     = errors.New("Profile not found")
	errNotConnected = errors.New("Profile is not connected")
	errConnected    = errors.New("Already connected to profile")
	errNotAdmin     = errors.New("Permission denied: admin privileges required")
	errValue        = errors.New("Preference value is invalid")
	errKey          = errors.New("Preference key is invalid")
)

// json prints a value as AWS's client does.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// note prints a remark for people; scripts read stdout.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "note: %s\n", clean(fmt.Sprintf(format, args...)))
}

// failure prints err and returns the exit code.
func (a *app) failure(err error) int {
	var f *failed
	if !errors.As(err, &f) {
		fmt.Fprintf(a.err, "error: %s\n\nFor more information, try '--help'.\n", clean(err.Error()))
		return 2
	}
	err = worded(f.err)
	text := err.Error()
	var problem *api.Problem
	switch {
	case errors.As(err, &problem):
		text = problem.Message
		for h := range strings.SplitSeq(problem.Hint, "\n") {
			if h = here.Replace(h); h != "" {
				fmt.Fprintf(a.err, "hint: %s\n", clean(h))
			}
		}
	case errors.Is(err, context.Canceled):
		text = "interrupted"
	}
	answer := struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}{"Error", clean(text)}
	if a.json(answer) != nil { // nobody reads
		return 1
	}
	return 1
}

// worded says in AWS's words what AWS has words for.
func worded(err error) error {
	for code, as := range map[string]error{
		api.CodeProfileNotFound: errNotFound, api.CodeNotConnected: errNotConnected, api.CodeAlreadyConnected: errConnected,
	} {
		if api.IsCode(err, code) {
			return as
		}
	}
	return err
}

// here says with this program's flags what hints say with adit's.
var here = strings.NewReplacer(
	"choose another --name, or overwrite it with --replace", "choose another --profile-name, or remove it first with: aws-vpn-client delete-profile",
	"import the profile again with --replace", "import the profile again, after: aws-vpn-client delete-profile",
	"with --socket or ADIT_SOCKET", "with ADIT_SOCKET",
	"try a longer --timeout, and see", "see",
)

// clean keeps foreign text to one line without control characters, in the order that it is read in.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}

// moment is a time as AWS's client writes it: local, to the second. nil: unknown.
func (a *app) moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.In(a.zone).Format(time.RFC3339)
	return &text
}
