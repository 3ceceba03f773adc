package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/routes"
)

// resolverTime bounds one conversation with a manager of the resolver's configuration.
const resolverTime = 5 * time.Second

// resolver is the system's resolver configuration. All tunnels of one journal directory share it: what
// they want, in which order, and what was there before is in one dnsRecord. Safe for concurrent use.
type resolver struct {
	dir, etc, bus, resolvconf string
	log                       *slog.Logger
}

func (r *resolver) resolvConf() string { return filepath.Join(r.etc, "resolv.conf") }

func (r *resolver) record() dnsRecord[dnsState] { return dnsRecord[dnsState]{r.dir, r.log, parseState} }

// dnsState is what all tunnels want, and what undoes it.
type dnsState struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"` // which dnsManager
	Etc     string `json:"etc"`
	Bus     string `json:"bus,omitempty"`
	Program string `json:"program,omitempty"` // resolvconf
	// File and Previous are what was there before: resolv.conf, NetworkManager's own setting.
	File     *savedFile `json:"file,omitempty"`
	Previous *globalDNS `json:"previous,omitempty"`
	// Underlay are the servers outside the tunnels, where the manager does not show them meanwhile.
	Underlay []netip.Addr `json:"underlay,omitempty"`
	Tunnels  tunnelsDNS   `json:"tunnels"`
}

// plain is what a resolv.conf says for all tunnels, which has room for the servers of one, and whose
// they are. The search domains of tunnels without servers follow.
func (s *dnsState) plain() (d routes.DNS, first string) {
	for _, t := range s.Tunnels.ordered() {
		switch {
		case len(t.DNS.Servers) > 0 && first == "":
			first, d.Servers, d.Search = t.Name, t.DNS.Servers, append(slices.Clone(t.DNS.Search), d.Search...)
		case len(t.DNS.Servers) == 0:
			d.Search = append(d.Search, t.DNS.Search...)
		}
	}
	return d, first
}

// dnsManager is one way to configure the resolver. Its calls come from one goroutine at a time, the
// holder of the lock.
type dnsManager interface {
	// prepare puts into s what enforce needs and what undoes it, before s is on disk.
	prepare(ctx context.Context, s *dnsState) error
	// enforce makes the system look like s, which has at least one tunnel.
	enforce(ctx context.Context, s *dnsState) error
	// inForce reports whether the system looks like s. It may be wrong in doubt, with true.
	inForce(ctx context.Context, s *dnsState) bool
	// forget takes back what was done for t, which has just been taken out of s, and says whether there was something.
	forget(ctx context.Context, s *dnsState, t tunnelDNS) (bool, error)
	// outside are the servers that the system asks beside the tunnels of s, also where those have some of the same.
	outside(ctx context.Context, s *dnsState) ([]netip.Addr, error)
}

func (r *resolver) manager(s *dnsState) (dnsManager, error) {
	switch s.Kind {
	case dnsResolved:
		return &resolved{bus: s.Bus, log: r.log}, nil
	case dnsNetworkManager:
		return &networkManager{bus: s.Bus, log: r.log}, nil
	case dnsResolvconf:
		return &resolvconf{log: r.log}, nil
	case dnsFile:
		return &resolvFile{log: r.log}, nil
	}
	return nil, fmt.Errorf("%s names an unknown manager %q", r.record().path(), s.Kind)
}

// locked runs f on the state, while nobody else reads or changes it.
func (r *resolver) locked(f func(s *dnsState) error) error { return r.record().locked(f) }

