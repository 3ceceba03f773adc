package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/routes"
)

// The guard on macOS is PF. Its main ruleset is Apple's and the administrator's, and is never written: it evaluates all
// anchors below com.apple in the order of their names (anchor "com.apple/*" of /etc/pf.conf), and ours are the first of
// them. Each Host has two, so that what one tunnel lets through the others do not stop:
//
//	com.apple/000.adit.ID.NAME  tags what is our tunnels' own: packets by their devices, the service's to the server
//	com.apple/001.adit.ID.NAME  tags what is closed as bad, takes that back for what may pass, and drops what is bad
//
// A packet has one tag, the last one. Rules that pass keep no state: each packet is looked at, also of connections that were
// there before. Only the last rule, which drops, is quick.
const (
	pfctlPath  = "/sbin/pfctl"
	pfParent   = "com.apple"
	pfSort     = "000.adit."
	pfDecide   = "001.adit."
	pfNameSize = 63 // PF_ANCHOR_NAME_SIZE, with a zero behind it

	tagOwn  = `"adit.own"`
	tagIn   = `"adit.in"` // came by a tunnel, or from this machine itself
	tagBad  = `"adit.bad"`
	tagFine = `"adit.fine"`
)

// pfLook is how often a closed guard is looked after: nobody says it when another program disables PF or takes rules away.
const pfLook = 30 * time.Second

// pfState is what one macMachine remembers of PF.
type pfState struct {
	sort, decide string                 // the rules that it has loaded; "" = not known
	closed       atomic.Pointer[string] // the anchor that must be there; read by the watch
}

// pfRecord is in a file beside the journal: the reference by which PF stays enabled for a Host ("pfctl -E").
type pfRecord struct {
	Token string `json:"token"`
}

func (m *macMachine) pfFile(name string) string { return filepath.Join(m.dir, ".pf."+name) }

// anchor is the path of one of name's anchors.
func (m *macMachine) anchor(kind, name string) (string, error) {
	part := kind + m.id + "." + name
	if !validName(name) || len(part) > pfNameSize {
		return "", fmt.Errorf("the name %q is too long for PF", name)
	}
	return pfParent + "/" + part, nil
}

