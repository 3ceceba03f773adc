// Package wfp is the guard on Windows: rules of the Windows Filtering Platform that decide what may leave the machine
// beside its tunnels, and what puts them in place. It starts no goroutines.
//
// Each Host has a sublayer of its own under our provider. Sublayers decide one after the other, and a
// block in any is final: what passes must pass all guards (Filter Arbitration in the platform's documentation). Each state is
// swapped in one transaction of the filtering engine. The objects belong to no session: they outlive a crash, and a restart
// of the machine as long as the service starts with it.
package wfp

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/adit-vpn/adit/routes"
)

// Config says whose guards these are.
type Config struct {
	// Dir is where the Hosts keep their journals: services with other directories have guards of their own.
	Dir string
	// Service is the Windows service that opens the guards again; where it does not start with the machine, they end with a restart.
	Service string
	// App is the service's program, and User a SID that its token has. Only such a process passes to the VPN's server.
	App, User string
}

// Firewall sets guards. Each call is a session and a transaction of its own, and needs an administrator: safe for
// concurrent use, also by several processes.
type Firewall struct {
	engine engine
	config Config
}

// engine is the filtering engine (fwpuclnt.dll), and session a connection to it. Each method is one function of it; errors
// are codes. What is made and deleted counts with commit; a session that is closed before changes nothing.
type engine interface {
	open() (session, error)
}

type session interface {
	begin() error
	commit() error
	close() error
	addProvider(service string) error
	deleteProvider() error
	sublayers() ([]sublayer, error) // of our provider
	addSublayer(sublayer) error
	deleteSublayer(key guid) error
	filters(layer) ([]placed, error) // of our provider
	addFilter(key guid, f filter) error
	deleteFilter(key guid) error
	appID(path string) ([]byte, error) // how filters know a program
}

// sublayer is the place of one Host's guard.
type sublayer struct {
	key  guid
	name string // for people
	data []byte // a label
}

// placed is a filter that is there. Its key says what it does (filter.key).
type placed struct {
	key, sublayer guid
	data          []byte // a tag
	disabled      bool
}

// tries is how often a transaction is begun: others' transactions take long at times.
const tries = 3

// Shut puts g in place of what the guard of that name is, and tunnel's LUID among the ways that stay open, 0 for none. What is
// there already stays, what somebody took away comes back. On an error what was there stays.
func (f *Firewall) Shut(name string, g routes.Guard, tunnel uint64) error {
	me := notes{App: f.config.App, User: f.config.User, Outer: g.Outer, Resolvers: g.Resolvers, Tunnel: tunnel,
		Closes: len(g.Closed) > 0, Inside: len(g.Inside) > 0}
	mine := sublayer{key: sublayerKey(f.config.Dir, name), name: "Adit " + name}
	var err error
	if mine.data, err = json.Marshal(label{f.config.Dir, name}); err != nil {
		return err
	}
	return f.transact("close the guard", func(s session) error {
		there, err := survey(s)
		if err != nil {
			return err
		}
		want, err := wanted(s, mine.key, g, me, there.others(mine.key))
		if err != nil {
			return err
		}
		if !there.has(mine.key) {
			if err := s.addProvider(f.config.Service); err != nil && !errors.Is(err, errExists) {
				return err
			}
			if err := s.addSublayer(mine); err != nil {
				return err
			}
		}
		return there.change(s, mine.key, want)
	})
}

// wanted are all filters of the guard "mine": what it decides, what the others announce to it, and what it announces.
func wanted(s session, mine guid, g routes.Guard, me notes, others []other) (want []filter, err error) {
	var r rules
	r.decide(g)
	r.start(g)
	if len(r.out) == 0 { // one that does nothing, to carry the notes
		r.stays()
		r.out = r.out[:1]
	}
	put := func(owner, into guid, fs []filter, n *notes) {
		for _, f := range fs {
			data, failed := tag(owner, n)
			n, err = nil, errors.Join(err, failed)
			f.sublayer, f.data = into, data
			want = append(want, f)
		}
	}
	announce := func(from, into other) error {
		if !into.notes.Closes && !into.notes.Inside {
			return nil // it stops nothing
		}
		id, err := s.appID(from.notes.App)
		if err != nil {
			return fmt.Errorf("program %q: %w", from.notes.App, err)
		}
		var r rules
		r.allow(from.notes, id, into.notes.Inside)
		put(from.key, into.key, r.out, nil)
		return nil
	}
	put(mine, mine, r.out, &me)
	self := other{mine, me}
	if err := announce(self, self); err != nil {
		return nil, err
	}
	for _, o := range others {
		if err := announce(self, o); err != nil {
			return nil, err
		}
		_ = announce(o, self) // a program that is gone sends nothing
	}
	return want, err
}

