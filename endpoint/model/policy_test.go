package model

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/cedar"
)

const permitAll = "permit(principal, action, resource);"

// TestPolicy: a policy is made, changed in parts and deleted, and is what the endpoint runs with; it outlives a restart.
func TestPolicy(t *testing.T) {
	ctx := context.Background()
	b := open(t, "  delay: 10s\nauthorization_policy: {text: \"forbid(principal, action, resource);\"}\n")
	id := b.create()
	b.associate(id, "subnet-0a1")
	runs := func() endpoint.AuthorizationPolicy { return b.fleet.running[id].AuthorizationPolicy }
	if runs() != (endpoint.AuthorizationPolicy{}) {
		t.Errorf("the file's policy is the endpoint's: %+v", runs())
	}
	modify := func(c PolicyChange) (Status, error) { return b.m.ModifyPolicy(ctx, Call{}, id, c) }
	see := func(want Policy) {
		t.Helper()
		want.Endpoint = id
		if got, err := b.m.Policy(id); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if _, err := b.m.Policy(id); code(err) != CodePolicyNotFound {
		t.Errorf("none: %v", err)
	}
	if _, err := b.m.DeletePolicy(ctx, Call{}, id); code(err) != CodePolicyNotFound {
		t.Errorf("delete none: %v", err)
	}
	for name, c := range map[string]struct {
		change PolicyChange
		want   string
		says   string
	}{
		"without a document":  {PolicyChange{Shadow: ptr("enabled")}, CodeMissing, "PolicyDocument"},
		"that is none":        {PolicyChange{Document: ptr(permitAll + "\nallow;")}, CodeBadValue, "line 2, column"},
		"that is empty":       {PolicyChange{Document: ptr("")}, CodeBadValue, "no statement"},
		"that is too long":    {PolicyChange{Document: ptr(permitAll + strings.Repeat(" ", cedar.MaxPolicy))}, CodeBadValue, "10000 are the most"},
		"of another mode":     {PolicyChange{Document: ptr(permitAll), Shadow: ptr("on")}, CodeBadValue, "ShadowMode"},
		"described at length": {PolicyChange{Document: ptr(permitAll), Description: ptr(strings.Repeat("x", 256))}, CodeBadValue, "255"},
	} {
		if _, err := modify(c.change); code(err) != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("a policy %s: %v", name, err)
		}
	}
	if _, err := b.m.ModifyPolicy(ctx, Call{DryRun: true}, id, PolicyChange{Document: ptr(permitAll)}); code(err) != CodeDryRun {
		t.Errorf("dry: %v", err)
	}
	if _, err := b.m.ModifyPolicy(ctx, Call{}, "cvpn-endpoint-00000000000000000", PolicyChange{Document: ptr(permitAll)}); code(err) != CodeEndpointNotFound {
		t.Errorf("of no endpoint: %v", err)
	}

	token := Call{ClientToken: "one"}
	for range 2 {
		if s, err := b.m.ModifyPolicy(ctx, token, id, PolicyChange{Document: ptr(permitAll), Description: ptr("all")}); err != nil || s.Code != Creating {
			t.Errorf("made: %+v, %v", s, err)
		}
	}
	see(Policy{Document: permitAll, Description: "all", Status: Status{Code: Creating}})
	if want := (endpoint.AuthorizationPolicy{Text: permitAll, Every: 5 * time.Minute}); runs() != want {
		t.Errorf("in force: %+v", runs())
	}
	b.clock.t = b.clock.t.Add(10 * time.Second)
	see(Policy{Document: permitAll, Description: "all", Status: Status{Code: Active}})
	if s, err := modify(PolicyChange{Shadow: ptr("enabled")}); err != nil || s.Code != Updating {
		t.Errorf("changed: %+v, %v", s, err)
	}
	see(Policy{Document: permitAll, Description: "all", Shadow: true, Status: Status{Code: Updating}})
	b.again()
	if !runs().Shadow || runs().Text != permitAll {
		t.Errorf("after a restart: %+v", runs())
	}
	b.clock.t = b.clock.t.Add(10 * time.Second)
	see(Policy{Document: permitAll, Description: "all", Shadow: true, Status: Status{Code: Active}})
	if s, err := b.m.DeletePolicy(ctx, Call{}, id); err != nil || s.Code != Deleting {
		t.Errorf("deleted: %+v, %v", s, err)
	}
	see(Policy{Document: permitAll, Description: "all", Shadow: true, Status: Status{Code: Deleting}})
	if runs() != (endpoint.AuthorizationPolicy{}) {
		t.Errorf("deleted, and in force: %+v", runs())
	}
	if s, err := modify(PolicyChange{Document: ptr(permitAll)}); err != nil || s.Code != Creating {
		t.Errorf("made while the old one goes: %+v, %v", s, err)
	}
	see(Policy{Document: permitAll, Status: Status{Code: Creating}})
	if _, err := b.m.DeletePolicy(ctx, Call{}, id); err != nil {
		t.Error(err)
	}
	b.clock.t = b.clock.t.Add(10 * time.Second)
	if _, err := b.m.Policy(id); code(err) != CodePolicyNotFound {
		t.Errorf("gone: %v", err)
	}
}

