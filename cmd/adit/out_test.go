package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestAnothersManaged: what is not told of a managed profile's tunnel is not said to be none.
func TestAnothersManaged(t *testing.T) {
	for want, c := range map[string]api.Connection{
		"corp (managed): connected\n  owner    another user of this machine\n  routes   all traffic\n  guard    auto\n":            {State: api.Connected, FullTunnel: true, GuardClosed: true},
		"corp (managed): connected\n  owner    another user of this machine\n  routes   told to that user only\n  guard    auto\n": {State: api.Connected},
		"corp (managed): reconnecting\n  owner    another user of this machine\n  guard    auto, closed\n":                         {State: api.Reconnecting, GuardClosed: true},
	} {
		c.Profile, c.Managed, c.Hidden, c.Guard = "corp", true, true, "auto"
		var out bytes.Buffer
		printer{out: &out, err: &out}.status(api.Status{Connections: []api.Connection{c}}, true)
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	}
}

// TestCertificateValidity: the warning begins 30 days before the end, in status and connect alike.
func TestCertificateValidity(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.Local)
	for _, c := range []struct {
		left time.Duration
		want string
	}{
		{10 * 365 * 24 * time.Hour, "your certificate is valid until 2036-04-28"},
		{30 * 24 * time.Hour, "your certificate is valid until 2026-05-31"},
		{30*24*time.Hour - time.Second, "warning  your certificate expires on 2026-05-31, in 29 days; ask for a new one"},
		{25 * time.Hour, "warning  your certificate expires on 2026-05-02, in 1 day; ask for a new one"},
		{time.Hour, "warning  your certificate expires at 2026-05-01 13:00; ask for a new one"},
		{0, "warning  your certificate expired on 2026-05-01; ask for a new one"},
	} {
		if got := validity(now.Add(c.left), now); got != c.want {
			t.Errorf("%v before the end: %q, want %q", c.left, got, c.want)
		}
	}
	var out bytes.Buffer
	until := time.Now().Add(10*24*time.Hour + time.Hour)
	printer{out: &out, err: &out}.details(api.Connection{Profile: "work", State: api.Connected, CertificateExpires: &until}, false)
	if !strings.Contains(out.String(), "  warning  your certificate expires on ") || !strings.Contains(out.String(), ", in 10 days;") {
		t.Errorf("a connection reads %q", out.String())
	}
}

// TestStatusManaged: what is managed stands below the tunnels.
func TestStatusManaged(t *testing.T) {
	var out bytes.Buffer
	printer{out: &out, err: &out}.status(api.Status{
		Connections: []api.Connection{{Profile: "corp", Managed: true, State: api.Blocked}},
		Policy: &api.Policy{Source: "/etc/adit/policy.json", Profiles: []string{"corp", "lab"}, Problems: []string{"profiles/x.ovpn: line 3: \x1b"},
			Keys: []api.PolicyKey{{Name: "Guard", Value: json.RawMessage(`"lockdown"`)}, {Name: "MaxConnections", Value: json.RawMessage(`2`)}}},
	}, true)
	want := `corp (managed): blocked

managed by /etc/adit/policy.json
  Guard "lockdown"
  MaxConnections 2
managed profiles: corp, lab
policy problem: profiles/x.ovpn: line 3:  
`
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}

// TestBannerLines: a banner of several lines stays one, and has no control characters.
func TestBannerLines(t *testing.T) {
	var out bytes.Buffer
	printer{out: &out, err: &out}.details(api.Connection{Profile: "work", State: api.Blocked, Banner: "Authorized use only.\n\nAll is \x1b logged."}, false)
	if want := "  banner   Authorized use only.\n           \n           All is   logged.\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

// TestTable: columns stand below each other on a terminal, whatever the letters.
func TestTable(t *testing.T) {
	var out strings.Builder
	printer{out: &out}.table([]string{row("NAME", "STATE", "SERVER"), row("営業所 東京", "connected", "a"), row("e\u0301te\u0301", "", "b"), row("x", "idle", "")})
	if want := "NAME         STATE      SERVER\n営業所 東京  connected  a\ne\u0301te\u0301                     b\nx            idle\n"; out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// TestNobodyReads: what cannot be written was not done.
func TestNobodyReads(t *testing.T) {
	var errs strings.Builder
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	if code := execute(t.Context(), []string{"version", "--help"}, func(string) string { return "" }, full, &errs); code != 1 || !strings.Contains(errs.String(), "adit: "+syscall.ENOSPC.Error()) {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

// TestReaderLeaves: a tunnel in the foreground may outlive the reader of its events, and nothing but that.
func TestReaderLeaves(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	full := writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	for _, c := range []struct {
		out  watched
		fine bool
	}{{watched{to: w, mayLeave: true}, true}, {watched{to: w}, false}, {watched{to: full, mayLeave: true}, false}} {
		printer{out: &c.out}.event(event{Event: "status"})
		if (c.out.failed == nil) != c.fine {
			t.Errorf("%+v, want fine: %v", c.out, c.fine)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
