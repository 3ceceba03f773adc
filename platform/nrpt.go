package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/routes"
)

// The DNS client of Windows asks by rules, its name resolution policy table (NRPT, [MS-GPNRPT]): the one whose name is the longest
// part of what is asked decides which servers are asked, and nobody else is. "." is all names. Without a rule it asks the servers
// of all devices at once, and takes the answer of the one with the lowest metric.
//
// So each tunnel has rules: for its domains, or for ".". The servers for "." are the device's, too, for programs that ask by
// themselves. Two rules for one name would be of no defined order: all tunnels of one journal directory share a record of what they
// want, and a name's rule is that of the tunnel which comes first.
const (
	// nrptLocal is where the rules of programs are, nrptPolicy where those of the group policy are. Where the second key
	// is there, the DNS client does not look at the first.
	nrptLocal  = `SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig`
	nrptPolicy = `SOFTWARE\Policies\Microsoft\Windows NT\DNSClient\DnsPolicyConfig`
	// Where a value SearchList replaces those of all devices.
	searchLocal  = `SYSTEM\CurrentControlSet\Services\Tcpip\Parameters`
	searchPolicy = `SOFTWARE\Policies\Microsoft\Windows NT\DNSClient`

	// nrptComment begins the comment of each rule of ours; the tunnel's name follows. Rules without it are nobody's business here.
	nrptComment = "Made by Adit for the tunnel "

	nrptMost = 50 // names in a rule: the DNS client passes over the others

	// Bits of ConfigOptions, [MS-GPNRPT] 2.2.2.13.
	nrptDNSSEC  = 0x2
	nrptServers = 0x8
)

// winLowMetric makes a device the first whose servers are asked.
const winLowMetric = 1

// nrpt is the DNS client's configuration. Safe for concurrent use: whoever reads or changes it holds the lock of the
// directory.
type nrpt struct {
	api winAPI
	dir string
	log *slog.Logger
}

// nrptState is what all tunnels want. It is on disk before the rules, which outlive a restart of the system.
type nrptState struct {
	Version int        `json:"version"`
	Tunnels tunnelsDNS `json:"tunnels"`
}

func (n *nrpt) record() dnsRecord[nrptState] { return dnsRecord[nrptState]{n.dir, n.log, parseNRPT} }

// locked runs f on the record, while nobody else reads or changes it or the rules.
func (n *nrpt) locked(f func(s *nrptState) error) error { return n.record().locked(f) }

