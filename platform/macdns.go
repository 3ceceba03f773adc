package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/routes"
)

// DNS on macOS is a dictionary in the dynamic store of SystemConfiguration, under a service of our own: nobody else writes
// there, and whatever DHCP or another program does to the network's own resolvers, ours stays beside them. It is
// supplemental: a list of domains that go to its servers, where the empty one stands for all names. Of two for one domain
// the lower order is asked first; the network's own has 200000 (configd, dns-configuration.c).

const (
	scutilPath = "/usr/sbin/scutil"
	// scutilLine is the longest line that scutil reads, with the newline (LINE_LENGTH of scutil.c is 2048).
	scutilLine = 2000
	// scutilWords is how many it takes in one (commands.c: d.add and 101 more).
	scutilWords = 100
	// Orders of tunnels count down from these, the newest first: of those that take all traffic, and of the others.
	macOrderFull  = 20000
	macOrderSplit = 60000
)

// dnsKeys are the keys of a Host: for the names of its servers, and for the domains in which short names are tried.
func (m *macMachine) dnsKeys(name string) (names, search string) {
	return fmt.Sprintf("State:/Network/Service/adit-%s-n-%s/DNS", m.id, name), fmt.Sprintf("State:/Network/Service/adit-%s-s-%s/DNS", m.id, name)
}

// dnsPattern matches all keys of this journal directory.
func (m *macMachine) dnsPattern() string {
	return fmt.Sprintf("State:/Network/Service/adit-%s-[ns]-.*/DNS", m.id)
}

// scutil runs a script. Scutil says in words what went wrong, and ends without an error; so what a script has changed is
// read again.
func (m *macMachine) scutil(ctx context.Context, lines ...string) (scValue, error) {
	for _, l := range lines {
		if len(l) > scutilLine || len(strings.Fields(l)) > scutilWords || strings.ContainsAny(l, "\r\n\x00") {
			return scValue{}, fmt.Errorf("the settings do not fit into a line of scutil: %.60s…", l)
		}
	}
	out, err := m.calls.run(ctx, scutilPath, nil, strings.Join(append(lines, "quit"), "\n")+"\n")
	if err != nil {
		return scValue{}, fmt.Errorf("scutil: %w", err)
	}
	return parseScutil(out)
}

// setDNS implements machine.
func (m *macMachine) setDNS(ctx context.Context, name string, _ link, d routes.DNS, full bool) error {
	if err := macDNSOnly(d); err != nil {
		return err
	}
	there, err := m.scutil(ctx, "show "+m.dnsPattern()+" pattern")
	if err != nil {
		return err
	}
	namesKey, searchKey := m.dnsKeys(name)
	order := macOrder(there, namesKey, searchKey, full)
	var names, search *scDNS
	servers := d.Servers
	if len(servers) > 0 {
		names = &scDNS{servers: servers, domains: undotted(d.Split), order: order}
		if len(d.Split) == 0 {
			names.domains = []string{""}
		}
	} else if len(d.Search) > 0 { // a list of domains needs servers: those of the network, which have these names now
		addrs, err := m.underlayDNS(ctx)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if a.Zone() != "" && !validDomain(a.Zone()) {
				continue
			}
			servers = append(servers, netip.AddrPortFrom(a, 53))
		}
		if len(servers) == 0 {
			return errors.New("search domains cannot be set: macOS knows no DNS server of the network now")
		}
	}
	if len(d.Search) > 0 {
		search = &scDNS{servers: servers, domains: undotted(d.Search), order: order, search: true}
	}
	for _, e := range []struct {
		key  string
		want *scDNS
	}{{namesKey, names}, {searchKey, search}} {
		if err := m.putDNS(ctx, e.key, there.fields[e.key], e.want); err != nil {
			return err
		}
	}
	return nil
}

// undotted are domains as configd writes them.
func undotted(domains []string) (out []string) {
	for _, d := range domains {
		out = append(out, strings.TrimSuffix(d, "."))
	}
	return out
}

