package client

import (
	"cmp"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// wrapOf is the control channel protection of one server: its own keys, or else
// the whole profile's; nil for none.
func wrapOf(p *profile.Profile, r profile.Remote) (wrap.Method, error) {
	keys := profile.ControlKeys{TLSAuth: p.TLSAuth, TLSCrypt: p.TLSCrypt, TLSCryptV2: p.TLSCryptV2, Direction: p.KeyDirection}
	if r.Keys != nil {
		keys = *r.Keys
	}
	fail := func(directive string, err error) (wrap.Method, error) {
		return nil, &profile.Error{Profile: p.Name, Directive: directive, Text: err.Error(), Err: err}
	}
	switch {
	case keys.TLSCryptV2 != "":
		k, err := wrap.ParseClientKey([]byte(keys.TLSCryptV2))
		if err != nil {
			return fail("tls-crypt-v2", err)
		}
		return wrap.TLSCryptV2(k), nil
	case keys.TLSCrypt != "":
		k, err := wrap.ParseStaticKey([]byte(keys.TLSCrypt))
		if err != nil {
			return fail("tls-crypt", err)
		}
		return wrap.TLSCrypt(k), nil
	case keys.TLSAuth != "":
		k, err := wrap.ParseStaticKey([]byte(keys.TLSAuth))
		if err != nil {
			return fail("tls-auth", err)
		}
		m, err := wrap.TLSAuth(k, keys.Direction, cmp.Or(p.Auth, "SHA1"))
		if err != nil {
			return fail("tls-auth", err)
		}
		return m, nil
	}
	return nil, nil
}