// TestPolicyOfFile: the file's own endpoint shows its policy, which the API does not change.
func TestPolicyOfFile(t *testing.T) {
	b := open(t, "listen: 127.0.0.1:1194\nclient_cidr: 10.66.0.0/22\nassociations: [{subnet: subnet-0b1}]\nauthorization_policy: {file: p.cedar, shadow: true}\ndevice_posture: [{type: jamf, tenant: a}]\n")
	const id = "cvpn-endpoint-0123456789abcdef0"
	now := *b.m.now.Load()
	now.declared.Endpoint = id
	b.m.now.Store(&now)
	if _, err := b.m.Policy(id); code(err) != CodePolicyNotFound {
		t.Errorf("none in force: %v", err)
	}
	b.fleet.running = map[string]endpoint.Config{id: {AuthorizationPolicy: endpoint.AuthorizationPolicy{Text: permitAll, Shadow: true}}}
	// What was written since, and is not in force.
	if err := os.WriteFile(filepath.Join(b.dir, "p.cedar"), []byte("forbid(principal, action, resource);"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := b.m.Policy(id); err != nil || p != (Policy{Endpoint: id, Document: permitAll, Shadow: true, Status: Status{Code: Active}}) {
		t.Errorf("%+v, %v", p, err)
	}
	if e, _ := b.m.endpoint(id); len(e.Posture) != 1 || e.Posture[0].Type != "jamf" {
		t.Errorf("%+v", e.Posture)
	}
	if _, err := b.m.DeletePolicy(context.Background(), Call{}, id); code(err) != CodeUnsupported {
		t.Errorf("deleted: %v", err)
	}
}

// TestPosture: the providers of an endpoint are what its profiles name, until device posture is turned off.
func TestPosture(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	b.associate(id, "subnet-0a1")
	two := []endpoint.TrustProvider{{Type: "jamf", Tenant: "a"}, {Type: "jumpcloud", Tenant: "b", KeyURL: "https://keys.example.com/jwk.json"}}
	if err := b.m.ModifyEndpoint(ctx, Call{}, id, Changes{Posture: &Posture{true, two}}); err != nil {
		t.Fatal(err)
	}
	if err := b.m.ModifyEndpoint(ctx, Call{}, id, Changes{SplitTunnel: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	b.again()
	if e, _ := b.m.endpoint(id); !reflect.DeepEqual(e.Posture, two) || !reflect.DeepEqual(b.fleet.running[id].DevicePosture, two) {
		t.Errorf("%+v, runs with %+v", e.Posture, b.fleet.running[id].DevicePosture)
	}
	if err := b.m.ModifyEndpoint(ctx, Call{}, id, Changes{Posture: &Posture{}}); err != nil {
		t.Fatal(err)
	}
	if e, _ := b.m.endpoint(id); len(e.Posture)+len(b.fleet.running[id].DevicePosture) != 0 {
		t.Errorf("%+v", e.Posture)
	}
}
