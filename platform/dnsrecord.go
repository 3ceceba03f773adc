package platform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/platform/lock"
	"github.com/adit-vpn/adit/routes"
)

// tunnelDNS is what one tunnel wants of the resolver.
type tunnelDNS struct {
	Name   string     `json:"name"` // the journal's
	Device string     `json:"device,omitempty"`
	Index  int        `json:"index,omitempty"` // the device's, as in a link
	Full   bool       `json:"full,omitempty"`  // all traffic goes through it
	DNS    routes.DNS `json:"dns"`
}

func (t tunnelDNS) link() link { return link{Index: t.Index, Device: t.Device} }

// all says that the tunnel's servers are for names of every domain.
func (t tunnelDNS) all() bool { return len(t.DNS.Servers) > 0 && len(t.DNS.Split) == 0 }

func (t tunnelDNS) equal(o tunnelDNS) bool {
	return t.Name == o.Name && t.Device == o.Device && t.Index == o.Index && t.Full == o.Full && t.DNS.Equal(o.DNS)
}

// tunnelsDNS is what the tunnels of one journal directory want, the newest first.
type tunnelsDNS []tunnelDNS

// index is where name's tunnel is, or -1.
func (l tunnelsDNS) index(name string) int {
	return slices.IndexFunc(l, func(t tunnelDNS) bool { return t.Name == name })
}

// with is l with t in the place that its tunnel has, or as the newest.
func (l tunnelsDNS) with(t tunnelDNS) tunnelsDNS {
	if i := l.index(t.Name); i >= 0 {
		l[i] = t
		return l
	}
	return slices.Insert(l, 0, t)
}

// without is a copy of l that lacks name's tunnel.
func (l tunnelsDNS) without(name string) tunnelsDNS {
	return slices.DeleteFunc(slices.Clone(l), func(t tunnelDNS) bool { return t.Name == name })
}

// ordered are the tunnels, the one whose servers come first in front: those that take all traffic, then the newest.
func (l tunnelsDNS) ordered() tunnelsDNS {
	out := slices.Clone(l)
	slices.SortStableFunc(out, func(a, b tunnelDNS) int {
		switch {
		case a.Full == b.Full:
			return 0
		case a.Full:
			return -1
		}
		return 1
	})
	return out
}

// check refuses what must not reach a file, a program or the system; allowed says what else this system cannot be told.
func (l tunnelsDNS) check(allowed func(routes.DNS) error) error {
	for _, t := range l {
		if err := errors.Join(validDNS(t.DNS), allowed(t.DNS)); !validName(t.Name) || err != nil {
			return errors.Join(fmt.Errorf("tunnel %q is not valid", t.Name), err)
		}
	}
	return nil
}

const (
	stateName  = ".dns.state" // no valid name of a journal
	dnsLock    = ".dns"
	dnsVersion = 1
)

// dnsRecord is a file beside the journals of one directory. It says what their tunnels want of the resolver, and what undoes
// that: an S, of which the zero one says that there are none. Whoever reads or changes it, or the resolver, holds its lock.
// An entry is worth as much as its tunnel's journal lock: it is undone by whoever gets that lock. Safe for concurrent use.
type dnsRecord[S any] struct {
	dir   string
	log   *slog.Logger
	parse func(text []byte) (*S, error)
}

func (r dnsRecord[S]) path() string { return filepath.Join(r.dir, stateName) }

// locked runs f on the state, while nobody else reads or changes it. Without a directory f gets a zero one.
func (r dnsRecord[S]) locked(f func(s *S) error) error {
	held, err := lock.Wait(filepath.Join(r.dir, dnsLock))
	if errors.Is(err, fs.ErrNotExist) {
		return f(new(S))
	} else if err != nil {
		return fmt.Errorf("journal directory: %w", err)
	}
	s, err := r.load()
	if err == nil {
		err = f(s)
	}
	return errors.Join(err, held.Remove())
}

// load reads the state. What cannot be read is moved aside.
func (r dnsRecord[S]) load() (*S, error) {
	text, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(strings.Trim(string(text), "\x00")) == 0 {
		return new(S), nil // empty: the machine stopped before the text of durable.Swap was on disk
	} else if err != nil {
		return nil, err
	}
	s, err := r.parse(text)
	if err != nil {
		r.log.Warn("the record of DNS changes cannot be read and is moved aside; check DNS by hand", "file", r.path(), "moved", r.path()+".bad", "error", err)
		return new(S), os.Rename(r.path(), r.path()+".bad")
	}
	return s, nil
}

// save puts s into the file by write, where it says something else.
func (r dnsRecord[S]) save(s *S, write func(path string, text []byte, mode fs.FileMode) error) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(r.path()); err == nil && string(old) == string(text) {
		return nil
	}
	return write(r.path(), text, 0o600)
}

// remove deletes the file: nobody wants anything any more.
func (r dnsRecord[S]) remove() error { return but(os.Remove(r.path()), fs.ErrNotExist) }

// sweep deletes what a killed writer left. Under the lock.
func (r dnsRecord[S]) sweep() {
	left, _ := filepath.Glob(filepath.Join(r.dir, "."+stateName+".adit-*"))
	for _, path := range left {
		os.Remove(path)
	}
}