// Open takes the guard of that name away, and says whether there was one.
func (f *Firewall) Open(name string) (did bool, err error) {
	key := sublayerKey(f.config.Dir, name)
	err = f.transact("open the guard", func(s session) error {
		there, err := survey(s)
		if err != nil {
			return err
		}
		if did = there.has(key); !did {
			return nil
		}
		if err := there.change(s, key, nil); err != nil {
			return err
		}
		if err := s.deleteSublayer(key); err != nil {
			return err
		}
		if len(there.sublayers) > 1 {
			return nil
		}
		if err := s.deleteProvider(); !errors.Is(err, errNoProvider) {
			return err
		}
		return nil
	})
	return did && err == nil, err
}

// Names are the guards that are there, also those of crashed runs. Without the filtering engine's service none is in force, and
// none is found.
func (f *Firewall) Names() (names []string, err error) {
	err = f.transact("look for guards", func(s session) error {
		names = nil
		subs, err := s.sublayers()
		for _, sub := range subs {
			if l, err := readLabel(sub.data); err == nil && l.Dir == f.config.Dir && sublayerKey(l.Dir, l.Name) == sub.key {
				names = append(names, l.Name)
			}
		}
		return err
	})
	if errors.Is(err, errStopped) {
		return nil, nil
	}
	slices.Sort(names)
	return names, err
}

// transact does all of it or nothing.
func (f *Firewall) transact(what string, do func(session) error) error {
	for try := 1; ; try++ {
		err := f.once(do)
		if err == nil {
			return nil
		}
		if try == tries || !errors.Is(err, errBusy) {
			return fmt.Errorf("%s in the Windows Filtering Platform: %w", what, err)
		}
	}
}

func (f *Firewall) once(do func(session) error) (err error) {
	s, err := f.engine.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }() // which aborts what is not committed
	if err := s.begin(); err != nil {
		return err
	}
	if err := do(s); err != nil {
		return err
	}
	return s.commit()
}

// view is what is there.
type view struct {
	sublayers []sublayer
	filters   []placed
}

func survey(s session) (v view, err error) {
	if v.sublayers, err = s.sublayers(); err != nil {
		return v, err
	}
	if len(v.sublayers) == 0 {
		return v, nil // filters refer to one
	}
	for l := range layers {
		more, err := s.filters(l)
		if err != nil {
			return v, err
		}
		v.filters = append(v.filters, more...)
	}
	return v, nil
}

func (v view) has(key guid) bool {
	return slices.ContainsFunc(v.sublayers, func(s sublayer) bool { return s.key == key })
}

// change makes the filters of guard "mine" those that are wanted: its own in its sublayer and in others', and others' in its sublayer.
func (v view) change(s session, mine guid, want []filter) error {
	missing := map[guid]filter{}
	var order []guid
	for _, f := range want {
		key := f.key()
		if _, twice := missing[key]; !twice {
			order = append(order, key)
		}
		missing[key] = f
	}
	for _, p := range v.filters {
		owner, _, err := readTag(p.data)
		if p.sublayer != mine && (err != nil || owner != mine) {
			continue
		}
		// After a restart the engine keeps the rules of a provider whose service does not start by itself, but disabled.
		if _, ok := missing[p.key]; ok && !p.disabled {
			delete(missing, p.key)
		} else if err := s.deleteFilter(p.key); err != nil {
			return err
		}
	}
	for _, key := range order {
		if f, ok := missing[key]; ok {
			if err := s.addFilter(key, f); err != nil {
				return err
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	now, err := survey(s)
	if err == nil && slices.ContainsFunc(now.filters, func(p placed) bool { return p.sublayer == mine && p.disabled }) {
		err = errDisabled
	}
	return err
}

// other is another guard.
type other struct {
	key   guid
	notes notes
}

// others are all guards but one. What carries no notes that can be read is none: it stays as closed as it is.
func (v view) others(than guid) (out []other) {
	for _, p := range v.filters {
		owner, n, err := readTag(p.data)
		if err == nil && n != nil && owner == p.sublayer && owner != than {
			out = append(out, other{owner, *n})
		}
	}
	return out
}
