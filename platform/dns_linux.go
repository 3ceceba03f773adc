package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/routes"
)

// The back-ends, in the order of preference.
const (
	dnsResolved   = "resolved"
	dnsResolvconf = "resolvconf"
	dnsFile       = "file"
)

// resolverTime bounds one conversation with a resolver's manager.
const resolverTime = 5 * time.Second

// dnsConfig says where the resolver's managers are.
type dnsConfig struct{ etc, bus, resolvconf, name string }

func (c dnsConfig) resolvConf() string { return filepath.Join(c.etc, "resolv.conf") }

// dnsRecord is what undoes one resolver change; part of the journal.
type dnsRecord struct {
	Kind    string     `json:"kind"`
	Device  string     `json:"device,omitempty"`
	Index   int        `json:"index,omitempty"`
	Bus     string     `json:"bus,omitempty"`     // resolved
	Program string     `json:"program,omitempty"` // resolvconf
	File    *savedFile `json:"file,omitempty"`    // file
}

// applyDNS makes the resolver look like d. A change of one back-end's settings
// replaces them in place; otherwise the old ones are undone first.
func (h *linuxHost) applyDNS(ctx context.Context, d routes.DNS) error {
	if d.Equal(h.dnsNow) && (d.IsZero() || h.record.DNS != nil && !h.dnsLost()) {
		return nil
	}
	kind, program := "", ""
	if !d.IsZero() {
		if err := validDNS(d); err != nil {
			return errors.Join(err, h.undoDNS(ctx))
		}
		kind, program = h.dns.choose(ctx)
		if kind != dnsResolved {
			if err := plainOnly(d, kind); err != nil {
				return errors.Join(err, h.undoDNS(ctx))
			}
		}
		if h.device() == nil && kind != dnsFile {
			return errors.Join(errors.New("no TUN device is open"), h.undoDNS(ctx))
		}
	}
	if old := h.record.DNS; old != nil && (old.Kind != kind || kind != dnsFile && old.Index != h.deviceIndex()) {
		if err := h.undoDNS(ctx); err != nil {
			return err
		}
	}
	if kind == "" {
		h.dnsNow = routes.DNS{}
		return nil
	}
	rec := &dnsRecord{Kind: kind, Device: h.deviceName(), Index: h.deviceIndex(), Bus: h.dns.bus, Program: program}
	if kind == dnsFile {
		if h.record.DNS != nil {
			rec.File = h.record.DNS.File
		} else {
			saved, err := saveFile(h.dns.resolvConf(), h.name)
			if err != nil {
				return err
			}
			rec.File = saved
		}
	}
	h.record.DNS = rec
	if err := h.journal.save(h.record); err != nil {
		return err
	}
	var err error
	switch kind {
	case dnsResolved:
		err = setResolved(ctx, rec.Bus, rec.Index, d)
	case dnsResolvconf:
		err = runResolvconf(ctx, program, resolvConfText(d, nil), "-a", rec.key())
	case dnsFile:
		err = rec.File.replace(resolvConfText(d, rec.File.Data))
	}
	if err != nil {
		return errors.Join(err, h.undoDNS(ctx))
	}
	h.dnsNow = d
	h.log.Info("DNS set", "by", kind, "servers", len(d.Servers))
	return nil
}

// dnsLost reports whether somebody else took our text out of resolv.conf.
func (h *linuxHost) dnsLost() bool {
	r := h.record.DNS
	return r.Kind == dnsFile && !r.File.ours()
}

func (h *linuxHost) undoDNS(ctx context.Context) error {
	h.dnsNow = routes.DNS{}
	if h.record.DNS == nil {
		return nil
	}
	if _, err := h.record.DNS.undo(ctx, h.nl, h.log); err != nil {
		return err
	}
	h.record.DNS = nil
	return h.journal.save(h.record)
}

// undo takes one resolver change back and reports whether there was something to take back.
func (r *dnsRecord) undo(ctx context.Context, nl *netlink.Handle, log *slog.Logger) (bool, error) {
	switch r.Kind {
	case dnsResolved:
		// resolved forgets a link's settings with the link; the index may be another's by now.
		if link, err := nl.LinkByIndex(r.Index); err != nil || link.Attrs().Name != r.Device {
			return false, nil
		}
		return true, revertResolved(ctx, r.Bus, r.Index)
	case dnsResolvconf:
		if _, err := os.Stat(r.Program); errors.Is(err, fs.ErrNotExist) {
			log.Warn("resolvconf is gone, and with it what it was told", "program", r.Program)
			return false, nil // else no start would ever get past this record
		}
		return true, runResolvconf(ctx, r.Program, nil, "-d", r.key())
	case dnsFile:
		if r.File == nil {
			return false, nil
		}
		return r.File.restore(log)
	}
	return false, fmt.Errorf("journal names an unknown DNS back-end %q", r.Kind)
}

