package model

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
)

// TestTransitGateway: an endpoint with a transit gateway of the account has two zones of it, and runs at once; its routes lead through all
// zones, and nothing is there by itself.
func TestTransitGateway(t *testing.T) {
	b, ctx := open(t, ""), context.Background()
	n := mutual()
	n.Gateway = &NewGateway{ID: ownGateway}
	e, err := b.m.CreateEndpoint(ctx, Call{ClientToken: "a"}, n)
	if err != nil {
		t.Fatal(err)
	}
	id := e.ID
	runs := func() endpoint.Config { return b.fleet.running[id] }
	subnets := func() (out []string) {
		for _, a := range runs().Associations {
			out = append(out, a.Subnet)
		}
		return out
	}
	if got := subnets(); !slices.Equal(got, []string{ownGateway + ".us-east-1a", ownGateway + ".us-east-1b"}) || len(runs().Networks) != 1 || runs().Networks[0].ID != ownGateway || len(runs().Routes) != 0 {
		t.Errorf("runs with %q, %+v", got, runs().Networks)
	}
	see, _ := b.m.endpoint(id)
	if g := see.Gateway; see.Status.Code != Available || len(see.Subnets) != 0 || g == nil || g.Gateway != ownGateway || g.State != Available || !slices.Equal(g.Zones, []string{"us-east-1a", "us-east-1b"}) {
		t.Errorf("%+v, %+v", see.Status, see.Gateway)
	}
	as, err := b.m.Associations(id)
	if err != nil || len(as) != 2 || as[1].Subnet != ownGateway || as[1].VPC != "" || as[1].Zone != "us-east-1b" || as[1].Status.Code != Associated {
		t.Errorf("%+v, %v", as, err)
	}
	if routes, err := b.m.Routes(id); err != nil || len(routes) != 0 {
		t.Errorf("%+v, %v", routes, err)
	}

	// Routes name no target.
	if _, err := b.m.CreateRoute(ctx, Call{}, id, "10.1.0.0/16", "", "first"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.CreateRoute(ctx, Call{}, id, "10.1.0.0/16", "", ""); code(err) != CodeRouteTwice {
		t.Errorf("twice: %v", err)
	}
	if _, err := b.m.CreateRoute(ctx, Call{}, id, "10.2.0.0/16", "subnet-0a1", ""); code(err) != CodeBadCombination {
		t.Errorf("through a subnet: %v", err)
	}
	if _, err := b.m.CreateRoute(ctx, Call{}, id, "10.64.0.0/24", LocalTarget, ""); err != nil {
		t.Errorf("from client to client: %v", err)
	}
	to := netip.MustParsePrefix("10.1.0.0/16")
	want := []endpoint.Route{{Destination: to, Target: ownGateway + ".us-east-1a"}, {Destination: to, Target: ownGateway + ".us-east-1b"}, {Destination: netip.MustParsePrefix("10.64.0.0/24"), Target: LocalTarget}}
	if !slices.Equal(runs().Routes, want) {
		t.Errorf("routes %+v", runs().Routes)
	}
	routes, err := b.m.Routes(id)
	if err != nil || len(routes) != 2 || routes[0].Attachment != see.Gateway.ID || routes[0].Target != "" || routes[0].Origin != OriginAdded || routes[1].Attachment != "" {
		t.Errorf("%+v, %v", routes, err)
	}

	// Zones come and go; subnets of VPCs, and their groups, do not.
	if _, err := b.m.AssociateZone(ctx, Call{}, id, "us-east-1c"); err != nil {
		t.Fatal(err)
	}
	if len(runs().Associations) != 3 || len(runs().Routes) != 4 {
		t.Errorf("with a zone more: %q, %+v", subnets(), runs().Routes)
	}
	if _, err := b.m.AssociateZone(ctx, Call{}, id, "us-east-1c"); code(err) != CodeZoneTwice {
		t.Errorf("twice: %v", err)
	}
	if _, err := b.m.Associate(ctx, Call{}, id, "subnet-0a1"); code(err) != CodeBadCombination {
		t.Errorf("a subnet: %v", err)
	}
	if err := b.m.ModifyEndpoint(ctx, Call{}, id, Changes{VPC: ptr("vpc-0a")}); code(err) != CodeBadCombination {
		t.Errorf("a VPC: %v", err)
	}
	if _, err := b.m.AcceptAttachment(ctx, Call{}, see.Gateway.ID); code(err) != CodeIncorrectState {
		t.Errorf("accepted again: %v", err)
	}
	if _, err := b.m.Disassociate(ctx, Call{}, id, as[0].ID); err != nil || len(runs().Associations) != 2 || len(runs().Routes) != 3 {
		t.Errorf("with a zone less: %v, %q", err, subnets())
	}
	b.again()
	if got := subnets(); !slices.Equal(got, []string{ownGateway + ".us-east-1b", ownGateway + ".us-east-1c"}) {
		t.Errorf("after a restart: %q", got)
	}
	vpc := b.create()
	if _, err := b.m.AssociateZone(ctx, Call{}, vpc, "us-east-1a"); code(err) != CodeBadCombination {
		t.Errorf("a zone of an endpoint without a transit gateway: %v", err)
	}

	// Its end is the end of all sessions.
	if a, err := b.m.DeleteAttachment(ctx, Call{}, see.Gateway.ID); err != nil || a.State != Deleting || a.Endpoint != id {
		t.Errorf("%+v, %v", a, err)
	}
	if b.fleet.Running(id) {
		t.Error("it runs without an attachment")
	}
	if _, err := b.m.AssociateZone(ctx, Call{}, id, "us-east-1a"); code(err) != CodeIncorrectState {
		t.Errorf("a zone of nothing: %v", err)
	}
	if _, err := b.m.DeleteAttachment(ctx, Call{}, see.Gateway.ID); code(err) != CodeAttachmentNotFound {
		t.Errorf("deleted again: %v", err)
	}
	if see, _ := b.m.endpoint(id); see.Gateway != nil || see.Status.Code != PendingAssociate {
		t.Errorf("%+v", see)
	}
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); err != nil {
		t.Error(err)
	}
}

