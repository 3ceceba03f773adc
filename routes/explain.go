package routes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The ways of an Explanation.
const (
	WayTunnel      = "tunnel"
	WayAround      = "around"
	WayUnderlay    = "underlay"
	WayUnreachable = "unreachable"
	WayNone        = "no route"
)

// Explanation says which way a packet to Destination would go, and why.
type Explanation struct {
	Destination netip.Addr   `json:"destination"`
	Way         string       `json:"way"` // "tunnel", "around", "underlay", "unreachable", "no route"
	Profile     string       `json:"profile"`
	Device      string       `json:"device"`
	Gateway     netip.Addr   `json:"gateway"`
	Route       netip.Prefix `json:"route"` // the row that decides
	Reason      string       `json:"reason"`
	DNS         string       `json:"dns"`     // which resolver answers names, in words
	Guard       string       `json:"guard"`   // what the guard does with it, in words
	Blocked     bool         `json:"blocked"` // the guard drops it
	Text        string       `json:"text"`    // the whole in one or two sentences
}

// Explain says which way a packet to dest would go with plan applied on top of
// facts, with device as the tunnel's name: the longest prefix decides, then the lowest metric, and
// of equals the tunnel's own. It sends nothing. Profile, Guard and Blocked are the caller's to fill.
func Explain(plan Plan, device string, facts Facts, dest netip.Addr) Explanation {
	dest = dest.Unmap().WithZone("")
	x := Explanation{Destination: dest, Way: WayNone, DNS: explainDNS(plan.DNS)}
	if !dest.IsValid() {
		x.Text = "that is no address"
		return x
	}
	self := func(p netip.Prefix) bool { return p.Addr() == dest }
	if dest.IsLoopback() || slices.ContainsFunc(facts.Addresses, self) || slices.ContainsFunc(plan.Addresses, self) {
		x.Way, x.Reason = WayUnderlay, reasonSelf
		x.Text = fmt.Sprintf("%s is this machine itself: packets to it do not leave", dest)
		return x
	}
	metric, found := 0, false
	// better takes ours before facts, so that of equals the tunnel's own stay.
	better := func(p netip.Prefix, m int) bool {
		if !p.IsValid() || !p.Contains(dest) {
			return false
		}
		if found && (p.Bits() < x.Route.Bits() || p.Bits() == x.Route.Bits() && m >= metric) {
			return false
		}
		x.Route, metric, found = p, m, true
		return true
	}
	for _, p := range plan.Addresses {
		if better(p.Masked(), 0) {
			x.Way, x.Device, x.Gateway, x.Reason = WayTunnel, device, netip.Addr{}, reasonNet
		}
	}
	ours := func(rs []Route, way, dev string) {
		for _, r := range rs {
			if !better(r.Destination, r.Metric) {
				continue
			}
			x.Way, x.Device, x.Gateway, x.Reason = way, r.Device, r.Gateway, r.Reason
			if x.Device == "" {
				x.Device = dev
			}
			if r.Unreachable {
				x.Way, x.Device, x.Gateway = WayUnreachable, "", netip.Addr{}
			}
		}
	}
	ours(plan.Routes, WayTunnel, device)
	ours(plan.Around, WayAround, "")
	for _, r := range facts.Routes {
		if better(r.Destination, r.Metric) {
			x.Way, x.Device, x.Gateway = WayUnderlay, r.Device, r.Gateway
			x.Reason = reasonOutside
		}
	}
	x.Text = x.sentence()
	return x
}

func (x Explanation) sentence() string {
	by := " by " + x.Route.String()
	out := ""
	if x.Device != "" {
		out = " (" + x.Device + ")"
	}
	if x.Gateway.IsValid() {
		by += " via " + x.Gateway.String()
	}
	switch x.Way {
	case WayTunnel:
		return fmt.Sprintf("%s goes through the tunnel%s%s: %s", x.Destination, out, by, x.Reason)
	case WayAround:
		return fmt.Sprintf("%s goes past the tunnel%s%s: %s", x.Destination, out, by, x.Reason)
	case WayUnderlay:
		return fmt.Sprintf("%s goes outside the tunnel%s%s: %s", x.Destination, out, by, x.Reason)
	case WayUnreachable:
		return fmt.Sprintf("%s is not reachable%s: %s", x.Destination, by, x.Reason)
	}
	return fmt.Sprintf("%s is not reachable: no route leads to it", x.Destination)
}

func explainDNS(d DNS) string {
	if len(d.Servers) == 0 {
		return "all names go to the system's own resolver"
	}
	var s []string
	for _, a := range d.Servers {
		if a.Port() == 53 {
			s = append(s, a.Addr().String())
		} else {
			s = append(s, a.String())
		}
	}
	servers := strings.Join(s, ", ")
	if len(d.Split) == 0 {
		return "all names go to the tunnel's resolver " + servers
	}
	return fmt.Sprintf("names in %s go to the tunnel's resolver %s, all others to the system's own", strings.Join(d.Split, ", "), servers)
}
