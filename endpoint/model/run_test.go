package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/adit-vpn/adit/endpoint"
)

func (b *bench) redeclared(old, new string) Declared {
	b.t.Helper()
	if !strings.Contains(declaredText, old) {
		b.t.Fatalf("the file has no %q", old)
	}
	cfg, err := endpoint.ParseConfig(filepath.Join(b.dir, "adit.yaml"), []byte(strings.Replace(declaredText, old, new, 1)))
	if err != nil {
		b.t.Fatal(err)
	}
	return Declared{Config: cfg}
}

// restart opens the state with another file and another fleet.
func (b *bench) restart(d Declared, f *fleet) {
	b.t.Helper()
	if err := b.m.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.fleet = f
	m, err := Open(filepath.Join(b.dir, "api.db"), d, f, Options{Now: b.clock.now, ReadFile: os.ReadFile})
	if err != nil {
		b.t.Fatalf("one that cannot run keeps the process down: %v", err)
	}
	b.m = m
}

// TestBroken: an endpoint that cannot be started keeps no other down, says why, and can be repaired, reduced and deleted.
func TestBroken(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	bad, good := b.create(), b.create()
	first, second := b.associate(bad, "subnet-0a1"), b.associate(bad, "subnet-0a2")
	b.associate(good, "subnet-0b1")

	b.restart(declared(t, b.dir, ""), &fleet{fail: errors.New("server key: open /etc/secret place/private/server.key: permission denied"), failID: bad})
	check := func(broken bool, says string) {
		t.Helper()
		e, _ := b.m.endpoint(bad)
		if b.fleet.Running(bad) == broken || (e.Status.Message != "") != broken || !strings.Contains(e.Status.Message, says) || strings.Contains(e.Status.Message, "/etc") {
			t.Errorf("runs %v, status %+v", b.fleet.Running(bad), e.Status)
		}
		if e, _ := b.m.endpoint(good); !b.fleet.Running(good) || e.Status != (Status{Code: Available}) {
			t.Errorf("the other one: runs %v, status %+v", b.fleet.Running(good), e.Status)
		}
	}
	check(true, "permission denied")
	b.fleet.fail = nil
	if _, err := b.m.Redeclare(ctx, declared(t, b.dir, ""), follow); err != nil {
		t.Fatal(err)
	}
	check(false, "")

	// A subnet is gone since the last start.
	without := b.redeclared("{id: subnet-0a1, cidr: 10.1.1.0/24, zone: us-east-1a}, ", "")
	b.restart(without, &fleet{})
	check(true, "subnet-0a1")
	if err := b.m.checkDeclared(without); err != nil {
		t.Errorf("a file is refused for an endpoint that does not run anyway: %v", err)
	}
	if _, err := b.m.Disassociate(ctx, Call{}, bad, first); err != nil {
		t.Errorf("the way out: %v", err)
	}
	check(false, "")
	// One that has ended by itself is started by the next change, also by one that means nothing.
	if err := b.fleet.Stop(ctx, bad); err != nil {
		t.Fatal(err)
	}
	check(true, "the log")
	if err := b.m.ModifyEndpoint(ctx, Call{}, bad, Changes{SplitTunnel: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	check(false, "")
	// The ARN of its certificate is gone: it can still be deleted.
	b.restart(b.redeclared(", key: server.key", ""), &fleet{})
	if _, err := b.m.Disassociate(ctx, Call{}, bad, second); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.DeleteEndpoint(ctx, Call{}, bad); err != nil {
		t.Fatal(err)
	}
}

// TestAddresses: a file without the address of an endpoint is refused, with both names.
func TestAddresses(t *testing.T) {
	b := open(t, "")
	id := b.create()
	err := b.m.checkDeclared(b.redeclared("addresses: [127.0.0.1]", "addresses: [127.0.0.2]"))
	if err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(err.Error(), "adit.yaml") {
		t.Errorf("%v", err)
	}
}

// TestSamePort: so is one whose own endpoint is where one of the API is.
func TestSamePort(t *testing.T) {
	b := open(t, "")
	id := b.create()
	at := b.m.Endpoints()[0].Listen[0]
	own := func(listen string, transport string) error {
		return b.m.checkDeclared(b.redeclared("networks:", "listen: "+listen+"\ntransport: "+transport+"\nclient_cidr: 10.200.0.0/22\nnetworks:"))
	}
	for _, listen := range []string{at.String(), fmt.Sprintf("0.0.0.0:%d", at.Port())} {
		if err := own(listen, "udp"); err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), at.String()) || !strings.Contains(err.Error(), "adit.yaml") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	if err := own(at.String(), "tcp"); err != nil {
		t.Errorf("tcp: %v", err)
	}
	if err := own(fmt.Sprintf("127.0.0.1:%d", at.Port()+1), "udp"); err != nil {
		t.Errorf("another port: %v", err)
	}
}

// TestLess: what is taken away from clients is taken away also when the endpoint cannot be reloaded: then it stops. Nothing
// else is acknowledged that is not in force.
func TestLess(t *testing.T) {
	ctx := context.Background()
	for name, take := range map[string]func(m *Model, id, aid, list string) error{
		"a rule": func(m *Model, id, _, _ string) error {
			_, err := m.RevokeIngress(ctx, Call{}, id, Ingress{CIDR: "10.1.0.0/16", All: true})
			return err
		},
		"a route": func(m *Model, id, _, _ string) error {
			_, err := m.DeleteRoute(ctx, Call{}, id, "192.0.2.0/24", "subnet-0a1")
			return err
		},
		"a target network": func(m *Model, id, aid, _ string) error {
			_, err := m.Disassociate(ctx, Call{}, id, aid)
			return err
		},
		"certificates": func(m *Model, id, _, list string) error { return m.ImportCRL(ctx, Call{}, id, list) },
	} {
		b := open(t, "")
		id := b.create()
		aid := b.associate(id, "subnet-0a1")
		b.associate(id, "subnet-0a2")
		if _, err := b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: "10.1.0.0/16", All: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.m.CreateRoute(ctx, Call{}, id, "192.0.2.0/24", "subnet-0a1", ""); err != nil {
			t.Fatal(err)
		}
		ca := newAuthority(t)
		ca.in(t, b.dir)
		b.fleet.fail = errors.New("server certificate: expired")
		if _, err := b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: "0.0.0.0/0", All: true}); code(err) != CodeNotPermitted || !b.fleet.Running(id) {
			t.Fatalf("%s: something is given: %v", name, err)
		}
		if err := take(b.m, id, aid, ca.list(t)); err != nil || b.fleet.Running(id) {
			t.Errorf("%s: %v, runs %v", name, err, b.fleet.Running(id))
		}
		if e, _ := b.m.endpoint(id); !strings.Contains(e.Status.Message, "expired") {
			t.Errorf("%s: status %+v", name, e.Status)
		}
		b.again()
		if e, _ := b.m.endpoint(id); !b.fleet.Running(id) || e.Status.Message != "" {
			t.Errorf("%s: mended, and status %+v", name, e.Status)
		}
		cfg := b.fleet.running[id]
		mutual, _, _ := cfg.Methods()
		if len(cfg.Rules)+len(cfg.Routes)+len(cfg.Associations) == 4 && mutual.CRL == "" {
			t.Errorf("%s: back after a restart", name)
		}
	}
}

