package view

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/routes"
)

// Explain asks which way traffic to a destination goes: an address, a host's name, or a web address, of which the host counts.
func (m *Model) Explain(destination string) {
	m.post(func() { m.lookAt(destination, false) })
}

// Try is Explain, and then finds out whether the destination answers. A port counts, too: of host:port, or of a web address.
func (m *Model) Try(destination string) {
	m.post(func() { m.lookAt(destination, m.cfg.Reach != nil) })
}

func (m *Model) lookAt(typed string, try bool) {
	host, port := hostOf(strings.TrimSpace(typed))
	if host == "" {
		return
	}
	shown := host
	if try && port != "" {
		shown = net.JoinHostPort(host, port)
	}
	m.s.explain = explainView{destination: shown, busy: true, trying: try}
	m.touch()
	asked := m.s.explain
	var got explainView
	m.task(func(ctx context.Context) error {
		if !try {
			x, err := m.cfg.Backend.Explain(ctx, host)
			got.answer = &x
			return err
		}
		target, err := reach.Parse(shown)
		if err != nil {
			return api.NewProblem(api.CodeDestinationInvalid, map[string]string{"destination": strconv.Quote(shown), "detail": err.Error()})
		}
		r, err := m.cfg.Reach(ctx, target)
		got.answer, got.report = &r.Explanation, &r
		return err
	}, func(err error) {
		if m.s.explain != asked {
			return // another was asked for meanwhile
		}
		if err != nil {
			got = explainView{}
			switch wrong := (*reach.LookupError)(nil); {
			case errors.As(err, &wrong):
				got.unresolved = clean(wrong.Name, maxDetail)
			case errors.Is(err, reach.ErrNoDevice):
				got.inProgram = true
			default:
				got.problem = api.AsProblem(err)
			}
		}
		got.destination = shown
		m.s.explain = got
		m.touch()
	})
}

// hostOf is the host, and the port if there is one, in what a person copied from a browser or a configuration:
// https://host/path, host:port.
func hostOf(s string) (host, port string) {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		if port = u.Port(); port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return u.Hostname(), port
	}
	if host, port, err := net.SplitHostPort(s); err == nil && host != "" && !strings.Contains(port, "/") {
		return host, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ""
}

func (r renderer) explainPage() Explain {
	v := r.explain
	out := Explain{Title: r.t(i18n.PageExplain), Label: r.t(i18n.ExplainLabel), Help: r.t(i18n.ExplainHelp), Destination: clean(v.destination, maxDetail), Notice: r.noticeHere(v.problem),
		Button: Button{Label: r.t(i18n.ExplainDo), Action: Action{Kind: ActionExplain}, Enabled: r.reachable() && !v.busy, Default: true}}
	if !r.reachable() {
		out.Button.Why = r.noService()
	}
	if v.busy {
		if out.Busy, out.Button.Why = r.t(i18n.ExplainWorking), r.t(i18n.WhyWorking); v.trying {
			out.Busy = r.t(i18n.TryWorking)
		}
	}
	out.Try = out.Button
	out.Try.Label, out.Try.Action, out.Try.Default = r.t(i18n.TryDo), Action{Kind: ActionTry}, false
	switch {
	case v.unresolved != "":
		out.Notice = &Notice{Text: r.t(i18n.TryNoAddress, "name", v.unresolved), Hints: []string{r.t(i18n.TryNoAddressHint)}}
	case v.inProgram:
		out.Notice = &Notice{Text: r.t(i18n.TryInProgram)}
	}
	if v.problem != nil && v.problem.Code == api.CodeNotConnected {
		out.Notice = &Notice{Code: v.problem.Code, Text: r.t(i18n.ExplainNotUp)}
	}
	if v.answer == nil {
		return out
	}
	x := *v.answer
	destination := x.Destination.String()
	host, _ := hostOf(v.destination)
	if d := clean(v.destination, maxDetail); host != destination {
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
	if v.report != nil {
		out.Tried = r.tried(*v.report)
	} else if key == i18n.ExplainTunnel {
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

// tried says what came of the probes.
func (r renderer) tried(report reach.Report) string {
	p := report.Probe
	what := r.t(i18n.TryByPing)
	if p.Method == "tcp" {
		what = r.t(i18n.TryByTCP, "port", strconv.Itoa(int(p.Port)))
	}
	key := i18n.TrySilent
	switch report.Verdict {
	case reach.Answered:
		ms := max(1, (p.RTT + time.Millisecond/2).Milliseconds())
		return r.t(i18n.TryAnswered, "time", strconv.FormatInt(ms, 10), "what", what)
	case reach.Refused:
		key = i18n.TryRefused
	case reach.NoRoute, reach.Closed:
		key = i18n.TryNoRoute
	case reach.Unreachable:
		key = i18n.TryUnreachable
	case reach.Firewall:
		key = i18n.TryFirewall
	case reach.Guarded:
		key = i18n.TryGuarded
	case reach.Lost:
		key = i18n.TryLost
	case reach.Outside:
		key = i18n.TryOutside
	}
	return r.t(key, "what", what)
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
