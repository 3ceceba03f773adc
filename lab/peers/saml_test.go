//go:build linux

package peers

import (
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/adit-vpn/adit/saml/sp"
)

// TestSimpleSAMLphp: our service provider takes what a real identity provider says, over http and https.
func TestSimpleSAMLphp(t *testing.T) {
	for _, https := range []bool{false, true} {
		t.Run(map[bool]string{false: "http", true: "https"}[https], func(t *testing.T) {
			c := SAMLConfig{Dir: t.TempDir(), Place: Here()}
			at, err := Loopback(8880)
			if err != nil {
				t.Fatal(err)
			}
			c.At = netip.AddrPortFrom(at, 8880)
			if https {
				if c.Front, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String()); err != nil {
					t.Fatal(err)
				}
			}
			s, err := StartSAML(c)
			if errors.Is(err, ErrMissing) && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			m, err := sp.ParseMetadata(s.Metadata, time.Now())
			if err != nil {
				t.Fatalf("%v\n%s", err, s.Metadata)
			}
			p := sp.New(m, time.Now)
			request := sp.Request{ID: "_0123456789", Expires: time.Now().Add(5 * time.Minute)}
			address := p.URL(request, "state/with:odd characters&")
			if _, err := s.SignIn(address, "alice", "wrong"); !errors.Is(err, ErrSignIn) {
				t.Errorf("a wrong password: %v", err)
			}
			fields, err := s.SignIn(address, "alice", "alicepw")
			if err != nil {
				t.Fatalf("%v\n%s", err, s.Log())
			}
			if got := fields.Get("RelayState"); got != "state/with:odd characters&" {
				t.Errorf("RelayState %q", got)
			}
			text, err := base64.StdEncoding.DecodeString(fields.Get("SAMLResponse"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Check(text, sp.Request{ID: "_other", Expires: request.Expires}); !errors.Is(err, sp.ErrRequest) {
				t.Errorf("as the answer to another request: %v", err)
			}
			if _, err := sp.New(m, func() time.Time { return time.Now().Add(time.Hour) }).Check(text, sp.Request{ID: request.ID, Expires: time.Now().Add(2 * time.Hour)}); !errors.Is(err, sp.ErrTime) {
				t.Errorf("an hour later: %v", err)
			}
			who, err := p.Check(text, request)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if who.Name != "alice@example.test" || !slices.Equal(who.Groups, []string{"VPN-Users", "VPN-Admins"}) {
				t.Errorf("%+v", who)
			}
			if _, err := p.Check(text, request); !errors.Is(err, sp.ErrReplayed) {
				t.Errorf("the same again: %v", err)
			}
		})
	}
}
