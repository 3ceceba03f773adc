// Package model is what the EC2 API knows: Client VPN endpoints with their target networks, routes and rules, checked as
// AWS checks them and kept in a file. It turns each endpoint into an endpoint.Config and hands that to a Runtime. It knows
// no HTTP (that is endpoint/ec2) and moves no packet (endpoint).
//
// What a method has acknowledged survives a kill at any point; what it has not may be lost, but is never half there. The
// states that AWS goes through (associating, pending-associate, authorizing) follow from the time of a record and
// the configured delay alone. It starts no goroutine.
package model

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/endpoint"
)

// Runtime runs endpoints. The fleet is one.
type Runtime interface {
	// Apply puts a configuration in force: it starts the endpoint, or reloads it. After an error everything is as before.
	Apply(ctx context.Context, id string, cfg endpoint.Config) error
	// Stop ends an endpoint with all its sessions; one that does not run is no error.
	Stop(ctx context.Context, id string) error
	// Running says whether an endpoint runs: one may have ended by itself.
	Running(id string) bool
	// Policy is the authorization policy that an endpoint judges by now, and whether in shadow mode; ok is false when there is none.
	Policy(id string) (text string, shadow, ok bool)
	// Connections are the clients of an endpoint, ended ones of late included.
	Connections(id string) []endpoint.Connection
	// Terminate ends the connection of an id, or those of a user, and says which. It revokes their sign-ins, also of clients that
	// are away.
	Terminate(id, connection, user string) []string
	// SignedIn says whether the client of a connection, or a user, could come back without signing in.
	SignedIn(id, connection, user string) bool
	// Export is a client's profile for a configuration.
	Export(id string, cfg endpoint.Config) (string, error)
}

// Declared is what the configuration file says: networks, and what ARNs and ids stand for (its API).
type Declared struct {
	Config endpoint.Config
	// Endpoint is the id of the endpoint that the file itself declares; empty: none.
	Endpoint string

	// Beside it, what ImportCertificate and CreateSAMLProvider brought; the Model's own.
	imported  []*imported
	providers []*provider
}

// Options is what a Model needs from outside.
type Options struct {
	Log      *slog.Logger // nil: none
	Now      func() time.Time
	ReadFile func(name string) ([]byte, error)
	// Free says whether an address can be listened on. Nil: all can.
	Free func(addr netip.AddrPort, transport string) bool
}

// Model is the state of the API. All methods are safe for concurrent use: reads never wait, mutations wait for each other.
type Model struct {
	rt    Runtime
	o     Options
	began time.Time // when it was opened
	now   atomic.Pointer[snapshot]
	// broken says of endpoints why they do not run (id, string).
	broken sync.Map

	write sync.Mutex // one mutation at a time
	store *store
}

// snapshot is the whole state at one time. Nobody changes it.
type snapshot struct {
	declared Declared
	records  map[string]*record
	tokens   map[string]token
}

// Open reads the file, which is made where there is none, and starts what is in it. An endpoint that cannot be started is there
// all the same, and its status says why. Close it in the end.
func Open(file string, d Declared, rt Runtime, o Options) (*Model, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Free == nil {
		o.Free = func(netip.AddrPort, string) bool { return true }
	}
	s, err := openStore(file)
	if err != nil {
		return nil, err
	}
	m := &Model{rt: rt, o: o, began: o.Now().UTC(), store: s}
	if err := m.begin(d); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return m, nil
}

// begin reads all records and starts them.
func (m *Model) begin(d Declared) error {
	records, tokens, err := m.store.load()
	if err != nil {
		return err
	}
	if d.imported, err = m.store.certificates(); err != nil {
		return err
	}
	if d.providers, err = m.store.providers(); err != nil {
		return err
	}
	if err := d.writeImported(); err != nil { // who uses one that is not there says so, too
		m.o.Log.Error("imported certificates and SAML providers are not all where endpoints read them", "error", err)
	}
	now := &snapshot{declared: d, records: records, tokens: tokens}
	old := &draft{snapshot: now, at: m.o.Now().UTC()}
	old.sweep()
	if c := old.out; len(c.gone)+len(c.stale) > 0 {
		if err := m.store.commit(c); err != nil {
			return err
		}
	}
	m.now.Store(now)
	m.clearStrays(now)
	for _, r := range now.sorted() {
		if r.Deleted.IsZero() { // one that cannot run keeps no other from it
			m.start(&now.declared, r)
		}
	}
	return nil
}

// checkDeclared says whether all endpoints can go on with another file: the error names the endpoint, and what the file lacks.
func (m *Model) checkDeclared(d Declared) error {
	now := m.now.Load()
	d.imported, d.providers = now.declared.imported, now.declared.providers
	for _, r := range now.sorted() {
		if !r.Deleted.IsZero() {
			continue
		}
		if _, broken := m.compile(&now.declared, r); broken != nil {
			continue // it does not run; others need not suffer
		}
		if _, err := m.compile(&d, r); err != nil {
			return fmt.Errorf("%s of the API: %w", r.ID, err)
		}
	}
	return nil
}

