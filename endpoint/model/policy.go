package model

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/cedar"
)

// Authorization policies, and the device trust providers beside them.

// Policy is the authorization policy of an endpoint.
func (m *Model) Policy(id string) (Policy, error) {
	s, r, err := m.known(id)
	if err != nil {
		return Policy{}, err
	}
	if r == nil {
		// The file's endpoint: what it runs with, which its files may not say any more, or not yet.
		text, shadow, ok := m.rt.Policy(id)
		if !ok {
			return Policy{}, policyNotFound(id)
		}
		return Policy{Endpoint: id, Document: text, Shadow: shadow, Status: Status{Code: Active}}, nil
	}
	p := r.Policy
	if p == nil {
		return Policy{}, policyNotFound(id)
	}
	now, delay := m.o.Now().UTC(), s.delay()
	status, ok := phase(p.Created, p.Deleted, now, delay, Creating, Active, Deleting)
	switch {
	case !ok:
		return Policy{}, policyNotFound(id)
	case status.Code == Active && now.Sub(p.Updated) < delay:
		status.Code = Updating
	}
	return Policy{Endpoint: id, Document: p.Document, Description: p.Description, Shadow: p.Shadow, Status: status}, nil
}

func policyNotFound(id string) *Error {
	return errorf(CodePolicyNotFound, "Client VPN endpoint %s has no authorization policy", id)
}

// ModifyPolicy makes an endpoint's authorization policy, or changes what is named of it. It is in force when this returns; if it denies,
// all sessions have been reset.
func (m *Model) ModifyPolicy(ctx context.Context, call Call, id string, c PolicyChange) (Status, error) {
	state, err := m.mutate(ctx, call, "ModifyClientVpnEndpointAuthorizationPolicy", struct {
		ID string
		C  PolicyChange
	}{id, c}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		next, state := policy{Created: d.at}, Creating
		if old := r.inForce(); old != nil {
			next, state = *old, Updating
			next.Updated = d.at
		} else if c.Document == nil {
			return "", missing("PolicyDocument")
		}
		if c.Document != nil {
			if _, err := cedar.Parse(*c.Document); err != nil {
				return "", badValue("The policy document is not valid: %v", err)
			}
			next.Document = *c.Document
		}
		if c.Description != nil {
			if utf8.RuneCountInString(*c.Description) > maxDescription {
				return "", badValue("Description is longer than %d characters", maxDescription)
			}
			next.Description = *c.Description
		}
		if c.Shadow != nil {
			if *c.Shadow != "enabled" && *c.Shadow != "disabled" {
				return "", notOneOf(*c.Shadow, "ShadowMode", []string{"enabled", "disabled"})
			}
			next.Shadow = *c.Shadow == "enabled"
		}
		r.Policy = &next
		return state, nil
	})
	return Status{Code: state}, err
}

// DeletePolicy has nobody judged any more. Sessions go on.
func (m *Model) DeletePolicy(ctx context.Context, call Call, id string) (Status, error) {
	_, err := m.mutate(ctx, call, "DeleteClientVpnEndpointAuthorizationPolicy", id, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		old := r.inForce()
		if old == nil {
			return "", policyNotFound(id)
		}
		gone := *old
		gone.Deleted = d.at
		r.Policy = &gone
		return "", nil
	})
	return Status{Code: Deleting}, err
}

// check says what AWS would not take. Off, it has no providers.
func (p *Posture) check() error {
	switch {
	case !p.Enabled && len(p.Providers) > 0:
		return errorf(CodeBadCombination, "DevicePostureOptions.TrustProvider cannot be specified when device posture is not enabled")
	case !p.Enabled:
		return nil
	case len(p.Providers) == 0:
		return errorf(CodeBadCombination, "DevicePostureOptions.TrustProvider is needed when device posture is enabled")
	case len(p.Providers) > maxProviders:
		return badValue("At most %d device trust providers can be specified", maxProviders)
	}
	for i, t := range p.Providers {
		if err := t.Check(); err != nil {
			return badValue("DevicePostureOptions.TrustProvider is not valid: %v", err)
		}
		if slices.ContainsFunc(p.Providers[:i], func(o endpoint.TrustProvider) bool { return o.Type == t.Type }) {
			return badValue("The device trust provider %s is specified twice", t.Type)
		}
	}
	return nil
}