// putDNS makes the store's key say want, or nothing for nil; old is what it says now.
func (m *macMachine) putDNS(ctx context.Context, key string, old scValue, want *scDNS) error {
	if want == nil {
		_, err := m.removeKey(ctx, key, old)
		return err
	}
	if want.is(old) {
		return nil
	}
	got, err := m.scutil(ctx, append(want.script(), "set "+key, "show "+key)...)
	if err != nil {
		return err
	}
	if !want.is(got) {
		return fmt.Errorf("scutil did not set %s: %q", key, got.text)
	}
	return nil
}

func (m *macMachine) removeKey(ctx context.Context, key string, old scValue) (did bool, err error) {
	if old.fields == nil {
		return false, nil
	}
	got, err := m.scutil(ctx, "remove "+key, "show "+key)
	if err != nil {
		return false, err
	}
	if got.fields != nil {
		return false, fmt.Errorf("scutil did not remove %s", key)
	}
	return true, nil
}

// removeDNS implements machine.
func (m *macMachine) removeDNS(ctx context.Context, name string) (did bool, err error) {
	there, err := m.scutil(ctx, "show "+m.dnsPattern()+" pattern")
	if err != nil {
		return false, err
	}
	names, search := m.dnsKeys(name)
	did1, err1 := m.removeKey(ctx, names, there.fields[names])
	did2, err2 := m.removeKey(ctx, search, there.fields[search])
	return did1 || did2, errors.Join(err1, err2)
}