// key is our entry's name in resolvconf's database; "tun" puts it before the uplink's there.
func (r *dnsRecord) key() string { return r.Device + ".adit" }

// choose finds the manager that owns resolv.conf here.
func (c dnsConfig) choose(ctx context.Context) (kind, program string) {
	if c.usesResolved() && pingResolved(ctx, c.bus) == nil {
		return dnsResolved, ""
	}
	paths := []string{"/sbin/resolvconf", "/usr/sbin/resolvconf"}
	if c.resolvconf != "" {
		paths = []string{c.resolvconf}
	}
	for _, p := range paths {
		// resolved brings a resolvconf of its own that only talks to resolved.
		real, err := filepath.EvalSymlinks(p)
		if err != nil || filepath.Base(real) == "resolvectl" {
			continue
		}
		if st, err := os.Stat(real); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return dnsResolvconf, p
		}
	}
	return dnsFile, ""
}

// usesResolved reports whether resolv.conf is systemd-resolved's.
func (c dnsConfig) usesResolved() bool {
	target, err := os.Readlink(c.resolvConf())
	return err == nil && strings.Contains(target, "systemd/resolve/")
}

// validDNS refuses what must not reach a file or a program.
func validDNS(d routes.DNS) error {
	for _, s := range d.Servers {
		if !s.IsValid() || s.Port() == 0 {
			return fmt.Errorf("DNS server %q is not valid", s)
		}
	}
	for _, list := range [][]string{d.Search, d.Split} {
		for _, n := range list {
			if !validDomain(n) {
				return fmt.Errorf("domain %q is not valid", n)
			}
		}
	}
	if d.SNI != "" && !validDomain(d.SNI) {
		return fmt.Errorf("DNS server name %q is not valid", d.SNI)
	}
	switch d.Transport {
	case "", "plain", "DoT":
	default:
		return fmt.Errorf("DNS transport %q is not supported", d.Transport)
	}
	switch d.DNSSEC {
	case "", "yes", "optional", "no":
	default:
		return fmt.Errorf("DNSSEC mode %q is not valid", d.DNSSEC)
	}
	return nil
}

// validDomain accepts host name letters, digits, "-", "_" and single dots.
func validDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// plainOnly refuses what a plain resolv.conf cannot say; dropping it silently
// would send names where they must not go.
func plainOnly(d routes.DNS, kind string) error {
	what := ""
	switch {
	case len(d.Split) > 0:
		what = "DNS for some domains only"
	case d.Transport == "DoT":
		what = "DNS over TLS"
	case d.DNSSEC == "yes":
		what = "mandatory DNSSEC"
	}
	for _, s := range d.Servers {
		if s.Port() != 53 {
			what = fmt.Sprintf("a DNS port other than 53 (%s)", s)
		}
	}
	if what == "" {
		return nil
	}
	manager := "a plain resolv.conf"
	if kind == dnsResolvconf {
		manager = "resolvconf"
	}
	return fmt.Errorf("%s cannot be set through %s: it needs systemd-resolved", what, manager)
}

// resolvConfText is a resolv.conf for d. Without servers, those of the old text stay.
func resolvConfText(d routes.DNS, old []byte) []byte {
	var b bytes.Buffer
	if len(d.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(d.Search, " "))
	}
	for _, s := range d.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", s.Addr())
	}
	for line := range strings.Lines(string(old)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "options" || len(d.Servers) == 0 && word == "nameserver" || len(d.Search) == 0 && (word == "search" || word == "domain") {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	return b.Bytes()
}

// runResolvconf is the only program that this package runs: by absolute path,
// without environment, with values that validDNS has checked.
func runResolvconf(ctx context.Context, program string, stdin []byte, args ...string) error {
	if !filepath.IsAbs(program) || filepath.Base(program) != "resolvconf" {
		return fmt.Errorf("resolvconf path %q is not allowed", program)
	}
	ctx, cancel := context.WithTimeout(ctx, resolverTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Stdin, cmd.WaitDelay = []string{}, bytes.NewReader(stdin), time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(out[:min(len(out), 500)]))
	}
	return nil
}

// systemResolvers are the servers of the system's own resolv.conf, not ours.
func (h *linuxHost) systemResolvers() []netip.Addr {
	text, err := os.ReadFile(h.dns.resolvConf())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.log.Debug("resolv.conf not read", "error", err)
	}
	if r := h.record.DNS; r != nil && r.File != nil && r.File.ours() {
		text = r.File.Data
	}
	var out []netip.Addr
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			if a, err := netip.ParseAddr(f[1]); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}
