package model

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// record is an endpoint as the file keeps it.
type record struct {
	ID           string
	Created      time.Time
	Deleted      time.Time // zero: it is not
	Settings     Settings
	Listen       []netip.AddrPort
	Tags         []Tag
	Associations []association
	Rules        []rule
	Routes       []route     // that people added
	CRL          string      // sum of the revocation list; empty: none
	Policy       *policy     `json:",omitempty"` // authorization policy; nil: none
	Gateway      *attachment `json:",omitempty"` // to a transit gateway, whose zones are the associations; nil: subnets are
}

// policy is an authorization policy. Nobody changes one that is in a record.
type policy struct {
	Document, Description     string
	Shadow                    bool
	Created, Updated, Deleted time.Time
}

// inForce is the authorization policy that is not going; nil: none.
func (r *record) inForce() *policy {
	if r.Policy == nil || !r.Policy.Deleted.IsZero() {
		return nil
	}
	return r.Policy
}

// association, rule and route are what was made when; Deleted says that it goes.
type association struct {
	ID, Subnet       string
	Created, Deleted time.Time
}

type rule struct {
	CIDR             netip.Prefix
	All              bool
	Group            string
	Description      string
	Created, Deleted time.Time
}

type route struct {
	Destination      netip.Prefix
	Target           string
	Description      string
	Created, Deleted time.Time
}

var errNoRecord = errors.New("it is not an endpoint's record")

// parseRecord reads what json.Marshal made of a record.
func parseRecord(text []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.ID, endpointPrefix) || !r.Settings.ClientCIDR.IsValid() || len(r.Listen) == 0 || len(r.Settings.Authentication) == 0 {
		return nil, errNoRecord
	}
	return r, nil
}

// The prefixes of ids.
const (
	endpointPrefix    = "cvpn-endpoint-"
	associationPrefix = "cvpn-assoc-"
)

// clone shares nothing that edits change.
func (r *record) clone() *record {
	c := *r
	c.Settings.Authentication = slices.Clone(r.Settings.Authentication)
	c.Settings.DNSServers = slices.Clone(r.Settings.DNSServers)
	c.Settings.Posture = slices.Clone(r.Settings.Posture)
	c.Settings.SecurityGroups = slices.Clone(r.Settings.SecurityGroups)
	c.Listen, c.Tags = slices.Clone(r.Listen), slices.Clone(r.Tags)
	c.Associations, c.Rules, c.Routes = slices.Clone(r.Associations), slices.Clone(r.Rules), slices.Clone(r.Routes)
	return &c
}

// sweep forgets parts that have been deleted for longer than the delay.
func (r *record) sweep(now time.Time, delay time.Duration) {
	over := func(deleted time.Time) bool { return !deleted.IsZero() && now.Sub(deleted) >= delay }
	r.Associations = slices.DeleteFunc(r.Associations, func(a association) bool { return over(a.Deleted) })
	r.Rules = slices.DeleteFunc(r.Rules, func(x rule) bool { return over(x.Deleted) })
	r.Routes = slices.DeleteFunc(r.Routes, func(x route) bool { return over(x.Deleted) })
	if r.Policy != nil && over(r.Policy.Deleted) {
		r.Policy = nil
	}
}

// attachment is that of an endpoint to a transit gateway. Nobody changes one that is in a record.
type attachment struct {
	ID, Gateway                          string
	Created, Accepted, Rejected, Deleted time.Time
}

// state is an attachment's at a time; ok is false when it is gone.
func (a *attachment) state(now time.Time, delay time.Duration) (code string, ok bool) {
	switch {
	case !a.Deleted.IsZero():
		return Deleting, now.Sub(a.Deleted) < delay
	case !a.Rejected.IsZero():
		return Rejected, true
	case a.Accepted.IsZero():
		return PendingAcceptance, true
	case now.Sub(a.Accepted) < delay:
		return Pending, true
	}
	return Available, true
}

// carries says whether packets go through it.
func (a *attachment) carries() bool {
	return !a.Accepted.IsZero() && a.Rejected.IsZero() && a.Deleted.IsZero()
}

// runs says whether clients may come: there is an association, with a transit gateway an attachment that carries it, and the endpoint is
// not being deleted.
func (r *record) runs() bool {
	return r.Deleted.IsZero() && len(r.live()) > 0 && (r.Gateway == nil || r.Gateway.carries())
}

// live are the associations that are not going.
func (r *record) live() []association {
	var out []association
	for _, a := range r.Associations {
		if a.Deleted.IsZero() {
			out = append(out, a)
		}
	}
	return out
}

// associated says whether a subnet is a target network.
func (r *record) associated(subnet string) bool {
	return slices.ContainsFunc(r.live(), func(a association) bool { return a.Subnet == subnet })
}

// phase is the state of something at a time; ok is false when it is gone.
func phase(created, deleted, now time.Time, delay time.Duration, coming, there, going string) (s Status, ok bool) {
	switch {
	case !deleted.IsZero():
		return Status{Code: going}, now.Sub(deleted) < delay
	case now.Sub(created) < delay:
		return Status{Code: coming}, true
	}
	return Status{Code: there}, true
}