// dnsNames implements machine.
func (m *macMachine) dnsNames(ctx context.Context) ([]string, error) {
	there, err := m.scutil(ctx, "show "+m.dnsPattern()+" pattern")
	if err != nil {
		return nil, err
	}
	var out []string
	for key := range there.fields {
		rest, ok := strings.CutPrefix(key, "State:/Network/Service/adit-"+m.id+"-")
		name, ok2 := strings.CutSuffix(rest, "/DNS")
		if ok && ok2 && len(name) > 2 && validName(name[2:]) {
			out = append(out, name[2:])
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// underlayDNS are the servers of the network outside: of the service that the system prefers, and none of ours, which are
// supplemental.
func (m *macMachine) underlayDNS(ctx context.Context) ([]netip.Addr, error) {
	v, err := m.scutil(ctx, "show State:/Network/Global/DNS")
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, s := range v.fields["ServerAddresses"].list {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out, nil
}

// macDNSOnly refuses what a resolver of macOS cannot be told.
func macDNSOnly(d routes.DNS) error {
	what := ""
	switch {
	case d.Transport == "DoT":
		what = "DNS over TLS"
	case d.DNSSEC == "yes":
		what = "mandatory DNSSEC"
	}
	for _, s := range d.Servers {
		if s.Port() != d.Servers[0].Port() {
			what = "DNS servers with different ports"
		}
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("%s cannot be set on macOS; pull-filter can ignore it", what)
}

// macOrder is the order of a tunnel among ours: its own as long as it is of the same kind, else in front of them.
func macOrder(there scValue, names, search string, full bool) int {
	first := macOrderSplit
	if full {
		first = macOrderFull
	}
	kind := func(order int) bool { return order <= first && order > first-macOrderFull }
	best := first
	for key, v := range there.fields {
		orders := v.fields["SupplementalMatchOrders"].list
		if len(orders) == 0 {
			continue
		}
		n, err := strconv.Atoi(orders[0])
		switch {
		case err != nil || !kind(n):
		case key == names || key == search:
			return n
		case n <= best:
			best = n - 1
		}
	}
	return best
}

// scDNS is one DNS dictionary of the store.
type scDNS struct {
	servers []netip.AddrPort // of one port
	domains []string         // that go to them; "" = all
	order   int
	search  bool // short names are tried with domains, too
}

// script makes the dictionary scutil's value.
func (d *scDNS) script() []string {
	noSearch := 1
	if d.search {
		noSearch = 0
	}
	list := func(key, kind string, values []string) string {
		return "d.add " + key + " *" + kind + " " + strings.Join(values, " ")
	}
	quoted := slices.Clone(d.domains)
	for i, q := range quoted {
		if q == "" {
			quoted[i] = `""`
		}
	}
	out := []string{"d.init", list("ServerAddresses", "", d.addresses()), list("SupplementalMatchDomains", "", quoted),
		list("SupplementalMatchOrders", " #", d.orders()), "d.add SupplementalMatchDomainsNoSearch # " + strconv.Itoa(noSearch)}
	if port := d.servers[0].Port(); port != 53 {
		out = append(out, "d.add ServerPort # "+strconv.Itoa(int(port)))
	}
	return out
}

func (d *scDNS) addresses() (out []string) {
	for _, s := range d.servers {
		out = append(out, s.Addr().String())
	}
	return out
}

func (d *scDNS) orders() (out []string) {
	for range d.domains {
		out = append(out, strconv.Itoa(d.order))
	}
	return out
}

// is reports whether v, as scutil shows it, is d.
func (d *scDNS) is(v scValue) bool {
	port := "53"
	if p := v.fields["ServerPort"]; p.text != "" {
		port = p.text
	}
	noSearch := v.fields["SupplementalMatchDomainsNoSearch"].text == "1"
	return slices.Equal(v.fields["ServerAddresses"].list, d.addresses()) && slices.Equal(v.fields["SupplementalMatchDomains"].list, d.domains) &&
		slices.Equal(v.fields["SupplementalMatchOrders"].list, d.orders()) && noSearch != d.search && port == strconv.Itoa(int(d.servers[0].Port()))
}

// scValue is what scutil shows: a dictionary, a list of words, or a word.
type scValue struct {
	fields map[string]scValue // nil unless a dictionary
	list   []string
	text   string
}

const (
	scMaxLines = 10000
	scMaxDepth = 8
)

var errScutil = errors.New("what scutil shows cannot be read")

// parseScutil reads the first value that scutil shows; other text is a value without fields and list.
func parseScutil(out string) (scValue, error) {
	lines := strings.Split(out, "\n")
	if len(lines) > scMaxLines {
		return scValue{}, fmt.Errorf("%w: %d lines", errScutil, len(lines))
	}
	p := scParser{lines: lines}
	for p.at < len(lines) {
		line := strings.TrimSpace(p.next())
		if kind, ok := scOpens(line); ok {
			return p.block(kind, 1)
		}
	}
	return scValue{text: strings.TrimSpace(out)}, nil
}

type scParser struct {
	lines []string
	at    int
}

func (p *scParser) next() string {
	p.at++
	return p.lines[p.at-1]
}

// scOpens reports whether text begins a dictionary or an array, as "<dictionary> {".
func scOpens(text string) (kind string, ok bool) {
	switch text {
	case "<dictionary> {":
		return "dictionary", true
	case "<array> {":
		return "array", true
	}
	return "", false
}

// block reads the lines of a value until its brace closes.
func (p *scParser) block(kind string, depth int) (scValue, error) {
	if depth > scMaxDepth {
		return scValue{}, fmt.Errorf("%w: too deep", errScutil)
	}
	v := scValue{}
	if kind == "dictionary" {
		v.fields = map[string]scValue{}
	}
	for p.at < len(p.lines) {
		line := strings.TrimSpace(p.next())
		if line == "}" {
			return v, nil
		}
		key, value, ok := strings.Cut(line, " : ")
		if !ok {
			// The value of an empty string ends the line behind the colon.
			if key, ok = strings.CutSuffix(line, " :"); !ok {
				return scValue{}, fmt.Errorf("%w: %.80q", errScutil, line)
			}
		}
		field := scValue{text: value}
		if inner, ok := scOpens(value); ok {
			var err error
			if field, err = p.block(inner, depth+1); err != nil {
				return scValue{}, err
			}
		}
		if v.fields != nil {
			v.fields[key] = field
		} else {
			v.list = append(v.list, field.text)
		}
	}
	return scValue{}, fmt.Errorf("%w: it ends in the middle", errScutil)
}
