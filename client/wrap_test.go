package client

import (
	"crypto/rand"
	"errors"
	"testing"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// A server's own keys take the place of the profile's, all of them.
func TestWrapOf(t *testing.T) {
	static, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server, err := wrap.GenerateServerKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := server.NewClient(rand.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	shared, v2 := push.Secret(static.Text()), push.Secret(own.Text())
	none := profile.ControlKeys{Direction: -1}
	for _, c := range []struct {
		name    string
		profile profile.ControlKeys
		remote  *profile.ControlKeys
		want    string // the method, or the directive that is wrong
		bad     bool
	}{
		{"nothing", none, nil, "", false},
		{"tls-auth", profile.ControlKeys{TLSAuth: shared, Direction: 1}, nil, "tls-auth", false},
		{"tls-crypt", profile.ControlKeys{TLSCrypt: shared}, nil, "tls-crypt", false},
		{"tls-crypt-v2", profile.ControlKeys{TLSCryptV2: v2}, nil, "tls-crypt-v2", false},
		{"the server's own", profile.ControlKeys{TLSCryptV2: v2}, &profile.ControlKeys{TLSAuth: shared, Direction: -1}, "tls-auth", false},
		{"the server has none", profile.ControlKeys{TLSCrypt: shared}, &none, "", false},
		{"a bad key", profile.ControlKeys{TLSCryptV2: shared}, nil, "tls-crypt-v2", true},
		{"a bad key of the server", none, &profile.ControlKeys{TLSCrypt: v2}, "tls-crypt", true},
		{"a bad direction", profile.ControlKeys{TLSAuth: shared, Direction: 5}, nil, "tls-auth", true},
	} {
		p := &profile.Profile{Name: "lab", TLSAuth: c.profile.TLSAuth, TLSCrypt: c.profile.TLSCrypt, TLSCryptV2: c.profile.TLSCryptV2,
			KeyDirection: c.profile.Direction}
		m, err := wrapOf(p, profile.Remote{Keys: c.remote})
		var e *profile.Error
		switch {
		case c.bad && (!errors.As(err, &e) || e.Directive != c.want || m != nil):
			t.Errorf("%s: got %v, %v", c.name, m, err)
		case !c.bad && (err != nil || c.want == "" && m != nil || c.want != "" && (m == nil || m.String() != c.want)):
			t.Errorf("%s: got %v, %v, want %q", c.name, m, err, c.want)
		}
	}
}
