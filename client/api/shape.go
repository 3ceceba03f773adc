package api

import (
	"encoding/json"
	"net/netip"
)

// The methods here keep the promised shape of the JSON: lists are [] and
// objects are {} when they are empty, never null.

// MarshalJSON writes the promised shape.
func (s Status) MarshalJSON() ([]byte, error) {
	type plain Status
	s.Connections = list(s.Connections)
	return json.Marshal(plain(s))
}

// MarshalJSON writes the promised shape.
func (p Policy) MarshalJSON() ([]byte, error) {
	type plain Policy
	p.Keys, p.Profiles, p.Problems = list(p.Keys), list(p.Profiles), list(p.Problems)
	return json.Marshal(plain(p))
}

// MarshalJSON writes the promised shape.
func (c Connection) MarshalJSON() ([]byte, error) {
	type plain Connection
	c.Routes = list(c.Routes)
	return json.Marshal(plain(c))
}

// MarshalJSON writes the promised shape.
func (t Tunnel) MarshalJSON() ([]byte, error) {
	type plain Tunnel
	t.Addresses = list(t.Addresses)
	return json.Marshal(plain(t))
}

// MarshalJSON writes the promised shape.
func (d DNS) MarshalJSON() ([]byte, error) {
	type plain DNS
	d.Servers, d.Search, d.Split = list(d.Servers), list(d.Search), list(d.Split)
	return json.Marshal(plain(d))
}

// MarshalJSON writes the promised shape.
func (p Problem) MarshalJSON() ([]byte, error) {
	type plain Problem
	if p.Args == nil {
		p.Args = map[string]string{}
	}
	return json.Marshal(plain(p))
}

// MarshalJSON writes the promised shape.
func (p Profile) MarshalJSON() ([]byte, error) {
	type plain Profile
	p.Remotes, p.Notes = list(p.Remotes), list(p.Notes)
	return json.Marshal(plain(p))
}

// MarshalJSON writes the promised shape.
func (s Settings) MarshalJSON() ([]byte, error) {
	type plain Settings
	s.RouteAdd, s.RouteRemove = list[netip.Prefix](s.RouteAdd), list[netip.Prefix](s.RouteRemove)
	s.PullFilter = list(s.PullFilter)
	return json.Marshal(plain(s))
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
