package main

import (
	"bytes"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// The service tells of another user's tunnel only that it is there.
func TestAnotherUsersTunnel(t *testing.T) {
	var out bytes.Buffer
	printer{out: &out, err: &out}.status(api.Status{Connections: []api.Connection{{Owner: "bob", State: api.Connected, Since: then}}}, true)
	if want := "a tunnel of bob: connected since " + then.Local().Format("2006-01-02 15:04:05") + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
