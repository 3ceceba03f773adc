package routes

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Equal reports whether p and q want the same state for the same reasons. Notes do not count.
func (p Plan) Equal(q Plan) bool {
	return p.MTU == q.MTU && slices.Equal(p.Addresses, q.Addresses) &&
		slices.Equal(p.Routes, q.Routes) && slices.Equal(p.Around, q.Around) && p.DNS.Equal(q.DNS) && p.Guard.Equal(q.Guard)
}

// IsZero reports whether p wants nothing: the machine as we found it.
func (p Plan) IsZero() bool { return p.Equal(Plan{}) }

// Equal reports whether d and e want the same resolver configuration.
func (d DNS) Equal(e DNS) bool {
	return slices.Equal(d.Servers, e.Servers) && slices.Equal(d.Search, e.Search) && slices.Equal(d.Split, e.Split) &&
		d.DNSSEC == e.DNSSEC && d.Transport == e.Transport && d.SNI == e.SNI
}

// IsZero reports whether d wants nothing.
func (d DNS) IsZero() bool { return d.Equal(DNS{}) }

// Change is the way from one Plan to another, for people and logs. A Host does not work from it, but
// from what it finds in the system.
type Change struct {
	MTU             int // the new MTU; 0 = no change
	AddAddresses    []netip.Prefix
	AddAround       []Route
	AddRoutes       []Route
	RemoveRoutes    []Route
	RemoveAround    []Route
	RemoveAddresses []netip.Prefix
	DNS             bool // the resolver configuration differs
	Guard           bool // what may leave beside the tunnel differs
}

// Diff says what leads from old to new. A route that only has another Reason is
// not a difference.
func Diff(old, new Plan) Change {
	c := Change{
		AddAddresses:    minus(new.Addresses, old.Addresses),
		AddAround:       minusRoutes(new.Around, old.Around),
		AddRoutes:       minusRoutes(new.Routes, old.Routes),
		RemoveRoutes:    minusRoutes(old.Routes, new.Routes),
		RemoveAround:    minusRoutes(old.Around, new.Around),
		RemoveAddresses: minus(old.Addresses, new.Addresses),
		DNS:             !old.DNS.Equal(new.DNS),
		Guard:           !old.Guard.Equal(new.Guard),
	}
	if new.MTU != old.MTU {
		c.MTU = new.MTU
	}
	return c
}

// IsZero reports whether there is nothing to do.
func (c Change) IsZero() bool {
	return c.MTU == 0 && !c.DNS && !c.Guard && len(c.AddAddresses)+len(c.AddAround)+len(c.AddRoutes)+
		len(c.RemoveRoutes)+len(c.RemoveAround)+len(c.RemoveAddresses) == 0
}

// String is the change in one line: "+10.0.0.0/8 -192.168.7.0/24 address +10.8.0.3/24 mtu 1400 dns".
func (c Change) String() string {
	var words []string
	routes := func(kind, sign string, rs []Route) {
		for _, r := range rs {
			words = append(words, kind+sign+r.Destination.String())
		}
	}
	addresses := func(sign string, ps []netip.Prefix) {
		for _, p := range ps {
			words = append(words, "address "+sign+p.String())
		}
	}
	routes("", "+", c.AddRoutes)
	routes("", "-", c.RemoveRoutes)
	routes("around ", "+", c.AddAround)
	routes("around ", "-", c.RemoveAround)
	addresses("+", c.AddAddresses)
	addresses("-", c.RemoveAddresses)
	if c.MTU != 0 {
		words = append(words, "mtu "+strconv.Itoa(c.MTU))
	}
	if c.DNS {
		words = append(words, "dns")
	}
	if c.Guard {
		words = append(words, "guard")
	}
	return strings.Join(words, " ")
}

// Same reports whether r and s are the same route in the OS, whatever the reason.
func (r Route) Same(s Route) bool {
	r.Reason, s.Reason = "", ""
	return r == s
}

func minus[T comparable](a, b []T) []T {
	var out []T
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

func minusRoutes(a, b []Route) []Route {
	var out []Route
	for _, x := range a {
		if !slices.ContainsFunc(b, x.Same) {
			out = append(out, x)
		}
	}
	return out
}
