package client

import (
	"github.com/adit-vpn/adit/ovpn/push"
)

// kept is what a connection keeps of a sign-in for its next attempts: the server's token, which stands in
// for the password. The zero value is nothing. It prints as redacted.
type kept struct {
	token push.Secret
	user  string // that goes with token; empty: the profile's
}

// renew takes a token that the server has sent; an empty one changes nothing.
func (k *kept) renew(token push.Secret, user string) {
	if token == "" {
		return
	}
	k.token = token
	if user != "" {
		k.user = user
	}
}

// usesToken says whether the next attempt signs in with the token: a certificate alone needs none.
func (s *spec) usesToken(k kept) bool { return k.token != "" && firstOf(k.user, s.username) != "" }

// echoes logs what the server wants to be shown (openvpn(8), --echo), and does what one of them asks.
func (c *connection) echoes(reply push.Reply) {
	for _, e := range reply.Echo {
		c.log.Info("the server says", "echo", e)
		if e == "forget-passwords" {
			c.kept = kept{}
		}
	}
}