func parseNRPT(text []byte) (*nrptState, error) {
	s := &nrptState{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if s.Version != dnsVersion {
		return nil, fmt.Errorf("version %d is not known", s.Version)
	}
	return s, s.Tunnels.check(expressible)
}

func (n *nrpt) save(s *nrptState) error {
	if len(s.Tunnels) == 0 {
		return n.record().remove()
	}
	s.Version = dnsVersion
	return n.record().save(s, durable.Write)
}

// set makes t's wishes part of the configuration, or replaces them in their place. What is in force already is left alone.
func (n *nrpt) set(t tunnelDNS) error {
	if err := expressible(t.DNS); err != nil {
		return err
	}
	return n.locked(func(s *nrptState) error {
		i := s.Tunnels.index(t.Name)
		same := i >= 0 && s.Tunnels[i].equal(t)
		s.Tunnels = s.Tunnels.with(t)
		if err := n.save(s); err != nil {
			return err
		}
		// The device first: a search domain, and a server for programs that ask by themselves, does no harm before its rule.
		servers := t.DNS.Servers
		if !t.all() {
			servers = nil // of one that is for some domains only, nobody shall ask for others
		}
		if !same || !n.deviceHas(t.link(), servers) {
			if err := n.device(t.link(), servers, t.DNS.Search); err != nil {
				return err
			}
		}
		if err := n.enforce(s, true); err != nil {
			return err
		}
		if !same {
			n.log.Info("DNS set", "by", "Windows", "servers", len(t.DNS.Servers))
			n.warn(s, t)
		}
		return nil
	})
}

// warn says what of t's wishes others keep from being in force.
func (n *nrpt) warn(s *nrptState, t tunnelDNS) {
	if t.all() {
		for _, r := range s.rules() {
			if c := r.values["Comment"]; slices.Contains(r.values["Name"].([]string), ".") && c != nrptComment+t.Name {
				n.log.Warn("another tunnel's DNS comes first", "tunnel", strings.TrimPrefix(c.(string), nrptComment))
			}
		}
	}
	if len(t.DNS.Search) == 0 {
		return
	}
	for _, path := range []string{searchPolicy, searchLocal} {
		v, _ := n.api.values(path) // without the key there is no list
		if list, _ := v["SearchList"].(string); strings.Trim(list, " ,") != "" {
			n.log.Warn("short names are not tried with the tunnel's domains: this computer has a search list of its own", "domains", t.DNS.Search, "list", list)
			return
		}
	}
}

// device sets what programs find on the device itself.
func (n *nrpt) device(l link, servers []netip.AddrPort, search []string) error {
	plain := make([]netip.Addr, 0, len(servers))
	for _, s := range servers {
		plain = append(plain, s.Addr().Unmap())
	}
	metric := 0
	if len(servers) > 0 {
		metric = winLowMetric
	}
	for _, inet6 := range []bool{false, true} {
		err := n.api.setMetric(uint64(l.Index), inet6, metric)
		if inet6 && errors.Is(err, errWinMissing) {
			continue // it has no IPv6
		} else if err != nil {
			return fmt.Errorf("set the metric of %s: %w", l.Device, err)
		}
		if err := n.setServers(uint64(l.Index), inet6, plain, search); err != nil {
			return err
		}
	}
	return nil
}

// setServers sets those of servers that are of one family, and search domains.
func (n *nrpt) setServers(luid uint64, inet6 bool, servers []netip.Addr, search []string) error {
	of := slices.DeleteFunc(slices.Clone(servers), func(s netip.Addr) bool { return s.Is6() != inet6 })
	if err := n.api.setInterfaceDNS(luid, inet6, of, search); err != nil {
		return fmt.Errorf("set the DNS servers of the adapter: %w", err)
	}
	return nil
}

// deviceHas says whether the device has these servers, in any order of the families.
func (n *nrpt) deviceHas(l link, servers []netip.AddrPort) bool {
	all, err := n.api.adapters()
	if err != nil {
		return false
	}
	for _, a := range all {
		if a.luid != uint64(l.Index) {
			continue
		}
		has := slices.DeleteFunc(slices.Clone(a.dns), siteLocal.Contains)
		return len(has) == len(servers) && !slices.ContainsFunc(servers, func(s netip.AddrPort) bool { return !slices.Contains(has, s.Addr().Unmap()) })
	}
	return false
}

// ours are the rules of ours below a key: their names and values.
func (n *nrpt) ours(path string) (map[string]map[string]any, error) {
	keys, err := n.api.keys(path)
	if errors.Is(err, errWinMissing) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the rules of the DNS client: %w", err)
	}
	out := map[string]map[string]any{}
	for _, k := range keys {
		v, err := n.api.values(path + `\` + k)
		if errors.Is(err, errWinMissing) {
			continue // gone meanwhile
		} else if err != nil {
			return nil, fmt.Errorf("read the rules of the DNS client: %w", err)
		}
		if c, _ := v["Comment"].(string); strings.HasPrefix(c, nrptComment) {
			out[k] = v
		}
	}
	return out, nil
}

// place is the key below which rules are looked for.
func (n *nrpt) place() (string, error) {
	_, err := n.api.keys(nrptPolicy)
	switch {
	case errors.Is(err, errWinMissing):
		return nrptLocal, nil
	case err != nil:
		return "", fmt.Errorf("read the rules of the group policy: %w", err)
	}
	return nrptPolicy, nil
}

// enforce makes the rules look like s: adds and changes, then deletes, and tells the DNS client when there was something. With a DNS
// client that does not listen, such as one that is switched off, rules are an error to set, and none to take back.
func (n *nrpt) enforce(s *nrptState, setting bool) error {
	place, err := n.place()
	if err != nil {
		return err
	}
	changed, policy := false, false
	did := func(path string) { changed, policy = true, policy || path == nrptPolicy }
	want := map[string]bool{}
	has, err := n.ours(place)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range s.rules() {
		want[r.key] = true
		old := has[r.key]
		if reflect.DeepEqual(old, r.values) {
			continue
		}
		for value := range old {
			if _, stays := r.values[value]; !stays {
				errs = append(errs, n.remove(place, r.key, did)) // or the value would stay
				break
			}
		}
		did(place)
		if err := n.api.setKey(place+`\`+r.key, r.values); err != nil {
			errs = append(errs, fmt.Errorf("write a rule of the DNS client: %w", err))
		}
	}
	for _, path := range []string{nrptLocal, nrptPolicy} {
		has, err := n.ours(path)
		errs = append(errs, err)
		for _, k := range slices.Sorted(maps.Keys(has)) {
			if path != place || !want[k] {
				errs = append(errs, n.remove(path, k, did))
			}
		}
	}
	if changed {
		if err := n.api.refreshDNS(policy); err != nil && setting {
			errs = append(errs, fmt.Errorf("the DNS client of Windows does not take its rules: %w", err))
		} else if err != nil {
			n.log.Warn("the DNS client of Windows was not told that its rules have changed", "error", err)
		}
	}
	return errors.Join(errs...)
}

func (n *nrpt) remove(path, key string, did func(path string)) error {
	did(path)
	if err := n.api.removeKey(path + `\` + key); err != nil && !errors.Is(err, errWinMissing) {
		return fmt.Errorf("delete a rule of the DNS client: %w", err)
	}
	return nil
}

// takeOut takes back what is there for the tunnel, and says whether there was something.
func (n *nrpt) takeOut(name string) (did bool, err error) {
	err = n.locked(func(s *nrptState) error {
		names, err := n.rulesOf()
		if err != nil {
			return err
		}
		i := s.Tunnels.index(name)
		if did = i >= 0 || slices.Contains(names, name); !did {
			return nil
		}
		var l link
		if i >= 0 {
			l = s.Tunnels[i].link()
			s.Tunnels = s.Tunnels.without(name)
		}
		if err := n.enforce(s, false); err != nil {
			return err
		}
		// After a crash the device is gone, and its number may be that of another tunnel's by now.
		if l.Index != 0 && n.there(l) && !slices.ContainsFunc(s.Tunnels, func(t tunnelDNS) bool { return t.Index == l.Index }) {
			if err := but(n.device(l, nil, nil), errWinMissing); err != nil {
				return err
			}
		}
		return n.save(s)
	})
	return did, err
}

// there says whether l is a device of ours.
func (n *nrpt) there(l link) bool {
	all, err := n.api.adapters()
	return err == nil && slices.ContainsFunc(all, func(a winAdapter) bool { return a.luid == uint64(l.Index) && a.name == l.Device && isOurs(a) })
}

// rulesOf are the tunnels for which there are rules.
func (n *nrpt) rulesOf() (names []string, err error) {
	for _, path := range []string{nrptLocal, nrptPolicy} {
		has, err := n.ours(path)
		if err != nil {
			return nil, err
		}
		for _, v := range has {
			if name := strings.TrimPrefix(v["Comment"].(string), nrptComment); validName(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// names are the tunnels of the record, and those for which there are rules.
func (n *nrpt) names() (names []string, err error) {
	err = n.locked(func(s *nrptState) error {
		names, err = n.rulesOf()
		for _, t := range s.Tunnels {
			if !slices.Contains(names, t.Name) {
				names = append(names, t.Name)
			}
		}
		return err
	})
	return names, err
}

// lost says whether somebody else has changed the rules since, or the place where they are looked for.
func (n *nrpt) lost() (lost bool) {
	err := n.locked(func(s *nrptState) error {
		place, err := n.place()
		if err != nil {
			return err
		}
		has, err := n.ours(place)
		if err != nil {
			return err
		}
		for _, r := range s.rules() {
			lost = lost || !reflect.DeepEqual(has[r.key], r.values)
		}
		return nil
	})
	if err != nil {
		n.log.Debug("the rules of the DNS client were not looked at", "error", err)
	}
	return lost
}

func (m *winMachine) setDNS(_ context.Context, name string, l link, d routes.DNS, full bool) error {
	return m.dns.set(tunnelDNS{Name: name, Device: l.Device, Index: l.Index, Full: full, DNS: d})
}

func (m *winMachine) removeDNS(_ context.Context, name string) (bool, error) {
	return m.dns.takeOut(name)
}

func (m *winMachine) dnsNames(context.Context) ([]string, error) { return m.dns.names() }