// TestTransitGatewayOfOthers: an attachment to another account's gateway waits for its owner, and its states take their time.
func TestTransitGatewayOfOthers(t *testing.T) {
	b, ctx := open(t, "  delay: 10s\n"), context.Background()
	make := func() (string, string) {
		t.Helper()
		n := mutual()
		n.Gateway = &NewGateway{ID: theirGateway}
		e, err := b.m.CreateEndpoint(ctx, Call{}, n)
		if err != nil {
			t.Fatal(err)
		}
		see, _ := b.m.endpoint(e.ID)
		return e.ID, see.Gateway.ID
	}
	id, attachment := make()
	expect := func(id, state, status string) {
		t.Helper()
		see, _ := b.m.endpoint(id)
		if see.Gateway == nil || see.Gateway.State != state || see.Status.Code != status {
			t.Errorf("%+v, %s, want %s, %s", see.Gateway, see.Status.Code, state, status)
		}
	}
	b.clock.t = b.clock.t.Add(10 * time.Second)
	expect(id, PendingAcceptance, PendingAssociate)
	if b.fleet.Running(id) {
		t.Error("it runs before it was accepted")
	}
	if _, err := b.m.AcceptAttachment(ctx, Call{DryRun: true}, attachment); code(err) != CodeDryRun {
		t.Errorf("dry: %v", err)
	}
	if a, err := b.m.AcceptAttachment(ctx, Call{}, attachment); err != nil || a.State != Pending || a.Gateway != theirGateway || !slices.Equal(a.Zones, []string{"us-east-1a"}) {
		t.Errorf("%+v, %v", a, err)
	}
	if !b.fleet.Running(id) {
		t.Error("it does not run")
	}
	expect(id, Pending, PendingAssociate)
	b.clock.t = b.clock.t.Add(10 * time.Second)
	expect(id, Available, Available)
	b.again()
	expect(id, Available, Available)

	other, attachment := make()
	if a, err := b.m.RejectAttachment(ctx, Call{}, attachment); err != nil || a.State != Rejected {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := b.m.AcceptAttachment(ctx, Call{}, attachment); code(err) != CodeIncorrectState {
		t.Errorf("accepted after all: %v", err)
	}
	b.clock.t = b.clock.t.Add(10 * time.Second)
	expect(other, Rejected, PendingAssociate)
	if b.fleet.Running(other) {
		t.Error("it runs, and was rejected")
	}
	if _, err := b.m.AcceptAttachment(ctx, Call{}, "tgw-attach-0"); code(err) != CodeAttachmentNotFound {
		t.Errorf("none: %v", err)
	}
}

// TestTransitGatewayKernel: in kernel mode the gateway's network sees the clients' own addresses.
func TestTransitGatewayKernel(t *testing.T) {
	d := declared(t, t.TempDir(), "network: kernel\n")
	if v, s, ok := d.subnet(ownGateway + ".us-east-1b"); !ok || !v.Transit || !s.Plain4 || !s.Plain6 || s.Zone != "us-east-1b" {
		t.Errorf("%+v, %v", s, ok)
	}
	if _, s, ok := d.subnet("subnet-0a1"); !ok || s.Plain4 || s.Plain6 {
		t.Errorf("%+v, %v", s, ok)
	}
	for _, g := range d.Config.API.TransitGateways {
		if g.Subnets[0].Plain4 {
			t.Error("the file's own value changed")
		}
	}
}