func (m *macMachine) pfctl(text string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	out, err := m.calls.run(ctx, pfctlPath, args, text)
	if err != nil {
		return out, fmt.Errorf("pfctl %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// closeGuard implements machine. It looks whether all is still there, as another program may disable PF or load its rules anew.
func (m *macMachine) closeGuard(name string, g routes.Guard) error {
	sortAnchor, err := m.anchor(pfSort, name)
	if err != nil {
		return err
	}
	decideAnchor, err := m.anchor(pfDecide, name)
	if err != nil {
		return err
	}
	if err := m.pfMain(); err != nil {
		return err
	}
	there, err := m.anchors()
	if err != nil {
		return err
	}
	load := func(anchor, text string, known *string) error {
		if text == *known && slices.Contains(there, anchor) == (text != "") {
			return nil
		}
		if text != "" && text == *known {
			m.log.Warn("another program took the guard away; it is closed again")
		}
		*known = ""
		var err error
		if text == "" {
			_, err = m.pfctl("", "-a", anchor, "-F", "all")
		} else {
			_, err = m.pfctl(text, "-a", anchor, "-f", "-")
		}
		if err == nil {
			*known = text
		}
		return err
	}
	// First who is let through, then what is closed.
	if err := load(sortAnchor, pfSortRules(g, m.device()), &m.pf.sort); err != nil {
		return err
	}
	was, decide := m.pf.decide, pfDecideRules(g)
	if err := load(decideAnchor, decide, &m.pf.decide); err != nil {
		return err
	}
	if decide == "" {
		m.pf.closed.Store(nil)
		return m.pfDisable(name)
	}
	if err := m.pfEnable(name); err != nil {
		return err
	}
	m.pf.closed.Store(&decideAnchor)
	if was == decide {
		return nil
	}
	// Other rules than ours may have let connections through, which PF then looks at no more.
	_, err = m.pfctl("", "-F", "states")
	return err
}

// openGuard implements machine.
func (m *macMachine) openGuard(name string) (did bool, err error) {
	there, err := m.anchors()
	if err != nil {
		return false, err
	}
	m.pf.sort, m.pf.decide = "", ""
	m.pf.closed.Store(nil)
	for _, kind := range []string{pfDecide, pfSort} {
		a, err := m.anchor(kind, name)
		if err != nil {
			return did, nil // closed it was never
		}
		if !slices.Contains(there, a) {
			continue
		}
		if _, err := m.pfctl("", "-a", a, "-F", "all"); err != nil {
			return did, err
		}
		did = true
	}
	return did, m.pfDisable(name)
}

// guardLost reports whether a guard that is closed is not in force. It may be called beside all others.
func (m *macMachine) guardLost() bool {
	anchor := m.pf.closed.Load()
	if anchor == nil {
		return false
	}
	there, err := m.anchors()
	if err != nil {
		return false // nothing is known
	}
	enabled, err := m.pfEnabled()
	return err == nil && (!enabled || !slices.Contains(there, *anchor) || m.pfMain() != nil)
}

// guards implements machine.
func (m *macMachine) guards() (names []string, err error) {
	there, err := m.anchors()
	if err != nil {
		return nil, err
	}
	for _, a := range there {
		for _, kind := range []string{pfSort, pfDecide} {
			if name, ok := strings.CutPrefix(a, pfParent+"/"+kind+m.id+"."); ok && validName(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// anchors are the paths of all anchors below com.apple.
func (m *macMachine) anchors() (paths []string, err error) {
	out, err := m.pfctl("", "-a", pfParent, "-s", "Anchors")
	if err != nil && (strings.Contains(out, "not found") || strings.Contains(out, "not exist")) {
		return nil, nil // PF has no ruleset at all
	} else if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		if a := strings.TrimSpace(line); strings.HasPrefix(a, pfParent+"/") {
			paths = append(paths, a)
		}
	}
	return paths, nil
}

// pfMain checks that the main ruleset comes to our anchors, and lets nothing out before.
func (m *macMachine) pfMain() error {
	out, err := m.pfctl("", "-s", "rules")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		rule := strings.TrimSpace(line)
		words := strings.Fields(rule)
		switch {
		case strings.HasPrefix(rule, `anchor "com.apple/*"`):
			if len(words) == 3 && words[2] == "all" {
				return nil
			}
			return fmt.Errorf("PF comes to its anchor com.apple/* under conditions only: %q", rule)
		case len(words) > 1 && words[0] == "pass" && slices.Contains(words, "quick") && !strings.Contains(rule, " on lo0 ") && words[1] != "in":
			return fmt.Errorf(`the rule %q of PF's main ruleset lets packets past the guard: put it behind anchor "com.apple/*" in /etc/pf.conf, and run "pfctl -f /etc/pf.conf"`, rule)
		}
	}
	return errors.New(`PF's main ruleset has no anchor "com.apple/*": put that line of Apple's back into /etc/pf.conf, and run "pfctl -f /etc/pf.conf"`)
}

// afterNoise is what pfctl says behind the lines by which it begins each time.
func afterNoise(out string) string {
	for _, noise := range []string{"No ALTQ support in kernel\n", "ALTQ related functions disabled\n"} {
		out = strings.ReplaceAll(out, noise, "")
	}
	return out
}

var pfToken = regexp.MustCompile(`Token : ([0-9]{1,20})\b`)

func (m *macMachine) pfEnabled() (bool, error) {
	info, err := m.pfctl("", "-s", "info")
	return strings.HasPrefix(strings.TrimSpace(afterNoise(info)), "Status: Enabled"), err
}

// pfEnable enables PF for name until pfDisable; it stays so as long as anybody has a reference to it. A reference that is
// none any more, as after "pfctl -d" or a restart of the machine, is replaced.
func (m *macMachine) pfEnable(name string) error {
	old, err := m.pfReference(name)
	if err != nil {
		return err
	}
	if old != "" {
		enabled, err := m.pfEnabled()
		if err != nil {
			return err
		}
		references, err := m.pfctl("", "-s", "References")
		if err != nil {
			return err
		}
		if enabled && slices.Contains(strings.Fields(references), old) {
			return nil
		}
		if !enabled && m.pf.closed.Load() != nil {
			m.log.Warn("another program disabled PF; it is enabled again")
		}
	}
	out, err := m.pfctl("", "-E")
	if err != nil {
		return err
	}
	token := pfToken.FindStringSubmatch(out)
	if token == nil {
		return fmt.Errorf("pfctl -E gave no token: %.200q", afterNoise(out))
	}
	text, err := json.Marshal(pfRecord{token[1]})
	if err == nil {
		err = durable.Swap(m.pfFile(name), text, 0o600)
	}
	if err != nil {
		_, e := m.pfctl("", "-X", token[1])
		return errors.Join(fmt.Errorf("journal: %w", err), e)
	}
	if old != "" {
		_, _ = m.pfctl("", "-X", old) // it may be none any more
	}
	return nil
}

// pfReference is the token that name has, "" for none.
func (m *macMachine) pfReference(name string) (token string, err error) {
	text, err := os.ReadFile(m.pfFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("journal: %w", err)
	}
	var r pfRecord
	if json.Unmarshal(text, &r) != nil || !pfToken.MatchString("Token : "+r.Token) {
		return "", nil
	}
	return r.Token, nil
}

// pfDisable gives name's reference back, if it has one.
func (m *macMachine) pfDisable(name string) error {
	old, err := m.pfReference(name)
	if err != nil {
		return err
	}
	if old != "" {
		_, _ = m.pfctl("", "-X", old) // it may be none any more
	}
	if err := os.Remove(m.pfFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// pfSortRules tag what is the service's own, and what goes and comes by our tunnel's device.
func pfSortRules(g routes.Guard, device string) string {
	var b strings.Builder
	own := func(format string, args ...any) {
		fmt.Fprintf(&b, "pass out "+format+" no state tag "+tagOwn+"\n", args...)
	}
	for _, d := range []string{"lo0", device} {
		if d != "" {
			own("on %s all", d)
			fmt.Fprintf(&b, "pass in on %s all no state tag %s\n", d, tagIn)
		}
	}
	// The service is root, and the only one of root's programs that has reason to talk to these.
	for _, e := range g.Outer {
		port := ""
		if e.Port != 0 {
			port = fmt.Sprintf(" port %d", e.Port)
		}
		own("%s proto %s from any to %s%s user root", pfFamily(e.Address), e.Transport, e.Address, port)
	}
	for _, a := range g.Resolvers {
		own("%s proto { udp tcp } from any to %s port 53 user root", pfFamily(a), a)
	}
	return b.String()
}

func pfFamily(a netip.Addr) string {
	if a.Is4() {
		return "inet"
	}
	return "inet6"
}

// pfDecideRules drop what g closes; "" = nothing.
func pfDecideRules(g routes.Guard) string {
	if len(g.Closed) == 0 && len(g.Inside) == 0 {
		return ""
	}
	var b strings.Builder
	for _, t := range []struct {
		name string
		in   []netip.Prefix
	}{{"closed", g.Closed}, {"past", g.Past}, {"web", g.Web}, {"local", g.Local}} {
		if len(t.in) > 0 {
			fmt.Fprintf(&b, "table <%s> const { %s }\n", t.name, pfList(t.in))
		}
	}
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	bad := func(format string, args ...any) {
		line("pass "+format+" ! tagged "+tagOwn+" no state tag "+tagBad, args...)
	}
	fine := func(format string, args ...any) {
		line("pass out "+format+" tagged "+tagBad+" no state tag "+tagFine, args...)
	}
	names := func(to string) string { return "proto { udp tcp } from any to " + to + " port { 53 853 }" }
	if len(g.Closed) > 0 {
		bad("out from any to <closed>")
		if g.DNS { // in plain, over TLS and over QUIC (RFC 7858, RFC 9250)
			bad("out " + names("any"))
		}
		// DHCP and DHCPv6: from the client's port to the server's (RFC 2131 4.1, RFC 8415 7.2).
		fine("inet proto udp from any port 68 to any port 67")
		fine("inet6 proto udp from any port 546 to { fe80::/10 ff02::/16 ff05::1:3 } port 547")
		// Who is my router, who has this address, and to which groups do I listen (RFC 4861 4.1, 4.3, 4.4; RFC 3810 5).
		// PF does not look at the hop limit, so only link-local destinations will do; the reports have an option in their head.
		for _, kind := range []string{"routersol", "neighbrsol", "neighbradv"} {
			fine("inet6 proto ipv6-icmp from any to { fe80::/10 ff02::/16 } icmp6-type %s", kind)
		}
		for _, kind := range []int{131, 132, 143} {
			line("pass out inet6 proto ipv6-icmp from any to ff02::/16 icmp6-type %d tagged %s no state allow-opts tag %s", kind, tagBad, tagFine)
		}
		if len(g.Past) > 0 {
			fine("from any to <past>")
		}
		if len(g.Web) > 0 {
			for _, a := range g.Resolvers {
				fine("%s %s", pfFamily(a), names(a.String()))
			}
			fine("proto tcp from any to <web> port { 80 443 }")
		}
		if g.DNS {
			line("block drop out quick %s tagged %s", names("any"), tagBad)
		}
		if len(g.Local) > 0 {
			line("pass out from any to <local> tagged %s no state allow-opts tag %s", tagBad, tagFine)
		}
		line("block drop out quick all tagged %s", tagBad)
	}
	// What comes to the tunnel's addresses by another device is not from the tunnel (CVE-2019-14899).
	for _, a := range g.Inside {
		line("block drop in quick %s from any to %s ! tagged %s", pfFamily(a), a, tagIn)
	}
	return b.String()
}

func pfList(ps []netip.Prefix) string {
	var words []string
	for _, p := range ps {
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}
