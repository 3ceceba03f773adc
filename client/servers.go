package client

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/adit-vpn/adit/platform/durable"
)

// Where servers were reached last, by their names, for when nobody can be asked: a closed guard stops what a server for names on this
// machine asks itself, and the service may start anew behind it. An address is known once a tunnel was up there. None is a secret.

const (
	maxServers   = 32 // names that are kept of one owner, the newest
	maxAddresses = 8  // of one name
)

// reachedServers is the file.
type reachedServers struct {
	Servers []reachedServer `json:"servers"` // the newest first
}

// reachedServer is one name of a profile.
type reachedServer struct {
	Owner     string       `json:"owner"`
	Profile   string       `json:"profile"`
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"` // the one in use first
}

func (r reachedServer) is(k key, name string) bool {
	return r.Owner == k.owner && r.Profile == k.name && r.Name == name
}

func (s *store) serversPath() string { return filepath.Join(s.dir, "servers.json") }

// readServers reads the file once. One that a power cut has emptied says nothing.
func (s *store) readServers(log *slog.Logger) {
	path := s.serversPath()
	s.keptServers = unknown{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.Trim(text, "\x00")) == 0 {
		return
	}
	var kept unknown
	if err == nil {
		s.servers, kept, err = parseServers(text)
	}
	switch {
	case errors.Is(err, errLater):
		log.Error("left alone: a later version of Adit has written it", "file", path)
		s.keptServers = nil
	case err != nil:
		moveAside(log, path, err)
	default:
		s.keptServers = kept
	}
}

// parseServers reads what maxServers and maxAddresses leave of it.
func parseServers(text []byte) ([]reachedServer, unknown, error) {
	var in reachedServers
	kept, err := decode(text, &in)
	if err != nil {
		return nil, nil, err
	}
	return boundServers(in.Servers), kept, nil
}

// boundServers drops the oldest names of each owner that are too many, and what is no address.
func boundServers(list []reachedServer) (out []reachedServer) {
	of := map[string]int{}
	for _, r := range list {
		r.Addresses = slices.DeleteFunc(slices.Clone(r.Addresses), func(a netip.Addr) bool { return !a.IsValid() })
		r.Addresses = r.Addresses[:min(len(r.Addresses), maxAddresses)]
		if of[r.Owner]++; of[r.Owner] <= maxServers && len(r.Addresses) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// addressesOf is where a server of a profile was reached last.
func (s *store) addressesOf(k key, name string) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.servers {
		if r.is(k, name) {
			return slices.Clone(r.Addresses)
		}
	}
	return nil
}

// reached records where a tunnel of the profile is up, the address in use first.
func (s *store) reached(k key, name string, addresses []netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	addresses = addresses[:min(len(addresses), maxAddresses)]
	i := slices.IndexFunc(s.servers, func(r reachedServer) bool { return r.is(k, name) })
	if len(addresses) == 0 || i >= 0 && sameAddresses(s.servers[i].Addresses, addresses) {
		return nil // resolvers give them in another order each time
	}
	next := slices.DeleteFunc(slices.Clone(s.servers), func(r reachedServer) bool { return r.is(k, name) })
	return s.writeServersLocked(slices.Insert(next, 0, reachedServer{k.owner, k.name, name, slices.Clone(addresses)}))
}

func sameAddresses(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}

// moveServersLocked gives what is known of a profile's servers to another name of it, which may know better, or to nobody.
func (s *store) moveServersLocked(k key, to string) error {
	var next []reachedServer
	for _, r := range s.servers {
		if r.Owner == k.owner && r.Profile == k.name {
			if to == "" || slices.ContainsFunc(s.servers, func(o reachedServer) bool { return o.is(key{k.owner, to}, r.Name) }) {
				continue
			}
			r.Profile = to
		}
		next = append(next, r)
	}
	if slices.EqualFunc(next, s.servers, func(a, b reachedServer) bool { return a.Profile == b.Profile }) {
		return nil
	}
	return s.writeServersLocked(next)
}

func (s *store) writeServersLocked(next []reachedServer) error {
	if s.keptServers == nil {
		return errLater
	}
	next = boundServers(next)
	text, err := encode(reachedServers{next}, s.keptServers)
	if err == nil {
		err = durable.Swap(s.serversPath(), text, 0o600) // nobody waits for the disk: it is written while a tunnel comes up
	}
	if err != nil {
		return fmt.Errorf("where servers were reached is not recorded: %w", err)
	}
	s.servers = next
	return nil
}
