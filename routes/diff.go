package routes

import (
	"net/netip"
	"slices"
)

// Equal reports whether p and q want the same state for the same reasons. Notes do not count.
func (p Plan) Equal(q Plan) bool {
	return p.MTU == q.MTU && slices.Equal(p.Addresses, q.Addresses) &&
		slices.Equal(p.Routes, q.Routes) && slices.Equal(p.Around, q.Around) && p.DNS.Equal(q.DNS)
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

// Change is the way from one Plan to another. Do all of Add before any of
// Remove, and Around before Routes, so that no packet finds a gap between.
type Change struct {
	MTU             int // the new MTU; 0 = no change
	AddAddresses    []netip.Prefix
	AddAround       []Route
	AddRoutes       []Route
	RemoveRoutes    []Route
	RemoveAround    []Route
	RemoveAddresses []netip.Prefix
	DNS             bool // the resolver configuration differs
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
	}
	if new.MTU != old.MTU {
		c.MTU = new.MTU
	}
	return c
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