func parseState(text []byte) (*dnsState, error) {
	s := &dnsState{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if s.Version != dnsVersion {
		return nil, fmt.Errorf("version %d is not known", s.Version)
	}
	return s, s.Tunnels.check(func(routes.DNS) error { return nil }) // what is allowed depends on the manager
}

// save writes s so that it outlives what it names: a power cut, or with systemd-resolved, which
// forgets then, this process.
func (r *resolver) save(s *dnsState) error {
	if len(s.Tunnels) == 0 {
		return r.record().remove()
	}
	s.Version = dnsVersion
	write := durable.Write
	if s.Kind == dnsResolved {
		write = durable.Swap
	}
	return r.record().save(s, write)
}

// set makes t's wishes part of the resolver's configuration, or replaces them in their place. What is
// in force already is left alone. On error nothing of t's is left.
func (r *resolver) set(ctx context.Context, t tunnelDNS) error {
	return r.locked(func(s *dnsState) error { return r.put(ctx, s, t) })
}

// again sets what name's tunnel wants, where it is not in force any more. It may be called beside set and remove.
func (r *resolver) again(ctx context.Context, name string) error {
	return r.locked(func(s *dnsState) error {
		i := s.Tunnels.index(name)
		if i < 0 {
			return nil
		}
		return r.put(ctx, s, s.Tunnels[i])
	})
}

// put is set under the lock.
func (r *resolver) put(ctx context.Context, s *dnsState, t tunnelDNS) error {
	undo := func(err error) error {
		_, e := r.takeOut(ctx, s, t.Name)
		return errors.Join(err, e)
	}
	if err := validDNS(t.DNS); err != nil {
		return undo(err)
	}
	kind, program := r.choose(ctx, s)
	if kind != dnsResolved {
		if err := plainOnly(t.DNS, kind); err != nil {
			return undo(err)
		}
	} else if t.Index == 0 {
		return undo(errors.New("no TUN device is open"))
	}
	if s.Kind != "" && s.Kind != kind {
		if err := r.leave(ctx, s); err != nil {
			return err
		}
	}
	s.Kind, s.Etc, s.Bus, s.Program = kind, r.etc, r.bus, program
	m, err := r.manager(s)
	if err != nil {
		return err
	}
	i := s.Tunnels.index(t.Name)
	same := i >= 0 && s.Tunnels[i].equal(t)
	if same && m.inForce(ctx, s) {
		return nil
	}
	s.Tunnels = s.Tunnels.with(t)
	// What was in force before may wait for a manager that is just starting anew: the watch sees it come.
	later := func(err error) bool {
		if same && unanswered(err) {
			r.log.Warn("DNS is set again when its manager answers", "by", managerNames[kind], "error", err)
			return true
		}
		return false
	}
	if err := m.prepare(ctx, s); later(err) {
		return nil
	} else if err != nil {
		if i < 0 {
			s.Tunnels = s.Tunnels.without(t.Name)
		}
		return undo(err)
	}
	if err := r.save(s); err != nil {
		return err
	}
	if err := m.enforce(ctx, s); later(err) {
		return nil
	} else if err != nil {
		return undo(err)
	}
	r.log.Info("DNS set", "by", managerNames[kind], "servers", len(t.DNS.Servers))
	if other := s.before(t, s.Kind == dnsResolved); other != "" {
		r.log.Warn("another tunnel's DNS comes first", "device", s.Tunnels[s.Tunnels.index(other)].Device, "asked", r.asked(s, t))
	}
	return nil
}

// before names the tunnel whose servers are asked instead of t's, by a manager that knows servers for each link or not;
// "" = none.
func (s *dnsState) before(t tunnelDNS, links bool) string {
	i := s.Tunnels.index(t.Name)
	if i < 0 {
		return ""
	}
	askers := make([]routes.Asker, len(s.Tunnels))
	for j, o := range s.Tunnels {
		askers[j] = routes.Asker{Full: o.Full, DNS: o.DNS}
	}
	if first := routes.Before(askers, i, links); first >= 0 {
		return s.Tunnels[first].Name
	}
	return ""
}

func (r *resolver) asked(s *dnsState, t tunnelDNS) string {
	if s.Kind == dnsResolved && len(t.DNS.Search) > 0 {
		return "only for " + strings.Join(t.DNS.Search, ", ")
	}
	return "when the other has ended"
}

// leave undoes everything by the old manager, because the system has another one now. The tunnels stay in s.
func (r *resolver) leave(ctx context.Context, s *dnsState) error {
	m, err := r.manager(s)
	if err != nil {
		return err
	}
	r.log.Info("another program manages DNS now", "was", managerNames[s.Kind])
	old := *s
	for _, t := range s.Tunnels {
		old.Tunnels = old.Tunnels.without(t.Name)
		if _, err := m.forget(ctx, &old, t); err != nil {
			return err
		}
	}
	s.File, s.Previous, s.Underlay = nil, nil, nil
	return nil
}

// remove takes back what is there for the tunnel, and reports whether there was something.
func (r *resolver) remove(ctx context.Context, name string) (did bool, err error) {
	err = r.locked(func(s *dnsState) (err error) {
		did, err = r.takeOut(ctx, s, name)
		return err
	})
	return did, err
}

// takeOut is remove under the lock.
func (r *resolver) takeOut(ctx context.Context, s *dnsState, name string) (bool, error) {
	i := s.Tunnels.index(name)
	if i < 0 {
		return false, nil
	}
	m, err := r.manager(s)
	if err != nil {
		return false, err
	}
	t := s.Tunnels[i]
	s.Tunnels = s.Tunnels.without(name)
	did, err := m.forget(ctx, s, t)
	if err != nil {
		return did, err
	}
	return did, r.save(s)
}

// names are the tunnels that have an entry. What a killed writer left of the state is removed.
func (r *resolver) names() (out []string, err error) {
	err = r.locked(func(s *dnsState) error {
		r.record().sweep()
		for _, t := range s.Tunnels {
			out = append(out, t.Name)
		}
		return nil
	})
	return out, err
}

// lost reports whether the system has not what the tunnels want: another program has changed it, or
// another one has the resolver now.
func (r *resolver) lost(ctx context.Context, name string) (lost bool) {
	err := r.locked(func(s *dnsState) error {
		if s.Tunnels.index(name) < 0 {
			return nil
		}
		m, err := r.manager(s)
		if err != nil {
			return err
		}
		kind, _ := r.choose(ctx, s)
		lost = kind != s.Kind || !m.inForce(ctx, s)
		return nil
	})
	if err != nil {
		r.log.Debug("DNS not looked at", "error", err)
	}
	return lost
}

// applyDNS makes the resolver look like d. Full says that all traffic goes through the tunnel.
func (h *linuxHost) applyDNS(ctx context.Context, d routes.DNS, full bool) error {
	if d.IsZero() {
		if h.dnsWatch == nil {
			return nil
		}
		if _, err := h.dns.remove(ctx, h.name); err != nil {
			return err
		}
		h.dnsWatch.close()
		h.dnsWatch = nil
		return nil
	}
	if h.dnsWatch == nil {
		w, err := newDNSWatch(h.dns, h.name, h.watch.signal)
		if err != nil {
			return err
		}
		h.dnsWatch = w
	}
	return h.dns.set(ctx, tunnelDNS{Name: h.name, Device: h.deviceName(), Index: h.deviceIndex(), Full: full, DNS: d})
}