// Redeclare puts another file in force, if all endpoints can go on with it and then first, which is for what else follows the file,
// has no error; no mutation is in between. Else nothing has changed here, and done is false. The running endpoints are reloaded,
// since what files have in them may have changed, too; one that cannot be runs as before, and an error names it.
func (m *Model) Redeclare(ctx context.Context, d Declared, first func() error) (done bool, err error) {
	m.write.Lock()
	defer m.write.Unlock()
	if err := m.checkDeclared(d); err != nil {
		return false, err
	}
	if err := first(); err != nil {
		return false, err
	}
	next := *m.now.Load()
	d.imported, d.providers = next.declared.imported, next.declared.providers
	next.declared = d
	m.now.Store(&next)
	var errs []error
	for _, r := range next.sorted() {
		if !r.runs() {
			continue
		}
		cfg, err := m.compile(&d, r)
		if err == nil {
			err = m.rt.Apply(context.WithoutCancel(ctx), r.ID, cfg)
		}
		m.note(r.ID, err)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s of the API: %w", r.ID, err))
		}
	}
	return true, errors.Join(errs...)
}

// Close frees the file. Endpoints that run are the Runtime's.
func (m *Model) Close() error {
	m.write.Lock()
	defer m.write.Unlock()
	return m.store.close()
}

