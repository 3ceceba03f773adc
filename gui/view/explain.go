package view

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/routes"
)

// Explain asks which way traffic to a destination goes: an address, a host's name, or a web address, of which the host counts.
func (m *Model) Explain(destination string) {
	m.post(func() {
		destination = hostOf(strings.TrimSpace(destination))
		if destination == "" {
			return
		}
		m.s.explain = explainView{destination: destination, busy: true}
		var x routes.Explanation
		m.task(func(ctx context.Context) (err error) {
			x, err = m.cfg.Backend.Explain(ctx, destination)
			return err
		}, func(err error) {
			if m.s.explain.destination != destination {
				return // another was asked for meanwhile
			}
			m.s.explain = explainView{destination: destination, problem: api.AsProblem(err)}
			if err == nil {
				m.s.explain.answer = &x
			}
			m.touch()
		})
		m.touch()
	})
}

// hostOf is the host in what a person copied from a browser or a configuration: https://host/path, host:port.
func hostOf(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Hostname()
	}
	if host, port, err := net.SplitHostPort(s); err == nil && host != "" && !strings.Contains(port, "/") {
		return host
	}
	return s
}

func (r renderer) explainPage() Explain {
	v := r.explain
	out := Explain{Title: r.t(i18n.PageExplain), Label: r.t(i18n.ExplainLabel), Help: r.t(i18n.ExplainHelp), Destination: clean(v.destination, maxDetail), Notice: r.noticeHere(v.problem),
		Button: Button{Label: r.t(i18n.ExplainDo), Action: Action{Kind: ActionExplain}, Enabled: r.reachable() && !v.busy, Default: true}}
	if !r.reachable() {
		out.Button.Why = r.noService()
	}
	if v.busy {
		out.Busy, out.Button.Why = r.t(i18n.ExplainWorking), r.t(i18n.WhyWorking)
	}
	if v.problem != nil && v.problem.Code == api.CodeNotConnected {
		out.Notice = &Notice{Code: v.problem.Code, Text: r.t(i18n.ExplainNotUp)}
	}
	if v.answer == nil {
		return out
	}
	x := *v.answer
	destination := x.Destination.String()
	if d := clean(v.destination, maxDetail); d != destination {
		destination = r.t(i18n.ExplainNamed, "name", d, "address", destination)
	}
	profile := clean(x.Profile, maxTitle)
	key := i18n.ExplainNone
	switch x.Way {
	case routes.WayTunnel:
		key = i18n.ExplainTunnel
	case routes.WayAround:
		key = i18n.ExplainAround
	case routes.WayUnderlay:
		if key = i18n.ExplainUnderlay; !x.Route.IsValid() {
			key = i18n.ExplainSelf
		}
	case routes.WayUnreachable:
		key = i18n.ExplainUnreachable
	}
	if profile == "" && (x.Way == routes.WayTunnel || x.Way == routes.WayAround || x.Way == routes.WayUnreachable) {
		key = i18n.ExplainOther
	}
	if x.Blocked {
		key = i18n.ExplainBlocked
	}
	out.Answer = r.t(key, "destination", destination, "profile", profile)
	if key == i18n.ExplainTunnel {
		out.Answer += r.gap() + r.t(i18n.ExplainAsk)
	}
	add := func(label i18n.Key, value string) {
		if value != "" {
			out.Rows = append(out.Rows, Row{Label: r.t(label), Value: value})
		}
	}
	if x.Route.IsValid() {
		add(i18n.ExplainRoute, x.Route.String())
	}
	if x.Reason != "" {
		add(i18n.ExplainReason, r.reason(x.Reason))
	}
	device := clean(x.Device, maxDetail)
	if x.Gateway.IsValid() && device != "" {
		device = r.t(i18n.ViaGateway, "device", device, "gateway", x.Gateway.String())
	}
	add(i18n.ExplainVia, device)
	if p, ok := r.profile(x.Profile); ok {
		c := r.connection(p)
		add(i18n.ExplainDNS, r.dnsWords(c.DNS))
	}
	if x.Guard != "" {
		add(i18n.ExplainGuard, r.guardReason(x.Guard))
	}
	return out
}

func (r renderer) dnsWords(d api.DNS) string {
	servers := r.list(d.Servers, 8)
	switch {
	case servers == "":
		return r.t(i18n.DNSSystem)
	case len(d.Split) > 0:
		return r.t(i18n.DNSSplit, "domains", r.list(d.Split, 20), "servers", servers)
	}
	return r.t(i18n.DNSAll, "servers", servers)
}
