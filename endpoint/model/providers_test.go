package model

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/saml/idp"
	"github.com/adit-vpn/adit/saml/sp"
)

// metadataOf is that of an identity provider at an address.
func metadataOf(t *testing.T, base string) string {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	key, err := idp.NewKey(now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := idp.New(idp.Config{Base: base, Audience: sp.EntityID, ACS: sp.ACS, Key: key, Now: now,
		SignIn: func(context.Context, string, string, string) (idp.Person, bool) { return idp.Person{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	return string(p.Metadata())
}

// TestSAMLProvider from its making over other metadata to its end.
func TestSAMLProvider(t *testing.T) {
	b, ctx := open(t, ""), context.Background()
	first, second := metadataOf(t, "http://127.0.0.1:8081"), metadataOf(t, "http://127.0.0.1:8082")
	for name, c := range map[string]struct{ name, metadata, want string }{
		"an odd name":          {"a/b", first, CodeValidation},
		"too long a name":      {strings.Repeat("a", 129), first, CodeValidation},
		"no name":              {"", first, CodeValidation},
		"no metadata":          {"idp", "<a/>", CodeInvalidInput},
		"one of the file":      {"okta", first, CodeAlreadyExists},
		"too large a document": {"idp", strings.Repeat(" ", sp.MaxMetadata) + first, CodeInvalidInput},
	} {
		_, err := b.m.CreateSAMLProvider(ctx, c.name, c.metadata, nil)
		fails(t, name, err, c.want)
	}
	arn, err := b.m.CreateSAMLProvider(ctx, "idp", first, []Tag{{"a", "b"}})
	if err != nil || arn != "arn:aws:iam::123456789012:saml-provider/idp" {
		t.Fatal(arn, err)
	}
	_, err = b.m.CreateSAMLProvider(ctx, "idp", first, nil)
	fails(t, "a second one", err, CodeAlreadyExists)

	n := mutual()
	n.Authentication = []Authentication{{Type: FederatedAuthentication, SAMLProvider: arn}}
	e, err := b.m.CreateEndpoint(ctx, Call{}, n)
	if err != nil {
		t.Fatal(err)
	}
	b.associate(e.ID, "subnet-0a1")
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(b.fleet.running[e.ID].Authentication[0].Federated.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if read() != first {
		t.Error("it runs with other metadata")
	}
	full := *b.m.now.Load()
	full.declared.providers = slices.Repeat([]*provider{full.declared.providers[0]}, maxProvidersSAML)
	b.m.now.Store(&full)
	_, err = b.m.CreateSAMLProvider(ctx, "one-more", first, nil)
	fails(t, "one too many", err, CodeQuota)
	fails(t, "one in use", b.m.DeleteSAMLProvider(ctx, arn), CodeConflict)

	// A start finds it, and puts the file back.
	os.RemoveAll(filepath.Join(b.dir, "data", "imported"))
	b.again()
	if read() != first || len(b.files()) != 1 {
		t.Errorf("after a start: %q", b.files())
	}

	// Other metadata has another file, so that what runs is told.
	applied := b.fleet.applied
	if err := b.m.UpdateSAMLProvider(ctx, arn, second); err != nil {
		t.Fatal(err)
	}
	if read() != second || b.fleet.applied != applied+1 || len(b.files()) != 1 {
		t.Errorf("after an update: %d, %q", b.fleet.applied-applied, b.files())
	}
	fails(t, "an update of the file's", b.m.UpdateSAMLProvider(ctx, samlARN, first), CodeInvalidInput)
	fails(t, "an update to nonsense", b.m.UpdateSAMLProvider(ctx, arn, "x"), CodeInvalidInput)
	b.fleet.fail = errors.New("broken")
	fails(t, "one that the endpoint does not take", b.m.UpdateSAMLProvider(ctx, arn, first), CodeInvalidInput)
	b.fleet.fail = nil
	if read() != second || len(b.files()) != 1 {
		t.Errorf("after a failure: %q", b.files())
	}
	list := b.m.SAMLProviders()
	if len(list) != 2 || list[0].ARN != samlARN || list[1].ARN != arn || list[1].Metadata != second || !strings.HasPrefix(list[1].UUID, "ASP") || len(list[1].Tags) != 1 || !list[1].Created.Equal(b.clock.t) {
		t.Errorf("%+v", list)
	}
	if _, err := b.m.Redeclare(ctx, declared(t, b.dir, ""), follow); err != nil || read() != second {
		t.Error(err)
	}

	b.remove(e.ID)
	if err := b.m.DeleteSAMLProvider(ctx, arn); err != nil {
		t.Fatal(err)
	}
	b.again()
	if len(b.m.SAMLProviders()) != 1 || len(b.files()) != 0 {
		t.Errorf("deleted: %+v, %q", b.m.SAMLProviders(), b.files())
	}
	fails(t, "one that is gone", b.m.DeleteSAMLProvider(ctx, arn), CodeNoSuchEntity)
	fails(t, "the file's", b.m.DeleteSAMLProvider(ctx, samlARN), CodeInvalidInput)
}