// sorted are the records in the order in which they were made.
func (s *snapshot) sorted() []*record {
	out := slices.Collect(maps.Values(s.records))
	slices.SortFunc(out, func(a, b *record) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// delay is how long AWS's passing states last.
func (s *snapshot) delay() time.Duration {
	if s.declared.Config.API == nil {
		return 0
	}
	return s.declared.Config.API.Delay
}

// draft is a snapshot in the making.
type draft struct {
	*snapshot
	at     time.Time
	before *snapshot
	dirty  string   // id of the endpoint whose meaning changes; at most one
	edited []string // ids of all records that change
	crl    *string  // of dirty; nil: stays
	// less says that the change only takes something away from clients. That is not to fail because a file is bad: the endpoint
	// is stopped instead.
	less bool
	out  commit
}

// edit is a copy of a record that may be changed.
func (d *draft) edit(id string) (*record, error) {
	r, err := d.find(id)
	if err != nil {
		return nil, err
	}
	c := r.clone()
	d.put(c)
	return c, nil
}

// put takes a record that is new or was changed.
func (d *draft) put(r *record) {
	d.records[r.ID], d.dirty = r, r.ID
	d.edited = append(d.edited, r.ID)
}

// find is a record that is there and not being deleted.
func (d *draft) find(id string) (*record, error) {
	if id == "" {
		return nil, missing("ClientVpnEndpointId")
	}
	if id == d.declared.Endpoint {
		return nil, errorf(CodeUnsupported, "Client VPN endpoint %s is declared in %s: change it there, then adit-endpoint reload", id, d.declared.Config.File)
	}
	r, ok := d.records[id]
	switch {
	case !ok:
		return nil, endpointNotFound(id)
	case !r.Deleted.IsZero():
		return nil, errorf(CodeEndpointNotFound, "The Client VPN endpoint %s is being deleted", id)
	}
	return r, nil
}

func endpointNotFound(id string) *Error {
	return errorf(CodeEndpointNotFound, "The Client VPN endpoint ID '%s' does not exist", id)
}

// mutate is the one way to change something. do checks and changes a draft, and says what is answered; then the
// endpoint is put in force, then the change is on disk, then the new state is everybody's.
func (m *Model) mutate(ctx context.Context, call Call, action string, params any, do func(d *draft) (answer string, err error)) (string, error) {
	m.write.Lock()
	defer m.write.Unlock()
	ctx = context.WithoutCancel(ctx) // who asked may go away, a change is made whole
	before := m.now.Load()
	now := m.o.Now().UTC()
	d := &draft{before: before, at: now, snapshot: &snapshot{declared: before.declared, records: maps.Clone(before.records), tokens: maps.Clone(before.tokens)}}
	if len(call.ClientToken) > maxToken {
		return "", badValue("ClientToken is longer than %d characters", maxToken)
	}
	key, sum := tokenKey(action, call.ClientToken), tokenSum(params)
	if t, seen := before.tokens[key]; call.ClientToken != "" && seen && now.Sub(t.Made) < tokenLife {
		if t.Sum != sum {
			return "", errorf(CodeTokenMismatch, "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
		}
		if call.DryRun {
			return "", dryRun()
		}
		return t.Answer, nil
	}
	d.sweep() // what is gone counts no more
	answer, err := do(d)
	if err != nil {
		return "", err
	}
	cfg, unfit := m.check(d)
	if unfit != nil && !d.less {
		return "", unfit
	}
	if call.DryRun {
		return "", dryRun()
	}
	var t *token
	if call.ClientToken != "" {
		t = &token{Sum: sum, Answer: answer, Made: now}
		d.tokens[key] = *t
	}
	d.sweep()
	c := &d.out
	for _, id := range d.edited {
		if r := d.records[id]; r != nil {
			c.records = append(c.records, r)
		}
	}
	c.tokenKey, c.token = key, t
	if d.crl != nil {
		c.crlOf, c.crl = d.dirty, *d.crl
	}
	if err := m.apply(ctx, d, cfg, unfit); err != nil {
		m.dropNewList(d)
		return "", err
	}
	if err := m.store.commit(*c); err != nil {
		m.o.Log.Error("the API's state cannot be written", "error", err)
		m.back(ctx, d)
		m.dropNewList(d)
		return "", errorf(CodeInternal, "the change could not be written: %s", said(err))
	}
	m.now.Store(d.snapshot)
	m.tidy(d, c.gone)
	return answer, nil
}

// dropNewList removes the revocation list of a change that was not made.
func (m *Model) dropNewList(d *draft) {
	if d.crl != nil {
		m.dropList(&d.declared, d.records[d.dirty])
	}
}

func dryRun() *Error {
	return errorf(CodeDryRun, "Request would have succeeded, but DryRun flag is set.")
}

// sweep forgets what has been deleted for longer than the delay, and old tokens. out says what.
func (d *draft) sweep() {
	for id, r := range d.records {
		if !r.Deleted.IsZero() && d.at.Sub(r.Deleted) >= d.delay() {
			delete(d.records, id)
			d.out.gone = append(d.out.gone, id)
		} else if slices.Contains(d.edited, id) {
			r.sweep(d.at, d.delay())
		}
	}
	for key, t := range d.tokens {
		if d.at.Sub(t.Made) >= tokenLife {
			delete(d.tokens, key)
			d.out.stale = append(d.out.stale, key)
		}
	}
	if len(d.tokens) > maxTokens { // the oldest one goes: at most one is new
		oldest := slices.MinFunc(slices.Collect(maps.Keys(d.tokens)), func(a, b string) int { return d.tokens[a].Made.Compare(d.tokens[b].Made) })
		delete(d.tokens, oldest)
		d.out.stale = append(d.out.stale, oldest)
	}
}

// check compiles the endpoint that changed.
func (m *Model) check(d *draft) (endpoint.Config, error) {
	r := d.records[d.dirty]
	if r == nil || !r.Deleted.IsZero() {
		return endpoint.Config{}, nil
	}
	cfg, err := m.compile(&d.declared, r)
	if err == nil {
		return cfg, nil
	}
	var ours *Error
	if errors.As(err, &ours) {
		return cfg, ours
	}
	m.o.Log.Warn("a request of the API is refused", "endpoint", r.ID, "error", err)
	return cfg, badValue("%s", said(err))
}

// apply has the Runtime do what changed. unfit is what is wrong with cfg; only less takes that.
func (m *Model) apply(ctx context.Context, d *draft, cfg endpoint.Config, unfit error) error {
	old, next := d.before.records[d.dirty], d.records[d.dirty]
	if d.crl != nil {
		if err := writeCRL(&d.declared, next, *d.crl); err != nil {
			m.o.Log.Error("a revocation list cannot be written", "error", err)
			return errorf(CodeInternal, "the revocation list cannot be written: %s", said(err))
		}
	}
	switch {
	case next != nil && next.runs():
		if unfit == nil && old != nil && old.runs() && m.rt.Running(d.dirty) {
			if was, err := m.compile(&d.before.declared, old); err == nil && reflect.DeepEqual(was, cfg) {
				return nil
			}
		}
		err := unfit
		if err == nil {
			err = m.rt.Apply(ctx, d.dirty, cfg)
		}
		if err == nil {
			m.note(d.dirty, nil)
			return nil
		}
		m.o.Log.Error("an endpoint of the API cannot take a change", "endpoint", d.dirty, "error", err)
		if !d.less {
			return errorf(CodeNotPermitted, "the endpoint cannot do that here: %s", said(err))
		}
		if err := m.rt.Stop(ctx, d.dirty); err != nil {
			return errorf(CodeInternal, "the endpoint cannot be stopped: %s", said(err))
		}
		m.o.Log.Error("the endpoint is stopped, so that nobody keeps what was taken away: mend it, then adit-endpoint reload", "endpoint", d.dirty)
		m.note(d.dirty, err)
	case old != nil && old.runs():
		if err := m.rt.Stop(ctx, d.dirty); err != nil {
			return errorf(CodeInternal, "the endpoint cannot be stopped: %s", said(err))
		}
		m.note(d.dirty, nil)
	}
	return nil
}

// back puts the endpoint as it was before a change that could not be written.
func (m *Model) back(ctx context.Context, d *draft) {
	old := d.before.records[d.dirty]
	var err error
	if old == nil || !old.runs() {
		err = m.rt.Stop(ctx, d.dirty)
	} else {
		var cfg endpoint.Config
		if cfg, err = m.compile(&d.before.declared, old); err == nil {
			err = m.rt.Apply(ctx, d.dirty, cfg)
		}
	}
	if err != nil {
		m.o.Log.Error("an endpoint does not run as the API says until the next start", "endpoint", d.dirty, "error", err)
	}
}

// newID is AWS's form: a prefix and 17 hexadecimal digits.
func newID(prefix string) string {
	var b [9]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])[:17]
}