// TestDeletedDoNotCount: with a delay, what is over counts no more, now and after a restart; and its files go, all but the log.
func TestDeletedDoNotCount(t *testing.T) {
	ctx := context.Background()
	b := open(t, "  delay: 5s\n")
	dir := func(id string) string { return filepath.Join(b.dir, "data", Endpoints, id) }
	var last string
	for range 3 {
		var ids []string
		for range maxEndpoints { // there are as many places to listen on
			ids = append(ids, b.create())
		}
		ca := newAuthority(t)
		ca.in(t, b.dir)
		for _, id := range ids {
			if err := b.m.ImportCRL(ctx, Call{}, id, ca.list(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.m.DeleteEndpoint(ctx, Call{}, id); err != nil {
				t.Fatal(err)
			}
			if e, ok := b.m.endpoint(id); !ok || !e.Deleted.Equal(b.clock.t) {
				t.Errorf("deleted at %v, %v", e.Deleted, ok)
			}
		}
		last = ids[0]
		for _, name := range []string{"connections.jsonl", "connections-1.jsonl", "signins.json"} {
			if err := os.WriteFile(filepath.Join(dir(last), name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b.clock.t = b.clock.t.Add(5 * time.Second)
	}
	b.again()
	if n := len(b.m.now.Load().records); n != 0 {
		t.Errorf("%d records after the restart", n)
	}
	if files, _ := filepath.Glob(dir("*")); len(files) != 3 {
		t.Errorf("left: %v", files)
	}
	if files, _ := filepath.Glob(filepath.Join(dir(last), "*")); len(files) != 2 {
		t.Errorf("left: %v", files)
	}
}

// TestStrays: what nobody was answered leaves nothing, neither a refused list nor what a kill has left.
func TestStrays(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	b.associate(id, "subnet-0a1")
	ca := newAuthority(t)
	ca.in(t, b.dir)
	text := ca.list(t)
	lists := func() int {
		files, _ := filepath.Glob(filepath.Join(b.dir, "data", Endpoints, id, crlPrefix+"*"))
		return len(files)
	}
	var names []string
	for range 2 { // each import counts, also of the same: it resets the sessions
		if err := b.m.ImportCRL(ctx, Call{}, id, text); err != nil {
			t.Fatal(err)
		}
		cfg := b.fleet.running[id]
		mutual, _, _ := cfg.Methods()
		names = append(names, mutual.CRL)
	}
	if names[0] == names[1] || b.fleet.applied != 3 || lists() != 1 {
		t.Errorf("lists %v, applied %d times, %d there", names, b.fleet.applied, lists())
	}
	for _, name := range []string{filepath.Join(id, crlPrefix+"0123.pem"), filepath.Join("cvpn-endpoint-00000000000000001", "signins.json")} {
		name = filepath.Join(b.dir, "data", Endpoints, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.again()
	if all, _ := filepath.Glob(filepath.Join(b.dir, "data", Endpoints, "*")); len(all) != 1 || lists() != 1 {
		t.Errorf("left: %v, %d lists", all, lists())
	}
	// The store is read only now: the change is undone, with its file.
	if err := b.m.store.close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(b.dir, "api.db"), 0o600, &bolt.Options{ReadOnly: true, Timeout: openTimeout})
	if err != nil {
		t.Fatal(err)
	}
	b.m.store.db = db
	if err := b.m.ImportCRL(ctx, Call{}, id, text); code(err) != CodeInternal || lists() != 1 {
		t.Errorf("%v, %d lists", err, lists())
	}
}

// TestClientTokenBounds: neither their length nor their number is the caller's.
func TestClientTokenBounds(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	n := mutual()
	if _, err := b.m.CreateEndpoint(ctx, Call{ClientToken: strings.Repeat("x", maxToken+1)}, n); code(err) != CodeBadValue || len(b.m.Endpoints()) != 0 {
		t.Errorf("a long one: %v", err)
	}
	if _, err := b.m.CreateEndpoint(ctx, Call{ClientToken: strings.Repeat("x", maxToken)}, n); err != nil {
		t.Error(err)
	}
	d := &draft{snapshot: &snapshot{tokens: map[string]token{}}, at: b.clock.t}
	for i := range maxTokens + 1 {
		d.tokens[tokenKey("x", string(rune(0x1000+i)))] = token{Made: b.clock.t.Add(time.Duration(i-maxTokens) * time.Second)}
	}
	d.sweep()
	if want := tokenKey("x", string(rune(0x1000))); len(d.tokens) != maxTokens || len(d.out.stale) != 1 || d.out.stale[0] != want {
		t.Errorf("%d are kept, %q go", len(d.tokens), d.out.stale)
	}
}

// TestOlderStore: a file from before there were imported certificates is completed.
func TestOlderStore(t *testing.T) {
	b := open(t, "")
	id := b.create()
	if err := b.m.store.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketCerts) }); err != nil {
		t.Fatal(err)
	}
	b.again()
	if _, ok := b.m.endpoint(id); !ok {
		t.Error("the endpoint is gone")
	}
	if err := b.m.store.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketCerts) }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.store.certificates(); err == nil || !strings.Contains(err.Error(), "api.db") {
		t.Errorf("no bucket: %v", err)
	}
}

// TestTagValues: up to 256 characters; an empty value is one when tags are deleted.
func TestTagValues(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	ids := []string{id}
	if err := b.m.SetTags(ctx, Call{}, ids, []Tag{{"a", strings.Repeat("é", 256)}, {"b", ""}}); err != nil {
		t.Fatal(err)
	}
	if err := b.m.SetTags(ctx, Call{}, ids, []Tag{{"c", strings.Repeat("x", 257)}}); code(err) != CodeBadValue {
		t.Errorf("257: %v", err)
	}
	if err := b.m.DeleteTags(ctx, Call{}, ids, []TagMatch{{"a", ptr("")}, {"b", ptr("")}}); err != nil {
		t.Fatal(err)
	}
	if tags := b.m.Tags()[id]; len(tags) != 1 || tags[0].Key != "a" {
		t.Errorf("%v", tags)
	}
	if err := b.m.DeleteTags(ctx, Call{}, ids, []TagMatch{{Key: "a"}}); err != nil || len(b.m.Tags()) != 0 {
		t.Errorf("%v, %v", b.m.Tags(), err)
	}
}

// TestAnswers: no answer has the YAML's keys or a path.
func TestAnswers(t *testing.T) {
	ctx := context.Background()
	b := open(t, "")
	id := b.create()
	b.associate(id, "subnet-0a1")
	_, err := b.m.CreateRoute(ctx, Call{}, id, "192.0.2.0/24", LocalTarget, "")
	if code(err) != CodeBadValue || strings.Contains(err.Error(), "routes[") || !strings.Contains(err.Error(), "10.64.0.0/22") {
		t.Errorf("local: %v", err)
	}
	if _, err := b.m.CreateRoute(ctx, Call{}, id, "10.64.0.0/24", LocalTarget, ""); err != nil {
		t.Errorf("local: %v", err)
	}
	b.fleet.fail = errors.New(`open "` + filepath.Join(b.dir, "server.key") + `": no such file`)
	_, err = b.m.AuthorizeIngress(ctx, Call{}, id, Ingress{CIDR: "0.0.0.0/0", All: true})
	if code(err) != CodeNotPermitted || strings.Contains(err.Error(), b.dir) || !strings.Contains(err.Error(), `"server.key": no such file`) {
		t.Errorf("a file: %v", err)
	}
}

// TestImportedNotWritten: files of certificates that cannot be written keep nobody down who needs none of them.
func TestImportedNotWritten(t *testing.T) {
	b := open(t, "")
	cert, key := pair(t, "one")
	if _, err := b.m.ImportCertificate(context.Background(), NewCertificate{Text: cert, Key: key}); err != nil {
		t.Fatal(err)
	}
	id := b.create()
	b.associate(id, "subnet-0a1")
	dir := filepath.Join(b.dir, "data", "imported")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in the way
		t.Fatal(err)
	}
	b.again()
	if !b.fleet.Running(id) {
		t.Error("it does not run")
	}
}
