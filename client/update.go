package client

import (
	"context"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/routes"
)

// updated takes a configuration that the server has changed under way.
func (a *running) updated(ctx context.Context, s *ovpn.Session, reply push.Reply) error {
	c := a.c
	for _, note := range reply.Notes {
		c.log.Warn("pushed update: " + note)
	}
	if err := c.update(ctx, reply); err != nil {
		return err
	}
	c.carry(a.path(s, reply))
	a.track.way, a.track.known = c.facts.Way(a.address.Addr())
	c.publish(c.status)
	return nil
}

// update makes the tunnel fit a configuration that the server has changed. The TUN stays open,
// and what is in both plans stays in place. On an error the old reply is still c's.
func (c *connection) update(ctx context.Context, reply push.Reply) error {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	refused := func(err error) *failure {
		return fail(restart, api.CodePushRejected, map[string]string{"option": "an update of the configuration", "detail": err.Error()}, err)
	}
	facts, err := c.host.Facts(ctx)
	if err != nil {
		return refused(err)
	}
	plan, err := routes.Build(reply, facts, c.policy(c.server))
	if err != nil {
		return refused(err)
	}
	if err := c.apply(ctx, plan, facts); err != nil {
		return refused(err)
	}
	c.reply = reply
	return nil
}
