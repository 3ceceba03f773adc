package client

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/proxy"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform/udp"
	"github.com/adit-vpn/adit/routes"
)

// proxyOf is a profile's proxy; nil for none.
func proxyOf(x *profile.Proxy) *proxy.Config {
	if x == nil {
		return nil
	}
	c := &proxy.Config{
		Kind: proxy.HTTP, Host: x.Host, Port: x.Port,
		Auth: proxy.Auth(x.Auth), User: x.Username, Password: x.Password, Version: x.Version, Agent: x.Agent,
	}
	if x.Kind == "socks5" {
		c.Kind = proxy.SOCKS5
	}
	for _, h := range x.Headers {
		c.Headers = append(c.Headers, proxy.Header{Name: h.Name, Value: h.Value})
	}
	return c
}

// dialTCP connects to address, the server's or its proxy's, and then through the proxy.
func (a *running) dialTCP(ctx context.Context, r remote) (net.Conn, error) {
	o := a.c.spec.socket
	if r.via == nil {
		return a.c.dialer.DialTCP(ctx, a.address, o)
	}
	return r.via.Connect(ctx, a.toProxy, proxy.Target{Host: r.host, Port: r.port})
}

// toProxy opens one connection to the proxy. A sign-in may need a second one before the port of the first is
// free again, so that only the address is ours to choose.
func (a *running) toProxy(ctx context.Context) (net.Conn, error) {
	o := a.c.spec.socket
	if o.Local.Addr().IsValid() {
		o.Local = netip.AddrPortFrom(o.Local.Addr(), 0)
	} else {
		o.Local = netip.AddrPort{}
	}
	return a.c.dialer.DialTCP(ctx, a.address, o)
}

// associate makes the link of a relay for datagrams. The server's name is looked up here if
// that is possible, because an address is shorter, and else by the proxy.
func (a *running) associate(ctx context.Context, r remote, behind netip.Addr) error {
	target := proxy.Target{Host: r.host, Port: r.port}
	if behind.IsValid() {
		target.Host = behind.String()
	}
	dialUDP := func(ctx context.Context, relay netip.AddrPort) (udp.Conn, error) {
		if err := a.c.reach(ctx, routes.Endpoint{Address: relay.Addr(), Port: relay.Port(), Transport: "udp"}); err != nil {
			return nil, err
		}
		return a.c.dialer.DialUDP(ctx, relay, a.c.spec.socket)
	}
	s, err := r.via.Associate(ctx, a.toProxy, dialUDP, a.address.Addr(), target)
	if err != nil {
		return err
	}
	l := &relayLink{udpLink: newUDPLink(s.Conn, &a.c.traffic), relay: s}
	l.payload = proxy.Payload
	a.link, a.lost = l, s.Wait
	a.datagrams(l.udpLink)
	return nil
}

// relayLink is a connected UDP socket to a SOCKS5 proxy's relay; each datagram has a header in front.
// It stays with its socket: the relay knows us by our address.
type relayLink struct {
	*udpLink
	relay *proxy.Association
}

func (l *relayLink) gap() int { return l.relay.HeaderSize() }

func (l *relayLink) write(buf []byte, sizes []int) error {
	return l.udpLink.write(buf[:l.relay.PutEach(buf, sizes)], sizes)
}

func (l *relayLink) send(packet []byte) error { return l.udpLink.send(l.wrap(packet)) }

// WriteWhole sends whole datagrams to the relay, which may cut them.
func (l *relayLink) WriteWhole(packet []byte) error { return l.udpLink.WriteWhole(l.wrap(packet)) }

func (l *relayLink) wrap(packet []byte) []byte {
	return l.relay.Append(make([]byte, 0, l.gap()+len(packet)), packet)
}

func (l *relayLink) close() error { return l.relay.Close() }

// proxyFailure words what a proxy did to us; nil when it was something else.
func proxyFailure(err error, at scene) *failure {
	var e *proxy.Error
	if !errors.As(err, &e) {
		return nil
	}
	args := map[string]string{"proxy": at.proxy, "server": at.server, "detail": e.Text}
	switch e.Cause {
	case proxy.CredentialsNeeded:
		return fail(again, api.CodeProxyAuthNeeded, args, err)
	case proxy.CredentialsRefused:
		return fail(again, api.CodeProxyAuthFailed, args, err)
	case proxy.TargetRefused:
		return fail(retry, api.CodeProxyRefused, args, err)
	case proxy.Broken:
		return fail(again, api.CodeProxyUnusable, args, err)
	}
	return fail(retry, api.CodeProxyUnreachable, args, err)
}
